"""A model from numbers learns to see: it names the tint of noise after sixty steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.sequence import Sequence, assemble
from tests.nn.multimodal import tiny

TINTS = torch.tensor([[90, 0, 0], [0, 90, 0], [0, 0, 90], [0, 0, 0]])
FIRST_WORD = 10  # the words of the tints are this token and the next ones


def tinted(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Photos ``(count, 3, size, size)`` and the numbers of their tints."""
    tint = torch.randint(0, len(TINTS), (count,), generator=draw)
    noise = torch.randint(0, 160, (count, 3, tiny.PHOTO, tiny.PHOTO), generator=draw)
    return (noise + TINTS[tint][:, :, None, None]).to(torch.uint8), tint


def question(backbone: MultimodalLM, photos: Tensor) -> Sequence:
    """A photo and one word that asks."""
    word = torch.full((len(photos), 1), 6)
    types = torch.full_like(word, token_types.TEXT)
    there = torch.ones_like(word, dtype=torch.bool)
    return assemble(photos[:, None], there, word, there, types, tiny.SPECIAL, backbone.photo_tokens)


def test_it_learns_from_scratch_to_say_what_it_sees() -> None:
    backbone = tiny.model(initializer_range=0.02, vision_config={"initializer_range": 0.02}).train()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        photos, tint = tinted(16, draw)
        last = backbone(question(backbone, photos), "causal")[:, -1]
        loss = F.cross_entropy(backbone.logits(last), tint + FIRST_WORD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    photos, tint = tinted(64, draw)
    written = backbone.generate(question(backbone, photos), max_new_tokens=1)
    right = sum(words == [FIRST_WORD + int(one)] for words, one in zip(written, tint, strict=True))
    assert right >= 61  # chance: 16
