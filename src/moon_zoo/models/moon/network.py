"""One encoder for queries and products: a multimodal language model with guided experts, and the mean of what it sees.

Source: MOON, arXiv:2508.11999, sections 3.2 and 3.3. Photos, crops and text go through the model in one sequence; the embedding
is the mean over all last hidden states (not the last token's), pads left out. Length 1 is ours, as is the mean of the photos'
and the text's means, in which a photo of many tokens does not outweigh a title of few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.errors import RecipeError
from moon_zoo.nn.heads import masked_mean
from moon_zoo.nn.moe.install import moe_modules
from moon_zoo.nn.moe.losses import stack
from moon_zoo.nn.multimodal.backbone import Attention, MultimodalLM, even
from moon_zoo.nn.multimodal.sequence import Sequence as TokenSequence
from moon_zoo.nn.multimodal.sequence import assemble
from moon_zoo.nn.multimodal.token_types import IMAGE

Side = Literal["query", "item", "negative"]
Text = Literal["none", "title", "all"]
Pooling = Literal["tokens", "parts"]

STATES = "_photo_states"
"""Ending of a batch's tensor of photos that were read already."""


class MoonNetwork(nn.Module):
    """Photos and text of a query or a product to one unit embedding.

    Args:
        backbone: The language model, with its experts if it has any.
        attention: ``bidirectional``: every token sees all others; ``causal``: only those before it.
        pooling: ``tokens``: the mean over all tokens; ``parts``: the mean of the photos' mean and the text's.
    """

    def __init__(
        self, backbone: MultimodalLM, *, attention: Attention = "bidirectional", pooling: Pooling = "tokens"
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise RecipeError(
                f"pooling is {pooling!r}; known: {', '.join(get_args(Pooling))}", change="model.init_args.pooling"
            )
        self.pooling: Pooling = pooling
        self.backbone = backbone
        self.attention: Attention = attention
        self.has_experts = len(moe_modules(backbone)) > 0

    @property
    def dim(self) -> int:
        """Size of the embedding: that of a hidden state."""
        return self.backbone.hidden_size

    def forward(self, sequence: TokenSequence) -> Tensor:
        """Unit embeddings, float32 ``(batch, dim)``; zeros for a sequence of pads alone."""
        hidden = self.backbone(sequence, self.attention)
        if self.pooling == "tokens":
            return F.normalize(masked_mean(hidden.float(), sequence.mask), dim=-1)
        image = sequence.mask & (sequence.token_type == IMAGE)
        means = [masked_mean(hidden.float(), part) for part in (image, sequence.mask & ~image)]
        return F.normalize(means[0] + means[1], dim=-1)  # a part that is not there is zeros

    def freeze_output_layer(self) -> None:
        """Leave what turns hidden states into words as it is; for a training that writes nothing.

        A layer that shares its weights with the token table stays trained, as that is.
        """
        layer = self.backbone.lm.lm_head
        if layer.weight is not self.backbone.text_model.embed_tokens.weight:
            layer.requires_grad_(False)

    def statistics(self) -> dict[str, Tensor]:
        """What the routers did in the last forward, per sequence; see `moon_zoo.nn.moe.losses.stack`."""
        found = [mixture.statistics for mixture in moe_modules(self.backbone)]
        return stack([one for one in found if one is not None])

    def with_photos_read(self, batch: Mapping[str, Tensor], sides: Iterable[Side]) -> dict[str, Tensor]:
        """A batch whose photos of some sides were read by the vision tower already, for several sequences that show them.

        Args:
            batch: As the inputs made it.
            sides: Which sides.
        """
        read = {
            f"{side}{STATES}": self.backbone.photo_states(batch[f"{side}_photos"], batch[f"{side}_photo_mask"])
            for side in sides
        }
        return {**batch, **read}

    def sequence(
        self, batch: Mapping[str, Tensor], side: Side, *, photos: bool = True, text: Text = "all"
    ) -> TokenSequence:
        """The sequences of one side of a batch, or of some of its parts.

        Args:
            batch: As the inputs made it.
            side: Which side.
            photos: Whether photos and crops take part.
            text: Whether the text takes part: not at all, its title alone, or all of it.
        """
        pixels, there = batch[f"{side}_photos"], batch[f"{side}_photo_mask"]
        ids, mask = batch[f"{side}_token_ids"], batch[f"{side}_token_mask"]
        types = batch[f"{side}_token_type"]
        if not photos:
            pixels, there = pixels[:, :0], there[:, :0]
        if text == "none":
            ids, mask, types = ids[:, :0], mask[:, :0], types[:, :0]
        elif text == "title":
            mask = mask & batch[f"{side}_token_title"]
        sequence = assemble(pixels, there, ids, mask, types, self.backbone.special, self.backbone.photo_tokens)
        if photos and f"{side}{STATES}" in batch:
            sequence = replace(sequence, photo_states=batch[f"{side}{STATES}"])
        return without_empty_columns(sequence) if ids.device.type == "cpu" else sequence


def without_empty_columns(sequence: TokenSequence) -> TokenSequence:
    """A batch without the places that are padding in all of its rows; for devices where shapes may change at will."""
    kept = sequence.mask.any(0)
    # at least one: a sequence of no length at all is more than some kernels bear
    wanted = even(int(kept.sum()), len(kept))
    if wanted == len(kept):
        return sequence
    spare = (~kept).nonzero()[:, 0]
    kept[spare[: wanted - len(kept) + len(spare)]] = True
    return TokenSequence(
        token_ids=sequence.token_ids[:, kept],
        mask=sequence.mask[:, kept],
        token_type=sequence.token_type[:, kept],
        photos=sequence.photos,
        photo_mask=sequence.photo_mask,
        photo_states=sequence.photo_states,
    )


def embed_rows(network: MoonNetwork, sequence: TokenSequence, there: Tensor) -> dict[str, Tensor]:
    """Embeddings and router statistics of the rows that are there; zeros for all others.

    On the CPU rows that are not there are not computed; elsewhere shapes stay as they are, and those rows are pads.

    Args:
        network: The encoder.
        sequence: Of ``rows`` rows.
        there: Bool ``(rows,)``.

    Returns:
        ``embedding`` ``(rows, dim)`` and `MoonNetwork.statistics`, ``(rows, ...)``.
    """
    sequence = replace(sequence, mask=sequence.mask & there[:, None], photo_mask=sequence.photo_mask & there[:, None])
    if there.device.type != "cpu" or bool(there.all()):
        return {"embedding": network(sequence), **network.statistics()}
    # Some rows of pads fill up an even number; one at least: all processes must have the same weights in their graphs.
    places = there.to(torch.uint8).argsort(descending=True, stable=True)[: even(int(there.sum()), len(there))]
    found = {"embedding": network(without_empty_columns(sequence[places])), **network.statistics()}
    return {name: _spread(value, places, len(there)) for name, value in found.items()}


def _spread(values: Tensor, places: Tensor, rows: int) -> Tensor:
    return values.new_zeros(rows, *values.shape[1:]).index_copy(0, places, values)


def add_statistics(*found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sum router statistics of several encodings of the same samples: they are sums already."""
    total: dict[str, Any] = {}
    for one in found:
        for name, value in one.items():
            if name.startswith("router/"):
                total[name] = total[name] + value if name in total else value
    return total


def joined(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Router statistics of different sequences, one batch after another."""
    names = [name for name in (found[0] if found else {}) if name.startswith("router/")]
    return {name: torch.cat([one[name] for one in found]) for name in names}


def per_sample(found: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Router statistics of ``rows * n`` sequences summed to those of ``rows`` samples; embeddings as ``(rows, n, dim)``."""
    shaped = {name: value.view(rows, -1, *value.shape[1:]) for name, value in found.items()}
    return {name: value.sum(1) if name.startswith("router/") else value for name, value in shaped.items()}
