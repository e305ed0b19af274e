"""Predictions as Parquet: one row group per batch, so that memory does not grow with the set; ranks are merged in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from moon_zoo.errors import DataError


class WritePredictions(BasePredictionWriter):
    """Writes what `predict_step` returns, without the rows that only pad the last batch.

    Args:
        folder: The run's folder, for the file's default place.
        output: The file to write instead of ``predictions.parquet`` there.
    """

    def __init__(self, folder: Path, output: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.path = Path(output) if output is not None else folder / "predictions.parquet"
        self.rows = 0
        self.columns: list[str] = []
        self._writer: pq.ParquetWriter | None = None
        self._rank = 0

    def _part(self, rank: int) -> Path:
        return self.path.with_name(f".{self.path.name}.{rank}.partial")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the rank; a part file of an earlier, broken run is overwritten."""
        self._rank = trainer.global_rank
        self._meanings = dict(getattr(pl_module, "predict_columns", dict)())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._part(self._rank).unlink(missing_ok=True)

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Append one batch."""
        index = batch.get("index")
        named = _keys(trainer, index) | dict(prediction)
        table = to_table(named, index, batch.get("valid"), self._meanings)
        if table.num_rows == 0:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._part(self._rank), table.schema, compression="zstd")
        self._writer.write_table(table)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close this rank's part; the first rank merges them."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        trainer.strategy.barrier("predictions")
        if trainer.is_global_zero:
            parts = [self._part(rank) for rank in range(trainer.world_size)]
            self.rows, self.columns = merge_parts([part for part in parts if part.exists()], self.path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no half-written part behind."""
        if self._writer is not None:
            self._writer.close()
        self._part(self._rank).unlink(missing_ok=True)


def _keys(trainer: Trainer, index: Tensor | None) -> dict[str, list[str]]:
    """A column with the samples' keys in their shards; none for streamed sets, which have no positions."""
    datamodule = getattr(trainer, "datamodule", None)
    if datamodule is None or index is None or bool((index < 0).any()):
        return {}
    shards = datamodule.shards("predict")
    return {"key": [shards.locate(position)[1] for position in index.tolist()]}


def to_table(
    prediction: dict[str, Any], index: Tensor | None, valid: Tensor | None, meanings: dict[str, str] | None = None
) -> pa.Table:
    """One batch's columns as a table, ``index`` first, padded rows dropped.

    Args:
        prediction: Column name to a tensor ``(rows, ...)`` or a list; ``rows`` is the batch's size, or already its valid rows.
        index: Positions of the samples, ``(batch,)``.
        valid: Bool, False on rows that pad the last batch, ``(batch,)``.
        meanings: Column name to its description, kept in the file's schema.
    """
    columns = dict(prediction)
    if index is not None and "index" not in columns:
        columns = {"index": index, **columns}
    arrays = {name: _array(_keep(name, values, valid)) for name, values in columns.items()}
    fields = [
        pa.field(name, array.type, metadata={"description": meanings[name]} if meanings and name in meanings else None)
        for name, array in arrays.items()
    ]
    return pa.table(list(arrays.values()), schema=pa.schema(fields))


def _keep(name: str, values: Any, valid: Tensor | None) -> Any:
    if valid is None or len(values) == int(valid.sum()):
        return values
    if len(values) != len(valid):
        raise ValueError(f"predict_step's column {name!r} has {len(values)} rows for a batch of {len(valid)}")
    if isinstance(values, Tensor):
        return values[valid.to(values.device)]
    return [value for value, kept in zip(values, valid.tolist(), strict=True) if kept]


def _array(values: Any) -> pa.Array:
    if not isinstance(values, Tensor):
        return pa.array(values)
    values = values.detach().cpu()
    if values.dtype == torch.bfloat16:  # Parquet and numpy have none
        values = values.float()
    flat = pa.array(values.contiguous().reshape(-1).numpy())
    for size in reversed(values.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def merge_parts(parts: Sequence[Path], target: Path) -> tuple[int, list[str]]:
    """The ranks' files as one, row groups in the order of their first ``index``; the parts are removed.

    Returns:
        How many rows there are, and the columns' names.

    Raises:
        DataError: There is nothing to merge: the set predicted was empty.
    """
    if not parts:
        raise DataError("there was nothing to predict", change="data.init_args.predict to shards that hold samples")
    if len(parts) == 1:
        schema = pq.read_schema(parts[0])
        rows = pq.read_metadata(parts[0]).num_rows
        parts[0].replace(target)
        return rows, schema.names
    files = [pq.ParquetFile(part) for part in parts]
    order = sorted(
        (file.read_row_group(group, columns=["index"])["index"][0].as_py(), number, group)
        for number, file in enumerate(files)
        for group in range(file.num_row_groups)
    )
    merged = target.with_name(f".{target.name}.merged.partial")
    with pq.ParquetWriter(merged, files[0].schema_arrow, compression="zstd") as writer:
        for _, number, group in order:
            writer.write_table(files[number].read_row_group(group))
        rows = sum(file.metadata.num_rows for file in files)
    merged.replace(target)
    for file, part in zip(files, parts, strict=True):
        file.close()
        part.unlink()
    return rows, files[0].schema_arrow.names
