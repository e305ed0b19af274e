"""Which documents are positives of a query, when several may be: all of its group (photos of one product).

Group ids are int64, one per row. What a loss needs of the positives is linear in their similarities, so it is taken
from the *sum of their embeddings*: ``sum_p <q, d_p> = <q, sum_p d_p>``. That costs a sort and one addition per row,
and no matrix of pairs. Shapes depend on no value, so nothing waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Rows sorted by their group, to look groups up in.

    Args:
        ids: Distinct groups in the first places, in ascending order; sorted group of each row, ``(rows,)``.
        slots: Number of the group of each *sorted* row, ``(rows,)``.
        slot_of_row: Number of the group of each row in the original order, ``(rows,)``.
        valid: True on rows that count, in the original order; None for all.
    """

    ids: Tensor
    slots: Tensor
    slot_of_row: Tensor
    valid: Tensor | None

    @classmethod
    def of(cls, groups: Tensor, valid: Tensor | None = None) -> Groups:
        """Sort rows by group.

        Args:
            groups: int64 ``(rows,)``.
            valid: True on rows that count, ``(rows,)``.
        """
        ids, order = torch.sort(groups)
        first = torch.ones_like(ids)
        first[1:] = (ids[1:] != ids[:-1]).to(ids.dtype)
        slots = first.cumsum(0) - 1
        return cls(ids, slots, torch.empty_like(slots).scatter_(0, order, slots), valid)

    def sum_for(self, groups: Tensor, rows: Tensor) -> Tensor:
        """For each of ``groups`` the sum of the rows in it.

        Args:
            groups: int64 ``(queries,)``.
            rows: ``(rows, dim)`` in the original order; summed in float32 or wider.

        Returns:
            ``(queries, dim)``, zeros for a group without rows; differentiable in ``rows``.
        """
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if self.valid is not None:
            rows = torch.where(self.valid[:, None], rows, rows.new_zeros(()))
        slot, found = self._find(groups)
        # A group without rows reads the spare last row, which stays zero.
        table = rows.new_zeros(len(rows) + 1, rows.shape[1]).index_add_(0, self.slot_of_row, rows)
        return table[torch.where(found, slot, len(rows))]

    def count_for(self, groups: Tensor) -> Tensor:
        """For each of ``groups`` how many valid rows are in it, float32 ``(queries,)``."""
        ones = torch.ones_like(self.ids) if self.valid is None else self.valid.to(self.ids.dtype)
        counts = torch.zeros_like(self.ids).index_add_(0, self.slot_of_row, ones)
        slot, found = self._find(groups)
        return torch.where(found, counts[slot], counts.new_zeros(())).float()

    def _find(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.searchsorted(self.ids, groups.contiguous()).clamp_(max=len(self.ids) - 1)
        return self.slots[place], self.ids[place] == groups
