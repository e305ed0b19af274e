from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.errors import RecipeError
from moon_zoo.models.dual_flow.module import DualFlow
from moon_zoo.models.dual_flow.objectives import Objectives
from moon_zoo.nn.fusion import MeanFusion


def embeddings(rows: int, dim: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        part: F.normalize(torch.randn(rows, dim, generator=generator), dim=-1).requires_grad_()
        for part in ("query_photo", "query_text", "item_photo", "item_text")
    }


def presence(rows: int, **missing: list[int]) -> dict[str, torch.Tensor]:
    flags = {
        part: torch.ones(rows, dtype=torch.bool) for part in ("query_photo", "query_text", "item_photo", "item_text")
    }
    for part, places in missing.items():
        flags[part][places] = False
    return flags


def test_one_objective_is_the_cross_entropy_of_both_directions() -> None:
    """With one positive a row, InfoNCE is cross_entropy(scale * Q D^T, arange) averaged over the two directions."""
    parts, groups = embeddings(5), torch.arange(5)
    objectives = Objectives(weights={"photo_to_text": 1.0}, loss="info_nce", embedding_dim=6, temperature=0.1)
    logits = 10 * parts["query_photo"] @ parts["item_text"].T
    expected = (F.cross_entropy(logits, groups) + F.cross_entropy(logits.T, groups)) / 2
    torch.testing.assert_close(objectives(parts, presence(5), groups, MeanFusion()), expected)


def test_weights_add_up_the_single_objectives() -> None:
    parts, groups = embeddings(6), torch.tensor([0, 0, 1, 2, 3, 3])

    def loss(**weights: float) -> torch.Tensor:
        return Objectives(weights=weights, loss="info_nce", embedding_dim=6)(parts, presence(6), groups, MeanFusion())

    both = loss(photo_to_photo=0.5, query_to_product=2.0)
    torch.testing.assert_close(both, 0.5 * loss(photo_to_photo=1.0) + 2.0 * loss(query_to_product=1.0))


def test_samples_without_a_query_text_add_nothing_to_text_to_product() -> None:
    """Rows 1 and 3 have no words: as queries they are not there, as products they still are negatives."""
    parts, groups = embeddings(4), torch.arange(4)
    flags = presence(4, query_text=[1, 3])
    objectives = Objectives(
        weights={"text_to_product": 1.0}, loss="info_nce", embedding_dim=6, temperature=0.1, symmetric=False
    )
    item = F.normalize(parts["item_photo"] + parts["item_text"], dim=-1)
    logits = 10 * parts["query_text"] @ item.T
    expected = F.cross_entropy(logits[[0, 2]], torch.tensor([0, 2]))
    torch.testing.assert_close(objectives(parts, flags, groups, MeanFusion()), expected)


def test_other_photos_of_the_same_product_are_not_pushed_away() -> None:
    """Rows 0 and 1 share an SPU: row 0's gradient on document 1 pulls (positive), on document 2 it pushes."""
    parts = embeddings(3)
    groups = torch.tensor([7, 7, 8])
    objectives = Objectives(
        weights={"photo_to_photo": 1.0}, loss="info_nce", embedding_dim=6, temperature=1.0, symmetric=False
    )
    # Only row 0 counts as a query, so the gradient on each document comes from it alone.
    objectives(parts, presence(3, query_photo=[1, 2]), groups, MeanFusion()).backward()
    along_query = parts["item_photo"].grad @ parts["query_photo"][0].detach()
    assert along_query[0] < 0 and along_query[1] < 0, "positives are pulled towards the query"
    assert along_query[2] > 0, "the negative is pushed away"


@pytest.mark.parametrize("loss", ["info_nce", "siglip"])
def test_queue_adds_negatives_but_never_the_own_product(loss: str) -> None:
    groups = torch.zeros(4, dtype=torch.int64)
    settings = {"weights": {"photo_to_photo": 1.0}, "embedding_dim": 6, "queue_size": 4}
    objectives = Objectives(loss=loss, **settings)
    parts = embeddings(4)
    alone = objectives(parts, presence(4), groups, MeanFusion())
    objectives.push_to_queue()
    own_in_queue = objectives(parts, presence(4), groups, MeanFusion())
    torch.testing.assert_close(own_in_queue, alone, msg="the queue holds only the rows' own products")
    others_in_queue = objectives(parts, presence(4), groups + 100, MeanFusion())
    assert others_in_queue > alone + 1e-4


def test_nothing_to_compare_gives_zero_and_no_nan() -> None:
    parts, groups = embeddings(3), torch.arange(3)
    flags = presence(3, query_text=[0, 1, 2])
    loss = Objectives(weights={"text_to_product": 1.0}, loss="info_nce", embedding_dim=6)(
        parts, flags, groups, MeanFusion()
    )
    loss.backward()
    assert loss.item() == 0
    assert all(part.grad is None or part.grad.isfinite().all() for part in parts.values())


def test_only_chosen_behaviours_are_learned_from_but_all_products_are_negatives() -> None:
    """Rows 0 and 2 are purchases, row 1 a click: its query is silent, its product still pushes the others away."""
    module = DualFlow(
        image_tower="test_vit",
        image_tower_options={"img_size": 32},
        image_size=32,
        text_tower_options={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        },
        embedding_dim=6,
        objectives={"photo_to_photo": 1.0},
        symmetric=False,
        temperature=0.1,
        behaviours=["purchase"],
    )
    parts = embeddings(3)
    batch = {f"has_{part}": flags for part, flags in presence(3).items()}
    ids = torch.arange(3)
    batch |= {"valid": torch.ones(3, dtype=torch.bool), "spu_id": ids, "behaviour": torch.tensor([2, 0, 2])}
    logits = 10 * parts["query_photo"] @ parts["item_photo"].T
    expected = F.cross_entropy(logits[[0, 2]], torch.tensor([0, 2]))
    torch.testing.assert_close(module.objective(parts, batch), expected)


def test_unknown_behaviour_is_refused_with_those_that_exist() -> None:
    with pytest.raises(RecipeError, match=r"unknown behaviour 'buy'; known: click, cart, purchase"):
        DualFlow(behaviours=["buy"])
