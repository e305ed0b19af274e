"""Hubs for tests: small folders that look like checkpoints, and an index of them."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from moon_zoo.hub.index import INDEX, HubEntry, HubFile, Index

NAME = "dual_flow/tiny"
WEIGHT_BYTES = 300_000


def write_checkpoint(folder: Path, seed: int = 0, weight_bytes: int = WEIGHT_BYTES) -> Path:
    """A folder with a checkpoint's files; the weights are noise."""
    (folder / "text_tower").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"format: 1\nseed: {seed}\n")
    (folder / "model.safetensors").write_bytes(random.Random(seed).randbytes(weight_bytes))
    (folder / "inputs.json").write_text("{}")
    (folder / "README.md").write_text(f"# tiny {seed}\n\nA checkpoint for tests.\n")
    (folder / "text_tower" / "config.json").write_text('{"layers": 1}')
    return folder


def entry_of(root: Path, path: str, name: str = NAME) -> HubEntry:
    folder = root / path
    files = {
        file.relative_to(folder).as_posix(): HubFile(file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    return HubEntry(name, path, "noise", "moon_zoo.models.base.ZooModule", "0.1.0", "CC0-1.0", files)


def write_index(root: Path, *entries: HubEntry) -> None:
    (root / INDEX).write_text(Index({entry.name: entry for entry in entries}).to_yaml())


def make_hub(root: Path, name: str = NAME, seed: int = 0, weight_bytes: int = WEIGHT_BYTES) -> HubEntry:
    """A hub in a folder, with one checkpoint."""
    write_checkpoint(root / name, seed, weight_bytes)
    entry = entry_of(root, name, name)
    write_index(root, entry)
    return entry
