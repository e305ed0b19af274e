"""How likely several completions of one prompt are: the prompt, photo and all, is read once for all of them.

Completions stand behind their prompt in one sequence, each blind to the others and counted from where the prompt ends, so every
one of them sees what it would see alone: two answers of 64 tokens to a prompt of 128 take 256 places instead of 384. Attention
that cannot be told so (flash) reads the prompt once for each.

The output layer meets the completions' tokens alone, in tiles of some megabytes; of a tile only each token's own logit and the
logarithm of the sum are kept, and the rest is computed again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.positions import rotary_positions
from moon_zoo.nn.multimodal.sequence import Sequence

TILE_NUMBERS: Final = 1 << 22
"""Logits that there are at a time: 16 MB in float32."""


def completion_log_probabilities(
    backbone: Any, prompts: Sequence, ids: Tensor, mask: Tensor, *, shared: bool | None = None
) -> Tensor:
    """Log-probabilities of completions, each summed over its tokens.

    Args:
        backbone: A `moon_zoo.nn.multimodal.backbone.MultimodalLM`.
        prompts: What is completed; every row needs a token.
        ids: int64 ``(batch, completions, tokens)``.
        mask: Bool, True on real tokens, which come before any pad; of the same shape.
        shared: Whether a prompt is read once for all of its completions; None: where the attention allows it.

    Returns:
        float32 ``(batch, completions)``, in nats; 0 for a completion without tokens.
    """
    if shared is None:
        shared = not backbone.text_model.config._attn_implementation.startswith("flash")
    batch, count, _ = ids.shape
    if not shared:
        alone = _repeated(prompts, count)
        found = _log_probabilities(backbone, alone, ids.flatten(0, 1)[:, None], mask.flatten(0, 1)[:, None])
        return found.view(batch, count)
    return _log_probabilities(backbone, prompts, ids, mask)


def _log_probabilities(backbone: Any, prompts: Sequence, ids: Tensor, mask: Tensor) -> Tensor:
    batch, count, tokens = ids.shape
    device, length = ids.device, prompts.mask.shape[1]
    positions, continues = rotary_positions(backbone.image_places(prompts), prompts.mask, backbone.photo_side)
    within = torch.arange(tokens, device=device).repeat(count)
    positions = torch.cat([positions, (continues[:, None] + within).expand(3, -1, -1)], dim=2)
    there = torch.cat([prompts.mask, mask.flatten(1)], dim=1)
    types = F.pad(prompts.token_type, (0, count * tokens), value=token_types.TEXT)
    types = types.masked_fill(~there, token_types.PAD)
    group = F.pad(torch.arange(1, count + 1, device=device).repeat_interleave(tokens), (length, 0))  # 0: the prompt
    group = group.expand(batch, -1)
    embedded = torch.cat([backbone.embed(prompts), backbone.text_model.embed_tokens(ids.flatten(1))], dim=1)
    # A completion's first token follows the prompt's last one, every other the one before it.
    last = length - 1 - prompts.mask.flip(1).to(torch.uint8).argmax(dim=1)  # (batch,)
    place = torch.arange(length - 1, length - 1 + count * tokens, device=device)
    before = torch.where(within == 0, last[:, None], place)  # (batch, count * tokens)
    if device.type == "cpu":  # shapes may change at will: no pads between prompt and completions
        order = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(there.sum(1).max())]
        before = (there.long().cumsum(1) - 1).clamp(min=0).gather(1, before)
        there, types, group = (one.gather(1, order) for one in (there, types, group))
        positions = positions.gather(2, order.expand(3, -1, -1))
        embedded = embedded.gather(1, order[..., None].expand(-1, -1, embedded.shape[-1]))
    seen = "causal" if count == 1 else _who_sees_whom(there, group)
    hidden = backbone.run_layers(embedded, positions, there, types, attention=seen)
    width = hidden.shape[-1]
    found = hidden.gather(1, before[..., None].expand(-1, -1, width)).view(batch * count, tokens, width)
    real, labels = mask.flatten(0, 1), ids.flatten(0, 1)
    if device.type in ("cpu", "cuda"):
        rows = torch.arange(batch * count, device=device)[:, None].expand_as(real)[real]
        each = token_log_probabilities(backbone.logits, found[real], labels[real], backbone.vocab_size)
        return each.new_zeros(batch * count).index_add(0, rows, each).view(batch, count)
    each = token_log_probabilities(backbone.logits, found.flatten(0, 1), labels.flatten(), backbone.vocab_size)
    return each.view(batch, count, tokens).masked_fill(~mask, 0.0).sum(-1)


def token_log_probabilities(
    logits_of: Callable[[Tensor], Tensor], hidden: Tensor, labels: Tensor, vocab_size: int
) -> Tensor:
    """``logit(label) - logsumexp(logits)``.

    Args:
        logits_of: ``(tokens, hidden_size)`` to ``(tokens, vocab_size)``.
        hidden: ``(tokens, hidden_size)``: what stands before each token.
        labels: Those tokens, int64 ``(tokens,)``.
        vocab_size: Length of a token's logits.

    Returns:
        float32 ``(tokens,)``.
    """

    def one_tile(part: Tensor, wanted: Tensor) -> Tensor:
        logits = logits_of(part).float()
        return logits.gather(1, wanted[:, None]).squeeze(1) - logits.logsumexp(dim=1)

    size = max(1, TILE_NUMBERS // vocab_size)
    if len(labels) <= size:
        return one_tile(hidden, labels)
    again = torch.is_grad_enabled()
    tiles = zip(hidden.split(size), labels.split(size), strict=True)
    found = [checkpoint(one_tile, *tile, use_reentrant=False) if again else one_tile(*tile) for tile in tiles]
    return torch.cat(found)


def _who_sees_whom(there: Tensor, group: Tensor) -> Tensor:
    """The prompt causally, a completion its prompt and itself; every token itself, pads too.

    Args:
        there: Bool ``(batch, length)``, True on real tokens.
        group: ``(batch, length)``: 0 on the prompt's places, the completion's number on others.

    Returns:
        Bool ``(batch, 1, length, length)``.
    """
    place = torch.arange(group.shape[1], device=group.device)
    related = (group == 0)[:, None, :] | (group[:, :, None] == group[:, None, :])
    seen = related & there[:, None, :] & (place[:, None] >= place)
    return (seen | (place[:, None] == place))[:, None]


def _repeated(prompts: Sequence, count: int) -> Sequence:
    """Every row ``count`` times, one after another: photos are rows here, so they are repeated as rows are."""
    rows = torch.arange(len(prompts), device=prompts.mask.device).repeat_interleave(count)
    return prompts[rows]
