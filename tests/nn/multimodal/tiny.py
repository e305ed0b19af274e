"""A small model and sequences for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.families import build_backbone
from moon_zoo.nn.multimodal.sequence import Sequence, assemble
from moon_zoo.nn.multimodal.special_tokens import SpecialTokens

SPECIAL = SpecialTokens(end=0, im_start=1, im_end=2, vision_start=3, vision_end=4, image=5)
VOCAB = 60
PHOTO = 32
OPTIONS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "tie_word_embeddings": False,  # tied ones write the same word for ever
    "initializer_range": 0.1,  # wide enough that outputs differ
    "vision_config": {
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "intermediate_size": 40,
        "initializer_range": 0.1,
    },
}


def model(seed: int = 0, *, photo_size: int = PHOTO, **options: Any) -> MultimodalLM:
    """A model in evaluation mode; of ``vision_config`` only what is given changes."""
    vision = {**OPTIONS["vision_config"], **options.pop("vision_config", {})}
    torch.manual_seed(seed)
    built = build_backbone(
        None,
        options={**OPTIONS, **options, "vision_config": vision},
        photo_size=photo_size,
        vocab_size=VOCAB,
        special=SPECIAL,
    )
    return built.eval()


def sequence(
    backbone: MultimodalLM,
    photo_mask: list[list[bool]],
    text_lengths: list[int],
    *,
    text_tokens: int = 7,
    seed: int = 0,
) -> Sequence:
    """Random photos and texts; texts end in padding, and hold title, category and attribute tokens in turn."""
    draw = torch.Generator().manual_seed(seed)
    there = torch.tensor(photo_mask, dtype=torch.bool).view(len(photo_mask), -1)
    rows = len(text_lengths)
    size = backbone.photo_size
    photos = torch.randint(0, 256, (rows, there.shape[1], 3, size, size), dtype=torch.uint8, generator=draw)
    ids = torch.randint(6, VOCAB, (rows, text_tokens), generator=draw)
    mask = torch.arange(text_tokens) < torch.tensor(text_lengths)[:, None]
    types = (torch.arange(text_tokens) % 3 + token_types.TEXT).expand(rows, -1)
    return assemble(photos, there, ids, mask, types, SPECIAL, backbone.photo_tokens)


def with_pads(given: Sequence, places: list[int]) -> Sequence:
    """The same sequences with one column of padding, of senseless content, before each of ``places``."""

    def padded(values: Tensor, fill: int) -> Tensor:
        columns = []
        for place in range(values.shape[1] + 1):
            columns += [torch.full_like(values[:, :1], fill)] * places.count(place)
            if place < values.shape[1]:
                columns.append(values[:, place : place + 1])
        return torch.cat(columns, dim=1)

    return Sequence(
        token_ids=padded(given.token_ids, SPECIAL.image),
        mask=padded(given.mask, False),
        token_type=padded(given.token_type, token_types.PAD),
        photos=given.photos,
        photo_mask=given.photo_mask,
    )


def transformers_inputs(backbone: MultimodalLM, given: Sequence) -> dict[str, Tensor]:
    """What transformers' own model reads for the same sequences; photos through its own processor."""
    from transformers import Qwen2VLImageProcessor

    area = backbone.photo_size**2
    vision = backbone.config.vision_config
    processor = Qwen2VLImageProcessor(
        size={"shortest_edge": area, "longest_edge": area},
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
    )
    inputs = {
        "input_ids": given.token_ids,
        "attention_mask": given.mask.long(),
        "mm_token_type_ids": backbone.image_places(given).int(),
    }
    photos = given.photos[given.photo_mask]
    if len(photos) > 0:
        inputs |= dict(processor(images=list(photos), return_tensors="pt"))
    return inputs
