"""What a reader of figures should know of the samples behind them: photos and words that found no room."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks


class CutNotes:
    """Counts over batches, on the device they are on; nothing waits for it before `sentence`.

    Args:
        max_photos: Most photos of an item that are read.
        max_tokens: Longest text of an item.
    """

    def __init__(self, max_photos: int, max_tokens: int) -> None:
        self.max_photos = max_photos
        self.max_tokens = max_tokens
        self._counts: Tensor | None = None

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        valid = batch["valid"]
        photos, tokens = batch["photos_cut"] * valid, batch["tokens_cut"] * valid
        counts = torch.stack([valid.sum(), (photos > 0).sum(), photos.sum(), (tokens > 0).sum()])
        self._counts = counts if self._counts is None else self._counts + counts

    def sentence(self) -> str | None:
        """Counts over all ranks' samples; None where there is nothing to tell. Every rank must call it."""
        counts = torch.zeros(4, dtype=torch.int64) if self._counts is None else self._counts
        samples, items, photos, texts = sum_over_ranks(counts).tolist()
        said = []
        if items:
            said.append(
                f"{items:,} have more than {self.max_photos} photos, of which {photos:,} were not read (model.max_photos)"
            )
        if texts:
            said.append(
                f"{texts:,} have a text of more than {self.max_tokens} tokens, cut as model.text_priority says "
                "(model.max_tokens)"
            )
        return f"of {samples:,} items, {'; '.join(said)}" if said else None
