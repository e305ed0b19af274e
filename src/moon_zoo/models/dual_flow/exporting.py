"""The two towers as networks of their own, each with its projection: what `moon-zoo export` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.errors import CheckpointError
from moon_zoo.models.base import ExportPart
from moon_zoo.models.contracts import TOKENIZER, photo_contract, text_contracts, tokenizer_json

if TYPE_CHECKING:
    from moon_zoo.data.text import TextTokenizer
    from moon_zoo.models.dual_flow.module import DualFlow

DRAWN_ROWS = 8
FUSING = (
    "A product that has both a photo and a text is the two embeddings added up and divided by the length of the sum; "
    "one that has only one of them is that one."
)
FUSING_LEARNED = (
    "The embedding of a product is what the network fusion makes of the embeddings of its photo and its text."
)


class PhotoEncoder(nn.Module):
    """Photos to unit embeddings; holds nothing of the text tower."""

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, photo: Tensor) -> Tensor:
        """uint8 ``(batch, 3, height, width)`` to float32 ``(batch, dim)`` of length 1."""
        return self.head(self.tower(photo))


class TextEncoder(nn.Module):
    """Texts to unit embeddings; holds nothing of the image tower."""

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """int64 ids and bool mask ``(batch, tokens)`` to float32 ``(batch, dim)`` of length 1."""
        return self.head(self.tower(token_ids, token_mask))


def export_parts(module: DualFlow) -> dict[str, ExportPart]:
    """``photo`` and ``text``, whose outputs are compared by their dot product.

    Raises:
        CheckpointError: The model has no tokenizer yet, so nobody could say what its token ids mean.
    """
    network, inputs = module.network, module.inputs
    if not inputs.knows_tokenizer:
        raise CheckpointError(
            "this model has no tokenizer yet: it was neither trained nor loaded", change="the checkpoint"
        )
    tokenizer = inputs.tokenizer
    draw = torch.Generator().manual_seed(0)
    # Attention over nothing but padding is undefined, and runtimes differ. The mean over no tokens is zeros all the same;
    # other poolings would let it through, so they must not be given an empty text (the model itself never uses one).
    gives_zeros = getattr(network.text_tower, "pooling", None) == "mean"
    learned = any(True for _ in network.fusion.parameters())
    note = FUSING_LEARNED if learned else FUSING
    parts = {
        "photo": ExportPart(
            network=PhotoEncoder(network.image_tower, network.image_head),
            inputs={"photo": _drawn_photos(inputs.photo.size, draw)},
            output="embedding",
            contract={"photo": photo_contract(inputs.photo)},
            batch_names={"photo": "item_photo"},
            note=note,
        ),
        "text": ExportPart(
            network=TextEncoder(network.text_tower, network.text_head),
            inputs=_drawn_texts(tokenizer, inputs.max_tokens, draw, empty=gives_zeros),
            output="embedding",
            contract=text_contracts(tokenizer, inputs.max_tokens, inputs.text_fields, empty_gives_zeros=gives_zeros),
            files={TOKENIZER: tokenizer_json(tokenizer)},
            batch_names={"token_ids": "item_token_ids", "token_mask": "item_token_mask"},
            note=note,
        ),
    }
    if learned:
        parts["fusion"] = _fusion_part(network.fusion, module.embedding_dim, draw)
    return parts


def _fusion_part(fusion: nn.Module, dim: int, draw: torch.Generator) -> ExportPart:
    """The learned layer between the two encoders, on unit vectors of which some are missing."""
    photo, text = (F.normalize(torch.randn(DRAWN_ROWS, dim, generator=draw), dim=-1) for _ in range(2))
    there = torch.arange(DRAWN_ROWS)
    vector = {"shape": [dim], "dtype": "float32"}
    return ExportPart(
        network=fusion,
        inputs={"photo": photo, "text": text, "has_photo": there % 3 != 1, "has_text": there % 3 != 2},
        output="embedding",
        contract={
            "photo": vector | {"content": "embedding from the photo network; ignored where has_photo is False"},
            "text": vector | {"content": "embedding from the text network; ignored where has_text is False"},
            "has_photo": {"shape": [], "dtype": "bool", "content": "whether the product has a photo"},
            "has_text": {"shape": [], "dtype": "bool", "content": "whether the product has a text"},
        },
        note="The embedding of a product, of what it has of the two.",
    )


def _drawn_photos(size: int, draw: torch.Generator) -> Tensor:
    """Noise, from fine to coarse, and all black and all white: uint8 ``(DRAWN_ROWS, 3, size, size)``."""
    photos = []
    for row in range(DRAWN_ROWS - 2):
        grain = min(1 << row, size)
        coarse = torch.randint(0, 256, (3, -(-size // grain), -(-size // grain)), generator=draw, dtype=torch.uint8)
        photos.append(coarse.repeat_interleave(grain, 1).repeat_interleave(grain, 2)[:, :size, :size])
    black = torch.zeros((3, size, size), dtype=torch.uint8)
    return torch.stack([*photos, black, torch.full_like(black, 255)])


def _drawn_texts(tokenizer: TextTokenizer, max_tokens: int, draw: torch.Generator, *, empty: bool) -> dict[str, Tensor]:
    """Ids of any kind in texts of all lengths, the longest first, the empty one last: ``(DRAWN_ROWS, max_tokens)``."""
    lengths = torch.linspace(0 if empty else 1, max_tokens, DRAWN_ROWS).long().flip(0)
    mask = torch.arange(max_tokens) < lengths[:, None]
    ids = torch.randint(0, tokenizer.vocab_size, (DRAWN_ROWS, max_tokens), generator=draw)
    return {"token_ids": ids.where(mask, torch.tensor(tokenizer.pad_id)), "token_mask": mask}
