from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from moon_zoo.models.retrieval import PARTS, RetrievalEvaluation


def test_alignment_is_of_photos_with_their_own_products_and_uniformity_of_the_products() -> None:
    """Four products in one split, each with a photo that asks; both figures by hand in loops over rows."""
    draw = torch.Generator().manual_seed(0)
    parts = {name: F.normalize(torch.randn(4, 6, generator=draw), dim=-1) for name in PARTS}
    yes = torch.ones(4, dtype=torch.bool)
    has = dict.fromkeys(parts, yes) | {"query_text": ~yes}
    batch = {"valid": yes, "index": torch.arange(4)}
    batch |= {"item_id": torch.tensor([7, 3, 9, 1]), "spu_id": torch.arange(4), "category": torch.zeros(4).long()}
    evaluation = RetrievalEvaluation()
    evaluation.start({}, torch.device("cpu"))
    evaluation.update(parts, has, batch, ())
    figures = evaluation.compute(torch.tensor(10.0))
    items = parts["item"]
    distances = [float((parts["query_photo"][row] - items[row]).square().sum()) for row in range(4)]
    pairs = [(one, other) for one in range(4) for other in range(one)]
    potentials = [math.exp(-2 * float((items[one] - items[other]).square().sum())) for one, other in pairs]
    assert math.isclose(figures["alignment"], sum(distances) / 4, rel_tol=1e-5)
    assert math.isclose(figures["uniformity"], math.log(sum(potentials) / len(pairs)), rel_tol=1e-5)
