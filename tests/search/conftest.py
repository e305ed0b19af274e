"""A model as small as it can be that embeds products, saved as people save one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.table import TINY_TOWERS


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, product_set: Path) -> Path:
    """A checkpoint folder of a `DualFlow` of 16 dimensions with random weights, which knows the words of `product_set`."""
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.models.dual_flow.module import DualFlow

    torch.manual_seed(0)
    module = DualFlow(**TINY_TOWERS)
    shards = IndexedShards(product_set)
    module.inputs.fit(iter(shards), shards.manifest)
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    module.save_pretrained(folder)
    return folder
