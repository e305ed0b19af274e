"""Predictions as Parquet: columns, padded rows, ranks merged in order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from moon_zoo.cli.predictions import merge_parts, to_table
from moon_zoo.errors import DataError


def test_padded_rows_are_dropped_and_index_comes_first() -> None:
    table = to_table(
        {"score": torch.tensor([0.5, 1.5, 0.5]), "name": ["a", "b", "a"]},
        torch.tensor([4, 5, 4]),
        torch.tensor([True, True, False]),
    )
    assert table.to_pydict() == {"index": [4, 5], "score": [0.5, 1.5], "name": ["a", "b"]}


def test_columns_that_already_hold_valid_rows_alone_are_kept() -> None:
    table = to_table({"x": torch.tensor([1, 2])}, torch.tensor([4, 5, 4]), torch.tensor([True, True, False]))
    assert table.to_pydict() == {"index": [4, 5], "x": [1, 2]}


def test_column_of_another_length_is_a_bug() -> None:
    with pytest.raises(ValueError, match="column 'x' has 4 rows for a batch of 3"):
        to_table({"x": torch.zeros(4)}, torch.arange(3), torch.tensor([True, True, False]))


def test_matrices_become_lists_of_fixed_size_and_bfloat16_becomes_float32() -> None:
    values = torch.arange(12, dtype=torch.bfloat16).reshape(2, 2, 3)
    table = to_table({"x": values}, None, None, {"x": "numbers"})
    assert table.schema.field("x").type == pa.list_(pa.list_(pa.float32(), 3), 2)
    assert table["x"].to_pylist() == values.float().tolist()
    assert table.schema.field("x").metadata == {b"description": b"numbers"}


def test_parts_of_ranks_are_merged_by_index_in_one_file(tmp_path: Path) -> None:
    """Two ranks with batches of two: rank 0 holds 0-1 and 4-5, rank 1 holds 2-3 and 6."""
    batches = {0: [[0, 1], [4, 5]], 1: [[2, 3], [6]]}
    parts = []
    for rank, held in batches.items():
        parts.append(tmp_path / f"part{rank}")
        tables = [pa.table({"index": rows, "x": [row * 10 for row in rows]}) for rows in held]
        with pq.ParquetWriter(parts[-1], tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
    count, columns = merge_parts(parts, tmp_path / "all.parquet")
    assert (count, columns) == (7, ["index", "x"])
    merged = pq.ParquetFile(tmp_path / "all.parquet")
    assert merged.read()["index"].to_pylist() == list(range(7))
    assert merged.num_row_groups == 4  # never more than a batch in memory
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_nothing_to_predict_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        merge_parts([], tmp_path / "all.parquet")
