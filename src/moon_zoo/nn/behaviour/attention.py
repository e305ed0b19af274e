"""Target attention over a user's history, with its first layer folded.

Source: Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction" (DIN), arXiv:1706.06978, section 4.3. A
small network looks at ``[t, h, t - h, t * h]`` for the target ``t`` and each behaviour ``h`` and gives the behaviour's weight;
the interest is the weighted sum of behaviours, without softmax, so that its length tells how much interest there is.

Ours: the first layer is linear in ``h`` once ``t`` is given,
``W [t, h, t-h, t*h] = (W_t + W_d) t + (W_h - W_d + W_p diag(t)) h``, so one `baddbmm` with a matrix per row gives what the
concatenation of shape ``(batch, length, 4 dim)`` would, and that tensor is never made. ReLU where the paper has Dice, whose
batch statistics would see padding and differ between ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.behaviour.pieces import AttentionInPieces


class TargetAttention(nn.Module):
    """Weights of behaviours by a small network of target and behaviour.

    Args:
        dim: Size of target and behaviours.
        hidden: Widths of its hidden layers; at least one.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        if len(hidden) == 0:
            raise ValueError("the attention needs at least one hidden layer: hidden is empty")
        self.first = nn.Linear(4 * dim, hidden[0])
        widths = [*hidden, 1]
        self.rest = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, target: Tensor, history: Tensor) -> Tensor:
        """Attention logits before any mask.

        Args:
            target: ``(batch, dim)``.
            history: ``(batch, length, dim)``.

        Returns:
            ``(batch, length)``.
        """
        if len(self.rest) == 1 and _in_pieces(target, history):
            last = self.rest[0]
            return AttentionInPieces.apply(target, history, self.first.weight, self.first.bias, last.weight, last.bias)
        hidden = folded_first_layer(target, history, self.first.weight, self.first.bias)
        for layer in self.rest:
            hidden = layer(F.relu(hidden))
        return hidden.squeeze(-1)


def folded_first_layer(target: Tensor, history: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``Linear([t, h, t - h, t * h])`` for every behaviour, without the concatenation.

    Args:
        target: ``(batch, dim)``.
        history: ``(batch, length, dim)``.
        weight: Of the linear layer, ``(out, 4 dim)``.
        bias: ``(out,)``.

    Returns:
        ``(batch, length, out)``.
    """
    of_target, of_history, of_difference, of_product = weight.chunk(4, dim=1)  # (out, dim) each
    constant = F.linear(target, of_target + of_difference, bias)  # (batch, out)
    per_row = torch.addcmul((of_history - of_difference).t(), target.unsqueeze(2), of_product.t())  # (batch, dim, out)
    return torch.baddbmm(constant.unsqueeze(1), history, per_row)


def _in_pieces(target: Tensor, history: Tensor) -> bool:
    """Whether to use the function made for caches: a GPU has no need of it, and graphs and autocast cannot take it."""
    plain = target.device.type == "cpu" and target.dtype == history.dtype in (torch.float32, torch.float64)
    return plain and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over what is there; zeros, not NaN, for a row where nothing is.

    Args:
        logits: ``(batch, length)``.
        mask: True on real behaviours, ``(batch, length)``.

    Returns:
        float32 ``(batch, length)``; each row sums to 1, or to 0 if its mask is all False.
    """
    # the dtype's minimum and not -inf: a row of -inf alone has no softmax
    filled = logits.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return filled.softmax(dim=-1) * mask


def weighted_sum(weights: Tensor, history: Tensor) -> Tensor:
    """Sum of behaviours by their weights: ``(batch, length)`` and ``(batch, length, dim)`` to ``(batch, dim)``."""
    return torch.bmm(weights.to(history.dtype).unsqueeze(1), history).squeeze(1)
