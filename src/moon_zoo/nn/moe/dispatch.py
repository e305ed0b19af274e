"""Expert feed-forward networks on the tokens routed to them: exact, and fast for many tokens and for few.

Source: computing experts as grouped products over sorted tokens is MegaBlocks', Gale et al. 2022, arXiv:2211.15841. Ours is one
autograd node with a backward of its own:

- The routing weight scales the hidden layer, not the output, so the expert outputs need not be kept: the weight's gradient is
  had from the hidden layer's.
- Stacked weights get their gradient in one piece. (Indexing the stack once per expert writes zeros for all experts as
  often as there are experts.)
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moon_zoo.nn.moe.layout import Layout, grouped, padded, rounded, static

PADDED_ROWS: Final = 16
"""Rows of the busiest expert up to which one padded product is faster than one product per expert.

A product of few rows is too small for several threads, a padded one is not; with one thread the two are within a tenth.
"""

PADDED_WASTE: Final = 3
"""Padded rows per real row up to which that holds: a token or two leave most experts' weights unread."""


ROUNDED_ROWS: Final = 64
"""Multiple of rows that an expert's are filled up to where every new shape of a product costs a kernel."""


def layout_of(expert_ids: Tensor, num_experts: int, dtype: torch.dtype = torch.float32) -> Layout:
    """The layout that is fastest here for these tokens.

    Args:
        expert_ids: ``(tokens, slots)``; ``num_experts`` where a slot has none.
        num_experts: N.
        dtype: Of the products.
    """
    if expert_ids.device.type != "cpu" or torch.compiler.is_compiling():
        return static(expert_ids, num_experts)
    counts = torch.bincount(expert_ids.reshape(-1), minlength=num_experts + 1)[:num_experts]
    busiest = int(counts.max())
    few = 0 < busiest <= PADDED_ROWS and num_experts * busiest <= PADDED_WASTE * int(counts.sum())
    if few and torch.get_num_threads() > 1:
        return padded(expert_ids, num_experts, busiest)
    if dtype in (torch.bfloat16, torch.float16) and expert_ids.numel() >= ROUNDED_ROWS * num_experts:
        return rounded(expert_ids, num_experts, ROUNDED_ROWS)
    return grouped(expert_ids, num_experts)


def expert_ffn(hidden: Tensor, gate_up: Tensor, down: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of SwiGLU networks: ``sum_e w_e down_e(silu(gate_e(x)) * up_e(x))``.

    Args:
        hidden: ``(tokens, dim)``.
        gate_up: Both first layers, gate's rows first, ``(experts, 2 * hidden_dim, dim)``.
        down: ``(experts, dim, hidden_dim)``.
        expert_ids: int64, ``(tokens, slots)``; the number of experts where a slot has none.
        weights: ``(tokens, slots)``; 0 where a slot has none.

    Returns:
        ``(tokens, dim)``, in autocast's type under autocast, else in that of ``hidden``; 0 for tokens without any expert.
    """
    hidden, gate_up, down = _autocast(hidden, gate_up, down)
    if torch.compiler.is_exporting():
        return _all_experts(hidden, gate_up, down, expert_ids, weights)
    layout = layout_of(expert_ids, len(gate_up), hidden.dtype)
    return _ExpertFFN.apply(hidden, gate_up, down, weights, layout)


def grouped_linear(rows: Tensor, weight: Tensor, layout: Layout) -> Tensor:
    """Each expert's linear map on its rows.

    Args:
        rows: As the layout has them, ``(rows, in)``.
        weight: ``(experts, out, in)``.
        layout: See `layout_of`.

    Returns:
        ``(rows, out)``.
    """
    rows, weight = _autocast(rows, weight)
    return _GroupedLinear.apply(rows, weight, layout)


def to_rows(hidden: Tensor, layout: Layout) -> Tensor:
    """Tokens ``(tokens, dim)`` as the layout's rows ``(rows, dim)``, with gradient."""
    return _ToRows.apply(hidden, layout)


def to_tokens(rows: Tensor, layout: Layout) -> Tensor:
    """The layout's rows ``(rows, dim)`` summed over each token's slots, ``(tokens, dim)``, with gradient."""
    return _ToTokens.apply(rows, layout)


class _ExpertFFN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, layout: Layout) -> Tensor:
        rows = layout.rows_of(hidden)
        first = layout.times(rows, gate_up.transpose(1, 2))  # (rows, 2 * hidden_dim)
        gate, up = first.chunk(2, 1)
        active = F.silu(gate)
        weighted = (active * up).mul_(layout.weights_of(weights).to(active.dtype))
        out = layout.summed(layout.times(weighted, down.transpose(1, 2)))
        ctx.layout = layout
        ctx.save_for_backward(rows, gate_up, down, weights, first, active, weighted)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, gate_up, down, weights, first, active, weighted = ctx.saved_tensors
        layout: Layout = ctx.layout
        gate, up = first.chunk(2, 1)
        to_out = layout.rows_of(gradient.contiguous())  # of each row's output, before its weight
        to_down = layout.outer(to_out, weighted)
        to_hidden = layout.times(to_out, down)  # (rows, hidden_dim), before its weight
        to_first = torch.empty_like(first)
        to_gate, to_up = to_first.chunk(2, 1)
        torch.mul(to_hidden, active, out=to_up)
        to_weights = layout.slots_of((to_up * up).sum(1))
        torch.ops.aten.silu_backward.grad_input(to_hidden.mul_(up), gate, grad_input=to_gate)
        to_first.mul_(layout.weights_of(weights).to(to_first.dtype))
        to_gate_up = layout.outer(to_first, rows)
        to_rows = layout.summed(layout.times(to_first, gate_up))
        return to_rows, to_gate_up, to_down, to_weights.to(weights.dtype), None


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        ctx.save_for_backward(rows, weight)
        return layout.times(rows, weight.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        return ctx.layout.times(gradient, weight), ctx.layout.outer(gradient, rows), None


class _ToRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return layout.rows_of(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.layout.summed(gradient.contiguous()), None


class _ToTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return layout.summed(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layout: Layout = ctx.layout
        rows = layout.rows_of(gradient)
        return rows if layout.empty is None else rows.masked_fill_(layout.empty[:, None], 0.0), None


def _all_experts(hidden: Tensor, gate_up: Tensor, down: Tensor, expert_ids: Tensor, weights: Tensor) -> Tensor:
    """All experts on all tokens: more work, but only operators that every exported graph may hold."""
    first = torch.einsum("td,efd->etf", hidden, gate_up)  # (experts, tokens, 2 * hidden_dim)
    gate, up = first.chunk(2, 2)
    found = torch.einsum("etf,edf->etd", F.silu(gate) * up, down)
    chosen = F.one_hot(expert_ids, len(gate_up) + 1)[..., :-1].to(found.dtype)  # (tokens, slots, experts)
    return torch.einsum("etd,tse,ts->td", found, chosen, weights.to(found.dtype))


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As autocast would hand them to a linear layer: it does not know grouped products."""
    device_type = "cpu" if tensors[0].is_meta else tensors[0].device.type  # the meta device knows no autocast
    if not torch.is_autocast_enabled(device_type):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device_type)) for tensor in tensors)
