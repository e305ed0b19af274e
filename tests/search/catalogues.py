"""A small catalogue with a small model of random weights: equal inputs have equal vectors, which is all that tests need."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from moon_zoo.data.kinds import Product
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import ShardWriter
from moon_zoo.models.dual_flow.module import DualFlow
from moon_zoo.search.embedding import Settings, embed
from tests.models.table import TINY_TOWERS

THINGS = ("shirt", "boot", "lamp")
PATHS = {"shirt": ("clothing", "shirt"), "boot": ("shoes", "boot"), "lamp": ("home", "lamp")}


def photo(number: int, size: int = 48) -> bytes:
    """A photo of stripes whose colours and width come from its number."""
    rng = np.random.default_rng(number)
    stripes = rng.integers(0, 256, (1, 6, 3)).repeat(8, 1).repeat(48, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(stripes).resize((size, size)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def product(number: int) -> Product:
    """Product ``number``; the last of every dozen has no photo."""
    thing = THINGS[number % 3]
    return Product(
        item_id=f"item-{number:03d}",
        title=f"{thing} number {number} of {number * 7 % 11}",
        photos=[] if number % 12 == 11 else [photo(number), photo(1000 + number)],
        category=PATHS[thing],
    )


def write_set(folder: Path, numbers: range) -> Path:
    """A set of those products."""
    with ShardWriter(folder, kind="product", source="drawn", licence="CC0-1.0", max_samples=20) as writer:
        for number in numbers:
            writer.write(f"p{number:03d}", product(number))
    return folder


def model(folder: Path, shards: Path, seed: int = 0, **init_args: Any) -> Path:
    """A checkpoint folder of a model that saw nothing but the words."""
    torch.manual_seed(seed)
    module = DualFlow(**TINY_TOWERS | init_args)
    read = IndexedShards(shards)
    module.inputs.fit(iter(read), read.manifest)
    return module.eval().save_pretrained(folder)


@dataclass(frozen=True)
class Made:
    """What the tests search in."""

    root: Path
    shards: Path
    checkpoint: Path
    embeddings: Path


def make(root: Path, count: int = 40) -> Made:
    """Shards, a checkpoint, and embeddings of the one by the other."""
    shards = write_set(root / "shards", range(count))
    checkpoint = model(root / "checkpoint", shards)
    return Made(root, shards, checkpoint, embedded(checkpoint, root / "embeddings", shards))


def embedded(checkpoint: Path, to: Path, *shards: Path) -> Path:
    """Embeddings of shards."""
    module = DualFlow.from_pretrained(checkpoint)
    embed(module, [str(path) for path in shards], to, source=str(checkpoint), settings=Settings(num_workers=0))
    return to
