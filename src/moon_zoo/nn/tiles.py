"""Sums over a whole matrix of similarities of which only one tile exists at a time.

``S = scale * rows @ columns.T`` is what makes contrastive losses dear: at 12,288 rows it holds 604 MB, and a plain
loss keeps several matrices of that size for its backward. Here the loss visits S tile by tile and keeps the row and
column sums alone; the backward makes every tile a second time. That is one matrix product more than the plain formula
needs, and it still takes less time, since a tile never leaves the cache between the product, the exponential and the
sums. Rows *and* columns are summed in the same visit, so both directions of a symmetric loss cost one pass.

Memory beside inputs and gradients: one or two tiles of `TILE_SIDE` squared. The values are those of the plain formula
in float32 (float64 for float64 inputs); bf16 and fp16 inputs are widened before the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of a tile by device type: 4 MB suits a CPU's cache, 256 MB keeps an accelerator's cores busy."""

SAFE_EXPONENT = 64.0
"""``exp`` of +-64 and sums of a billion of them are ordinary float32 numbers: no maximum need be subtracted."""


@dataclass(frozen=True)
class Exclusions:
    """Which pairs count for nothing.

    Args:
        rows: True where a whole row counts, ``(rows,)``; None for all.
        columns: True where a whole column counts, ``(columns,)``; None for all.
        row_ids: int64 ``(rows,)``, with ``column_ids``: pairs of equal ids are left out. Or ``(rows, kinds)``: pairs of
            which any kind of id is equal.
        column_ids: int64 ``(columns,)`` or ``(columns, kinds)``.
        row_groups: int64 ``(rows,)``, with ``column_groups``: pairs of equal groups stay in whatever their ids and
            logits.
        column_groups: int64 ``(columns,)``.
        row_ceilings: ``(rows,)``; pairs of a larger logit are left out.
        column_ceilings: The same by column, ``(columns,)``.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    row_ids: Tensor | None = None
    column_ids: Tensor | None = None
    row_groups: Tensor | None = None
    column_groups: Tensor | None = None
    row_ceilings: Tensor | None = None
    column_ceilings: Tensor | None = None

    def fill_(self, tile: Tensor, rows: slice, columns: slice) -> Tensor:
        """Set the pairs left out to ``-inf``, in place, in the tile of these rows and columns."""
        if self.rows is not None:
            tile.masked_fill_(~self.rows[rows, None], float("-inf"))
        if self.columns is not None:
            tile.masked_fill_(~self.columns[None, columns], float("-inf"))
        out = self._left_out(tile, rows, columns)
        if out is not None:
            positive = self.same_group(rows, columns)
            tile.masked_fill_(out if positive is None else out & ~positive, float("-inf"))
        return tile

    def same_group(self, rows: slice, columns: slice) -> Tensor | None:
        """Which pairs of these rows and columns are of one group, bool; None without groups."""
        if self.row_groups is None or self.column_groups is None:
            return None
        return self.row_groups[rows, None] == self.column_groups[None, columns]

    def _left_out(self, tile: Tensor, rows: slice, columns: slice) -> Tensor | None:
        """Pairs left out for their ids or their logits, unless they are of one group."""
        out: Tensor | None = None
        if self.row_ids is not None and self.column_ids is not None:
            for row_ids, column_ids in zip(_kinds(self.row_ids), _kinds(self.column_ids), strict=True):
                out = _either(out, row_ids[rows, None] == column_ids[None, columns])
        if self.row_ceilings is not None:
            out = _either(out, tile > self.row_ceilings[rows, None])
        if self.column_ceilings is not None:
            out = _either(out, tile > self.column_ceilings[None, columns])
        return out


def tiled_logsumexp(
    rows: Tensor,
    columns: Tensor,
    scale: Tensor,
    exclusions: Exclusions | None = None,
    *,
    by_column: bool = False,
    tile: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Logarithms of the row sums, and if wanted the column sums, of ``exp(scale * rows @ columns.T)``.

    Args:
        rows: ``(rows, dim)``.
        columns: ``(columns, dim)``.
        scale: A scalar tensor.
        exclusions: Pairs left out of all sums.
        by_column: Whether column sums are wanted too.
        tile: Rows and columns per tile; None for the device's entry of `TILE_SIDE`.

    Returns:
        ``(rows,)`` and ``(columns,)``, ``-inf`` where nothing is summed; the second is empty unless wanted. Both have
        gradients to ``rows``, ``columns`` and ``scale``.
    """
    tile = tile_side(rows, tile)
    return _LogSumExp.apply(rows, columns, scale, exclusions or Exclusions(), by_column, tile)


def tiled_softplus_sum(
    rows: Tensor,
    columns: Tensor,
    scale: Tensor,
    bias: Tensor,
    exclusions: Exclusions | None = None,
    *,
    tile: int | None = None,
) -> Tensor:
    """Sum over all pairs of ``log(1 + exp(scale * rows @ columns.T + bias))``.

    A pair's gradient is the sigmoid of its logit and needs no sum over a row, so it is taken in the forward's own
    visit.

    Args:
        rows: ``(rows, dim)``.
        columns: ``(columns, dim)``.
        scale: A scalar tensor.
        bias: A scalar tensor.
        exclusions: Pairs left out.
        tile: As in `tiled_logsumexp`.

    Returns:
        A scalar with gradients to all four tensors.
    """
    tile = tile_side(rows, tile)
    return _SoftplusSum.apply(rows, columns, scale, bias, exclusions or Exclusions(), tile, torch.is_grad_enabled())


def tile_side(rows: Tensor, tile: int | None) -> int:
    """Rows and columns of a tile: as asked, or what suits the device of the rows."""
    side = TILE_SIDE.get(rows.device.type, TILE_SIDE["cuda"]) if tile is None else tile
    if side < 1:
        raise ValueError(f"a tile must have at least 1 row, not {side}")
    return side


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, scale: Tensor, exclusions: Exclusions, by_column: bool, tile: int
    ) -> tuple[Tensor, Tensor]:
        matrix = TiledMatrix(rows, columns, scale, exclusions, tile)
        # Asked on the CPU alone: elsewhere the answer would have to wait for the device.
        bounded = rows.device.type == "cpu" and matrix.bound() < SAFE_EXPONENT
        row_sums, column_sums = (_bounded_sums if bounded else _shifted_sums)(matrix, by_column)
        ctx.save_for_backward(rows, columns, scale, row_sums, column_sums)
        ctx.exclusions, ctx.by_column, ctx.tile, ctx.bounded = exclusions, by_column, tile, bounded
        ctx.set_materialize_grads(False)
        return row_sums, column_sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, row_gradient: Tensor | None, column_gradient: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        rows, columns, scale, row_sums, column_sums = ctx.saved_tensors
        matrix = TiledMatrix(rows, columns, scale, ctx.exclusions, ctx.tile)
        along_rows = LogSumGradient.of(row_gradient, row_sums)
        along_columns = LogSumGradient.of(column_gradient if ctx.by_column else None, column_sums)
        wanted = ctx.needs_input_grad
        gradients = TiledGradients(matrix, wanted[0] or wanted[2], wanted[1])
        for tile, row_slice, column_slice in matrix.tiles():
            by_row, by_column = (row_slice, None), (None, column_slice)
            if ctx.bounded:
                tile.exp_()
                weight = _sum(
                    None if along_rows is None else along_rows.factor[by_row],
                    None if along_columns is None else along_columns.factor[by_column],
                )
                share = None if weight is None else tile.mul_(weight)
            else:
                share = _sum(
                    None if along_rows is None else along_rows.share(tile, by_row),
                    None if along_columns is None else along_columns.share(tile, by_column),
                )
            if share is not None:
                gradients.add(share, row_slice, column_slice)
        return *gradients.results(rows, columns, scale, wanted), None, None, None


def _bounded_sums(matrix: TiledMatrix, by_column: bool) -> tuple[Tensor, Tensor]:
    """One exponential per pair serves rows and columns: every logit is known to lie within `SAFE_EXPONENT`."""
    row_sums = matrix.rows.new_zeros(len(matrix.rows))
    column_sums = matrix.rows.new_zeros(len(matrix.columns) if by_column else 0)
    for tile, row_slice, column_slice in matrix.tiles():
        tile.exp_()
        row_sums[row_slice] += tile.sum(1)
        if by_column:
            column_sums[column_slice] += tile.sum(0)
    return row_sums.log_(), column_sums.log_()


def _shifted_sums(matrix: TiledMatrix, by_column: bool) -> tuple[Tensor, Tensor]:
    """Every row and column is shifted by its own maximum in the tile: safe for logits of any size."""
    row_sums = matrix.rows.new_full((len(matrix.rows),), float("-inf"))
    column_sums = matrix.rows.new_full((len(matrix.columns) if by_column else 0,), float("-inf"))
    for tile, row_slice, column_slice in matrix.tiles():
        row_sums[row_slice] = torch.logaddexp(row_sums[row_slice], tile.logsumexp(1))
        if by_column:
            column_sums[column_slice] = torch.logaddexp(column_sums[column_slice], tile.logsumexp(0))
    return row_sums, column_sums


class LogSumGradient:
    """Gradient of log-sums along one axis: the softmax, weighted by what comes from above."""

    def __init__(self, gradient: Tensor, log_sums: Tensor) -> None:
        # Where nothing is summed there is no gradient; 0 stands for its -inf so that no NaN arises.
        summed, zero = log_sums.isfinite(), log_sums.new_zeros(())
        self.log_sums = torch.where(summed, log_sums, zero)
        self.gradient = torch.where(summed, gradient.to(log_sums.dtype), zero)
        self.factor = self.gradient * self.log_sums.neg().exp()

    @classmethod
    def of(cls, gradient: Tensor | None, log_sums: Tensor) -> LogSumGradient | None:
        """For this gradient of the log-sums, if there is any."""
        return None if gradient is None else cls(gradient, log_sums)

    def share(self, tile: Tensor, axis: Any) -> Tensor:
        """Gradient of a tile's logits; ``axis`` indexes the log-sums so that they lie along the tile."""
        return (tile - self.log_sums[axis]).exp_().mul_(self.gradient[axis])


class _SoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        columns: Tensor,
        scale: Tensor,
        bias: Tensor,
        exclusions: Exclusions,
        tile: int,
        with_gradient: bool,
    ) -> Tensor:
        matrix = TiledMatrix(rows, columns, scale, exclusions, tile, bias)
        wanted = tuple(with_gradient and need for need in ctx.needs_input_grad)
        gradients = TiledGradients(matrix, wanted[0] or wanted[2], wanted[1])
        sums = matrix.rows.new_zeros(len(matrix.rows))
        bias_gradient = matrix.rows.new_zeros(len(matrix.rows))
        for logits, row_slice, column_slice in matrix.tiles():
            sums[row_slice] += F.softplus(logits).sum(1)
            if any(wanted):
                share = logits.sigmoid_()
                bias_gradient[row_slice] += share.sum(1)
                gradients.add(share, row_slice, column_slice)
        found = gradients.results(rows, columns, scale, wanted)
        ctx.save_for_backward(*found, bias_gradient.sum().to(bias.dtype) if wanted[3] else None)
        return sums.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # Out of place: with retain_graph this may run again.
        return *(None if saved is None else saved * gradient for saved in ctx.saved_tensors), None, None, None


class TiledMatrix:
    """``scale * rows @ columns.T + bias`` as a sequence of tiles in one buffer."""

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        scale: Tensor,
        exclusions: Exclusions,
        side: int,
        bias: Tensor | None = None,
    ) -> None:
        dtype = torch.promote_types(torch.promote_types(rows.dtype, columns.dtype), torch.float32)
        self.rows, self.columns = rows.to(dtype), columns.to(dtype)
        self.scale = scale.to(dtype)
        self.bias = None if bias is None else bias.to(dtype)
        self.exclusions, self.side = exclusions, side

    def bound(self) -> float:
        """No logit is larger in size."""
        if len(self.rows) == 0 or len(self.columns) == 0:
            return 0.0
        lengths = self.rows.square().sum(1).max() * self.columns.square().sum(1).max()
        return float(self.scale.abs() * lengths.sqrt())

    def tiles(self) -> Iterator[tuple[Tensor, slice, slice]]:
        """Every tile with its slices of rows and columns; it may be changed in place, and the next overwrites it."""
        side = self.side
        buffer = self.rows.new_empty(min(side, len(self.rows)) * min(side, len(self.columns)))
        for row_slice in _slices(len(self.rows), side):
            with _exact(self.rows):
                scaled = self.rows[row_slice] * self.scale
            for column_slice in _slices(len(self.columns), side):
                columns = self.columns[column_slice]
                tile = buffer[: len(scaled) * len(columns)].view(len(scaled), len(columns))
                with _exact(self.rows):
                    torch.mm(scaled, columns.T, out=tile)
                if self.bias is not None:
                    tile.add_(self.bias)
                yield self.exclusions.fill_(tile, row_slice, column_slice), row_slice, column_slice


class TiledGradients:
    """Sums up the gradient of rows and columns from the gradient of tiles."""

    def __init__(self, matrix: TiledMatrix, for_rows: bool, for_columns: bool) -> None:
        self.matrix = matrix
        self.rows = torch.zeros_like(matrix.rows) if for_rows else None
        self.columns = torch.zeros_like(matrix.columns) if for_columns else None

    def add(self, tile: Tensor, row_slice: slice, column_slice: slice) -> None:
        """Take in the gradient of one tile's logits."""
        with _exact(tile):
            if self.rows is not None:
                self.rows[row_slice].addmm_(tile, self.matrix.columns[column_slice])
            if self.columns is not None:
                self.columns[column_slice].addmm_(tile.T, self.matrix.rows[row_slice])

    def results(
        self, rows: Tensor, columns: Tensor, scale: Tensor, wanted: tuple[bool, ...]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of rows, columns and scale, in their dtypes."""
        of_scale = None
        if wanted[2] and self.rows is not None:
            # sum_ij g_ij <row_i, column_j>, with the sum over j already in the rows' gradient.
            of_scale = torch.linalg.vecdot(self.rows, self.matrix.rows).sum().to(scale.dtype)
        of_rows = self.rows.mul_(self.matrix.scale).to(rows.dtype) if wanted[0] and self.rows is not None else None
        of_columns = self.columns.mul_(self.matrix.scale).to(columns.dtype) if self.columns is not None else None
        return of_rows, of_columns, of_scale


def _slices(length: int, side: int) -> Iterator[slice]:
    for start in range(0, length, side):
        yield slice(start, min(start + side, length))


def _kinds(ids: Tensor) -> tuple[Tensor, ...]:
    return (ids,) if ids.ndim == 1 else ids.unbind(1)


def _either(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else first | second


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _exact(tensor: Tensor) -> AbstractContextManager[Any]:
    """Outside autocast, which would round the products to bf16."""
    kind = tensor.device.type
    return torch.autocast(
        "cpu" if kind == "meta" else kind, enabled=False
    )  # meta tensors have no autocast of their own
