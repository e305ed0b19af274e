"""Which parts of a query meet which parts of an item: modality combinations, one per batch.

Source: post-training stage 1 of arXiv:2511.11305: queries of text, image, or title with image, against items of richer text,
image, title with image, or richer text with image. Nine of these are used there, which nine and in which ratio is unpublished;
here any may be mixed. Query types of MOON (arXiv:2508.11999) are image : text : both = 12 : 3 : 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moon_zoo.data.ids import stable_id
from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.models.moon.network import Side, Text


@dataclass(frozen=True)
class Parts:
    """What of a side is encoded, and what of it must be there.

    Args:
        side: Which tensors of the batch; a title asks with the item's.
        photos: Whether photos and crops take part.
        text: Which text takes part.
        needs_photo: Whether samples without a photo are left out.
        needs_text: Whether samples without a text are left out.
    """

    side: Side
    photos: bool
    text: Text
    needs_photo: bool
    needs_text: bool

    @property
    def name(self) -> str:
        """Which sequence is read: parts that differ only in what they need read the same one."""
        return f"{self.side}/{'photos' if self.photos else 'no_photos'}/{self.text}"

    def there(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Samples that have what is needed, and anything at all: bool ``(batch,)``."""
        photo, text = batch[f"has_{self.side}_photo"], has_text(batch, self.side, self.text)
        found = (photo if self.photos else torch.zeros_like(photo)) | text
        if self.needs_photo:
            found = found & photo
        return found & text if self.needs_text else found


QUERIES: dict[str, Parts] = {
    "query": Parts("query", True, "all", False, False),
    "photo": Parts("query", True, "none", True, False),
    "text": Parts("query", False, "all", False, True),
    "both": Parts("query", True, "all", True, True),
    "title": Parts("item", False, "title", False, True),
}
"""What asks: the query as it is, its photo, its words, both (those that have both), or the item's own title."""

ITEMS: dict[str, Parts] = {
    "product": Parts("item", True, "all", False, False),
    "photo": Parts("item", True, "none", True, False),
    "text": Parts("item", False, "all", False, True),
    "title": Parts("item", False, "title", False, True),
    "title_photo": Parts("item", True, "title", True, True),
}
"""What answers: all of the item, its photos, its richer text (all fields), its title, title and photos."""

COMBINATIONS: dict[str, tuple[Parts, Parts]] = {
    f"{query}_to_{item}": (asks, answers)
    for query, asks in QUERIES.items()
    for item, answers in ITEMS.items()
    # A title alone would find itself in another text. In a product it does so too, and that is what teaches the product's
    # embedding not to drown few words in many photo tokens.
    if asks.side == "query" or item in ("photo", "product")
}
"""Name to what asks and what answers."""


def passed_over(answers: Parts) -> Parts:
    """Of items passed over, the parts that chosen items answer with."""
    return replace(answers, side="negative")


def has_any(batch: Mapping[str, Tensor], parts: Parts) -> Tensor:
    """Samples of which the sequence would hold anything, whatever must be there: bool ``(batch,)``."""
    return replace(parts, needs_photo=False, needs_text=False).there(batch)


DEFAULT: dict[str, float] = {"query_to_product": 1.0}


def has_text(batch: Mapping[str, Tensor], side: str, text: Text) -> Tensor:
    """Samples whose side has a text of the wanted kind, bool ``(batch,)``."""
    if text == "none":
        return torch.zeros_like(batch[f"has_{side}_text"])
    if text == "title":
        return (batch[f"{side}_token_title"] & batch[f"{side}_token_mask"]).any(-1)
    return batch[f"has_{side}_text"]


def checked_combinations(ratios: Mapping[str, float] | None) -> dict[str, float]:
    """Combinations with their shares of batches, which sum to 1.

    Raises:
        RecipeError: An unknown combination, a negative ratio, or none above 0.
    """
    given = dict(DEFAULT if ratios is None else ratios)
    setting = "model.init_args.combinations"
    for name, ratio in given.items():
        if name not in COMBINATIONS:
            raise RecipeError(
                f"unknown combination {name!r}; known: {', '.join(COMBINATIONS)}",
                suggestions=did_you_mean(name, COMBINATIONS),
                change=setting,
            )
        if not ratio >= 0:
            raise RecipeError(f"the combination {name} has the ratio {ratio}, but must be at least 0", change=setting)
    total = sum(given.values())
    if not 0 < total < float("inf"):
        raise RecipeError("no combination has a ratio above 0", change=setting)
    return {name: ratio / total for name, ratio in given.items() if ratio > 0}


def drawn_combinations(shares: Mapping[str, float], seed: int, step: int, count: int = 1) -> tuple[str, ...]:
    """The combinations of one step: a pure function of its arguments, so the same on all ranks and after resuming.

    Args:
        shares: From `checked_combinations`.
        seed: Of the draws.
        step: Optimiser steps done.
        count: How many different ones; all where there are no more.

    Returns:
        In the order of the draws, each made among those not drawn before, in their ratio.
    """
    left, drawn = dict(shares), []
    for number in range(min(count, len(shares))):
        name = f"combination/{seed}/{step}" + (f"/{number}" if number else "")
        point = stable_id(name) / 2**63 * sum(left.values())
        chosen = next(reversed(left))
        for combination, share in left.items():
            point -= share
            if point < 0:
                chosen = combination
                break
        drawn.append(chosen)
        del left[chosen]
    return tuple(drawn)
