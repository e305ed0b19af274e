"""Qwen2.5-VL: configuration, weights of transformers, and photos through its vision tower at one fixed size.

Source: Bai et al. 2025, "Qwen2.5-VL", arXiv:2502.13923, section 2.1; names of weights are transformers' own, so a checkpoint of
either loads into the other. As all photos have one size, windows and rotary tables are constants and every layer is one batched
attention, where transformers loops over photos; the patch embedding is a product of matrices, its two equal frames summed.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.multimodal.attention_kernel import attention_kernel, plain_products_are_faster
from moon_zoo.nn.multimodal.backbone import MultimodalLM, with_token_type
from moon_zoo.nn.multimodal.qwen2_5_vl_sizes import PUBLISHED, check_sizes, published_config, tiny_config
from moon_zoo.nn.multimodal.rms_norm import fast_norms
from moon_zoo.nn.multimodal.special_tokens import QWEN2_5_VL, SpecialTokens

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Those of CLIP, which Qwen2.5-VL's processor uses; of values in 0..1."""


class Qwen25VL(MultimodalLM):
    """Qwen2.5-VL over photos of one size.

    Args:
        lm: transformers' ``Qwen2_5_VLForConditionalGeneration``.
        special: Ids of the special tokens.
        photo_size: Side of a photo in pixels, a multiple of ``patch_size * spatial_merge_size``.
    """

    mean: Tensor
    std: Tensor
    order: Tensor
    back: Tensor
    vision_cos: Tensor
    vision_sin: Tensor

    def __init__(self, lm: Any, *, special: SpecialTokens, photo_size: int) -> None:
        vision = lm.config.vision_config
        self.patch, self.merge = vision.patch_size, vision.spatial_merge_size
        self.grid = photo_size // self.patch  # patches per side
        super().__init__(lm, special=special, photo_size=photo_size, photo_side=self.grid // self.merge)
        for layer in self.layers:
            with_token_type(layer)
        for block in self.visual.blocks:
            _batched(block)
        fast_norms(lm)
        self._constants(vision)

    @staticmethod
    def lm_class() -> Any:
        """See `MultimodalLM`."""
        from transformers import Qwen2_5_VLForConditionalGeneration

        return Qwen2_5_VLForConditionalGeneration

    known_config = staticmethod(published_config)
    tiny_config = staticmethod(tiny_config)
    check = staticmethod(check_sizes)

    @staticmethod
    def known_special(name: str) -> SpecialTokens | None:
        """See `MultimodalLM`."""
        return QWEN2_5_VL if name in PUBLISHED else None

    @property
    def visual(self) -> Any:
        """See `MultimodalLM`."""
        return self.lm.model.visual

    @property
    def text_model(self) -> Any:
        """See `MultimodalLM`."""
        return self.lm.model.language_model

    def rotate(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `MultimodalLM`."""
        cos, sin = self.text_model.rotary_emb(hidden, positions)
        return cos, sin

    def encode_photos(self, photos: Tensor) -> Tensor:
        """See `MultimodalLM`.

        Raises:
            ValueError: Photos of another size.
        """
        if photos.shape[1:] != (3, self.photo_size, self.photo_size):
            raise ValueError(f"photos must be (n, 3, {self.photo_size}, {self.photo_size}), not {tuple(photos.shape)}")
        hidden = self._embed_patches(photos)  # (photos, patches, vision hidden)
        rotations = (self.vision_cos, self.vision_sin)
        for number, block in enumerate(self.visual.blocks):
            window = None if number in self.visual.fullatt_block_indexes else self.windows
            hidden = block(hidden, position_embeddings=rotations, window=window)
        merged = self.visual.merger(hidden).view(photos.shape[0], self.photo_tokens, -1)
        return merged if self.windows is None else merged[:, self.back]

    def save_photo_processor(self, folder: Path) -> None:
        """See `MultimodalLM`."""
        from transformers import Qwen2VLImageProcessor

        area = self.photo_size * self.photo_size
        Qwen2VLImageProcessor(
            size={"shortest_edge": area, "longest_edge": area},  # fewest and most pixels, in spite of their names
            patch_size=self.patch,
            merge_size=self.merge,
            temporal_patch_size=self.visual.patch_embed.temporal_patch_size,
            image_mean=list(MEAN),
            image_std=list(STD),
        ).save_pretrained(folder)

    def _embed_patches(self, photos: Tensor) -> Tensor:
        """``(photos, 3, size, size)`` to ``(photos, patches, vision hidden)``, in the order of windows and merged squares."""
        weight = self.visual.patch_embed.proj.weight  # (hidden, 3, frames, patch, patch)
        pixels = ((photos.float() - self.mean) / self.std).to(weight.dtype)
        side, merge, patch = self.photo_side, self.merge, self.patch
        pixels = pixels.view(photos.shape[0], 3, side, merge, patch, side, merge, patch)
        patches = pixels.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (photos, row, column, row in square, column in it, 3, y, x)
        patches = patches.reshape(photos.shape[0], self.photo_tokens, merge * merge, 3 * patch * patch)
        if self.windows is not None:
            patches = patches[:, self.order]
        return F.linear(patches.flatten(1, 2), weight.sum(dim=2).flatten(1))  # a photo is two equal frames

    def _constants(self, vision: Any) -> None:
        from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

        full = len(set(range(vision.depth)) - set(vision.fullatt_block_indexes)) == 0
        with torch.device("cpu"):  # these are computed, not loaded: also for models without memory
            grid = torch.tensor([[1, self.grid, self.grid]])
            order, ends = get_vision_window_index(grid, self.merge, vision.window_size, self.patch)
            if full:
                order = torch.arange(self.photo_tokens)
            positions = get_vision_position_ids(grid, self.merge)  # (patches, 2)
            positions = positions.view(self.photo_tokens, self.merge**2, 2)[order].flatten(0, 1)
            rotary = type(self.visual.rotary_pos_emb)(vision)
            cos, sin = rotary(torch.zeros(()), positions)
        self.windows: Windows | None = None if full else Windows(ends.tolist())
        shape, device = (1, 3, 1, 1), self.visual.patch_embed.proj.weight.device
        for name, value in (
            ("mean", torch.tensor(MEAN).view(shape) * 255),
            ("std", torch.tensor(STD).view(shape) * 255),
            ("order", order),
            ("back", order.argsort()),
            ("vision_cos", cos.float()),
            ("vision_sin", sin.float()),
        ):
            self.register_buffer(name, value.to(device), persistent=False)


class Windows:
    """Windows of a photo in which attention stays, by where each ends."""

    def __init__(self, ends: list[int]) -> None:
        self.lengths = [end - start for start, end in pairwise(ends)]
        self.equal = len(set(self.lengths)) == 1

    def mask(self, device: torch.device) -> Tensor:
        """Bool ``(patches, patches)``, True within one window."""
        number = torch.arange(len(self.lengths), device=device)
        number = number.repeat_interleave(torch.tensor(self.lengths, device=device))
        return number[:, None] == number


def _batched(block: nn.Module) -> None:
    """Let a block of the vision tower take ``(photos, patches, hidden)``; transformers' own way of calling it stays."""
    kind = type(block)

    class BatchedBlock(kind):  # type: ignore[valid-type,misc]
        def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if hidden.dim() == 2:  # transformers: all photos end to end
                return super().forward(hidden, *args, **kwargs)
            return _block(self, hidden, *args, **kwargs)

    BatchedBlock.__name__ = BatchedBlock.__qualname__ = kind.__name__
    block.__class__ = BatchedBlock


def _block(
    block: Any, hidden: Tensor, position_embeddings: tuple[Tensor, Tensor], window: Windows | None = None
) -> Tensor:
    hidden = hidden + _vision_attention(block.attn, block.norm1(hidden), position_embeddings, window)
    return hidden + block.mlp(block.norm2(hidden))


def _vision_attention(attn: Any, hidden: Tensor, rotations: tuple[Tensor, Tensor], window: Windows | None) -> Tensor:
    """Attention within each photo, or within its windows: ``(photos, patches, hidden)`` to the same."""
    photos, patches, width = hidden.shape
    if window is None and plain_products_are_faster(hidden, patches):
        return attn.proj(_few_patches(attn.qkv(hidden), rotations, attn.num_heads))
    qkv = attn.qkv(hidden).view(photos, patches, 3, attn.num_heads, attn.head_dim)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (photos, heads, patches, head_dim)
    cos, sin = rotations
    query, key = (_rotated(part, cos, sin) for part in (query, key))
    mask = None
    if window is not None and window.equal:
        split = (photos, attn.num_heads, len(window.lengths), window.lengths[0], attn.head_dim)
        query, key, value = (part.reshape(split).transpose(1, 2) for part in (query, key, value))
    elif window is not None:
        mask = window.mask(hidden.device)
    with attention_kernel(hidden, patches):
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    if window is not None and window.equal:
        seen = seen.transpose(1, 2).reshape(photos, attn.num_heads, patches, attn.head_dim)
    return attn.proj(seen.transpose(1, 2).reshape(photos, patches, width))


def _rotated(part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of numbers by their angles, in float32: ``(..., patches, head_dim)`` to the same."""
    exact = part.float()
    first, second = exact.chunk(2, dim=-1)
    return (exact * cos + torch.cat([-second, first], dim=-1) * sin).to(part.dtype)


def _few_patches(qkv: Tensor, rotations: tuple[Tensor, Tensor], heads: int) -> Tensor:
    """Attention of few patches as plain products: ``(photos, patches, 3 * hidden)`` to ``(photos, patches, hidden)``.

    Queries and keys are turned before heads are taken apart, and the other number of each pair comes by a product with a matrix
    of zeros and ones, which is exact: many passes over pieces of some 16 numbers were most of the time.
    """
    photos, patches, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    cos, sin = (part.repeat(1, 2 * heads) for part in rotations)  # (patches, 2 * hidden)
    both = qkv[..., : 2 * width]
    other = both @ _swapping(2 * heads, width // heads).to(both)
    turned = torch.addcmul(both * cos, other, sin).to(qkv.dtype)
    parts = (turned[..., :width], turned[..., width:], qkv[..., 2 * width :])
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1) for part in parts)
    with torch.autocast(qkv.device.type, enabled=False):  # which would take the softmax to float32 and back
        weights = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2)).softmax(-1)
        seen = torch.bmm(weights, value)  # (photos * heads, patches, head_dim)
    return seen.view(photos, heads, patches, -1).transpose(1, 2).reshape(photos, patches, width)


@lru_cache(maxsize=8)
def _swapping(heads: int, dim: int) -> Tensor:
    """``x @ this`` is ``(-second half, first half)`` of every head: ``(heads * dim, heads * dim)``."""
    half = torch.eye(dim // 2)
    one = torch.cat([F.pad(half, (dim // 2, 0)), F.pad(-half, (0, dim // 2))])
    return torch.block_diag(*([one] * heads))
