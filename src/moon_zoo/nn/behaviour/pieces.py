"""Target attention with one hidden layer on a CPU, computed in pieces that stay in the processor's cache.

What `attention.folded_first_layer`, ReLU and the last layer compute, with its gradient written out. A batch of 4,096 rows and
50 behaviours has 52 MB of hidden units: autograd writes them to memory and reads them back half a dozen times, which takes
longer than the arithmetic. Here a piece of some hundred rows is done from end to end, and its hidden units are computed
again in the backward pass instead of being kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

PIECE_BYTES = 2 << 20
"""Of a piece's hidden units and matrices: about what a core's share of the caches holds."""


def rows_per_piece(bytes_per_row: int) -> int:
    """How many rows of so many bytes are worked on at once; at least one."""
    return max(1, PIECE_BYTES // max(1, bytes_per_row))


class AttentionInPieces(torch.autograd.Function):
    """``w2 . relu(W [t, h, t - h, t * h] + b) + b2`` for every behaviour."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, target: Tensor, history: Tensor, weight: Tensor, bias: Tensor, last: Tensor, last_bias: Tensor
    ) -> Tensor:
        """Target ``(B, E)``, history ``(B, L, E)``, weight ``(H, 4 E)``, last ``(1, H)`` to logits ``(B, L)``."""
        ctx.save_for_backward(target, history, weight, bias, last)
        fold = _Fold(target, history, weight, bias)
        logits = target.new_empty(history.shape[:2])
        for start in range(0, len(target), fold.rows):
            piece = slice(start, start + fold.rows)
            hidden = fold.hidden(piece)
            torch.mv(hidden.flatten(0, 1), last[0], out=logits[piece].view(-1))
        return logits.add_(last_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all six inputs; letters as in `forward`, d for "gradient of"."""
        target, history, weight, bias, last = ctx.saved_tensors
        fold = _Fold(target, history, weight, bias)
        d_target, d_history = torch.empty_like(target), torch.empty_like(history)
        d_constant = target.new_empty(len(target), weight.shape[0])
        d_linear, d_product = torch.zeros_like(fold.linear), torch.zeros_like(fold.product)  # (E, H)
        d_last = torch.zeros_like(last[0])
        scratch, product_scratch = torch.empty_like(fold.hidden_scratch), torch.empty_like(fold.matrix_scratch)
        gradient = gradient.contiguous()
        for start in range(0, len(target), fold.rows):
            piece = slice(start, start + fold.rows)
            hidden, targets, behaviours = fold.hidden(piece), target[piece], history[piece]
            flat, above = hidden.flatten(0, 1), gradient[piece].view(-1)
            d_last.addmv_(flat.t(), above)
            d_hidden = scratch[: len(targets)]
            torch.mul(above.unsqueeze(1), last[0], out=d_hidden.view_as(flat))
            torch.ops.aten.threshold_backward.grad_input(d_hidden, hidden, 0, grad_input=d_hidden)
            torch.sum(d_hidden, 1, out=d_constant[piece])
            matrices = fold.matrix_scratch[: len(targets)]  # as `hidden` left them
            torch.bmm(d_hidden, matrices.transpose(1, 2), out=d_history[piece])
            d_matrices = torch.bmm(behaviours.transpose(1, 2), d_hidden, out=matrices)  # (rows, E, H)
            d_linear += d_matrices.sum(0)
            product = torch.mul(d_matrices, fold.product, out=product_scratch[: len(targets)])
            torch.sum(product, 2, out=d_target[piece])
            d_product += d_matrices.mul_(targets.unsqueeze(2)).sum(0)
        d_target.addmm_(d_constant, fold.of_target)
        d_both = d_constant.t() @ target  # of W_t and W_d
        d_weight = torch.cat([d_both, d_linear.t(), d_both - d_linear.t(), d_product.t()], dim=1)
        return d_target, d_history, d_weight, d_constant.sum(0), d_last.unsqueeze(0), gradient.sum().view(1)


class _Fold:
    """The folded layer ``(W_t + W_d) t + (W_h - W_d + W_p diag(t)) h`` of one call, and room for a piece of it."""

    def __init__(self, target: Tensor, history: Tensor, weight: Tensor, bias: Tensor) -> None:
        of_target, of_history, of_difference, of_product = weight.chunk(4, dim=1)  # (H, E) each
        self.target, self.history = target, history
        self.of_target = of_target + of_difference
        self.constant = F.linear(target, self.of_target, bias)  # (B, H)
        self.linear = (of_history - of_difference).t().contiguous()  # (E, H)
        self.product = of_product.t().contiguous()  # (E, H)
        dim, width, length = target.shape[1], weight.shape[0], history.shape[1]
        self.rows = min(rows_per_piece((dim + length) * width * target.element_size()), max(1, len(target)))
        self.matrix_scratch = target.new_empty(self.rows, dim, width)
        self.hidden_scratch = target.new_empty(self.rows, length, width)

    def hidden(self, piece: slice) -> Tensor:
        """Hidden units of a piece after ReLU, ``(rows, L, H)``; they and the matrices stay until the next call."""
        targets = self.target[piece]
        matrices, hidden = self.matrix_scratch[: len(targets)], self.hidden_scratch[: len(targets)]
        torch.addcmul(self.linear, targets.unsqueeze(2), self.product, out=matrices)
        torch.baddbmm(self.constant[piece].unsqueeze(1), self.history[piece], matrices, out=hidden)
        return hidden.clamp_min_(0)
