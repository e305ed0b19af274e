"""Taobao-MM: display advertising clicks with lifelong behaviour sequences and content embeddings of items.

Source: Wu et al. 2025, "MUSE: A Simple Yet Effective Multimodal Search-Based Framework for Lifelong User Interest
Modeling", arXiv:2512.07216; https://taobao-mm.github.io, Apache-2.0. Columns are numbered; `COLUMNS` gives ours for
theirs. There are no times: rows are split as published, by user.

Two layouts are read: ``train/`` and ``test/`` with joined shards, row by row in bounded memory; and the tables that those
are made from (``train_samples``, ``train_user_features``, ``item_features``), whose users' features are then held in memory
(16 kB a user at full length), in which rows of one user share one history.

The embeddings (128 numbers as int8, to be divided by 127) stay where they are: a click model reads
``scl_embedding_int8_p90.parquet`` as its content table, and since it scales vectors to length 1, 1/127 needs no mention.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.schema import Categorical, Schema, Sequence
from moon_zoo.data.tables.logs import Log, find_files, ordered
from moon_zoo.data.tables.shaping import Shaper
from moon_zoo.data.wording import many
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.impression_columns import HISTORY, Features
from moon_zoo.sources.impression_rows import Columns, joined, note_shaping, read_logs, shaped
from moon_zoo.sources.time_splits import VAL, at_random

USER = {
    "user_id": "129_1",
    "user_130_1": "130_1",
    "user_130_2": "130_2",
    "user_130_3": "130_3",
    "user_130_4": "130_4",
    "user_130_5": "130_5",
}
ITEM = {"item_id": "205", "category": "206", "item_213": "213", "item_214": "214"}
LISTS = {f"{HISTORY}.item_id": "150_2_180", f"{HISTORY}.category": "151_2_180"}
LABEL = "label_0"
COLUMNS = {**USER, **ITEM, **LISTS, "click": LABEL}
"""Our name of each column to theirs. What 130_* (profile), 213 and 214 (of the item) mean is not published."""

PADDING = "0"

SCHEMA = Schema(
    categorical=(
        *(Categorical(name, "user", name) for name in USER),
        *(Categorical(name, "item", name) for name in ITEM),
    ),
    sequences=(Sequence(HISTORY, ("item_id", "category")),),
)


class TaobaoMMSource(Source):
    """Taobao-MM: display advertising clicks with behaviour sequences of up to 1,000 items.

    The path is the data set's folder: train/ and test/ with joined shards, or train_samples.parquet,
    train_user_features.parquet, the same of test, and item_features.parquet. Users of test are others than those of
    train, so a share of train's users serves for validation.

    Args:
        path: The folder.
        val_share: Share of the users of train, chosen by a hash of their id, whose rows are for validation.
        longest_history: Elements of a history at most, of which the newest are kept; 0 keeps all (1,000).
        max_rows: Rows of train and of test at most, the first ones; 0 takes all (76 and 23 millions).
        min_count: Default frequency cut of models: values in fewer training rows count as unknown.
        seed: Seed of the choice of users for validation.
    """

    summary: ClassVar[str] = "Taobao-MM: clicks with behaviour sequences and content embeddings"
    kind = "impressions"
    example: ClassVar[str] = "moon-zoo pack taobao_mm Taobao-MM --max-rows 1000000 --to shards/taobao_mm"

    licence = "Apache-2.0"
    description = (
        "Taobao-MM; Wu et al. 2025, MUSE: A Simple Yet Effective Multimodal Search-Based Framework for Lifelong User "
        "Interest Modeling, arXiv:2512.07216; https://taobao-mm.github.io"
    )

    def __init__(
        self,
        path: Path,
        *,
        val_share: float = 0.05,
        longest_history: int = 200,
        max_rows: int = 0,
        min_count: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for option, value, least in (
            ("--longest-history", longest_history, 0),
            ("--max-rows", max_rows, 0),
            ("--min-count", min_count, 1),
        ):
            if value < least:
                raise UsageError(f"{option} takes {least} or more, not {value}", change=option)
        if not 0 <= val_share < 1:
            raise UsageError(f"a share of {val_share:g} is not in 0 to 1 (1 left out)", change="--val-share")
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(f"{path} is no folder", change="path")
        self.val_share, self.max_rows, self.min_count, self.seed = val_share, max_rows, min_count, seed
        self.shaper = Shaper(padding=(PADDING,), longest=longest_history or None)
        self._apart = _find(self.path, "train_samples") is not None
        if self._apart:
            self.logs = {split: _log(self.path, f"{split}_samples") for split in ("train", "test")}
        else:
            files = {
                split: found for split, found in find_files(self.path).items() if split in ("train", "val", "test")
            }
            self.logs = {split: Log(found) for split, found in ordered(files)}
            for log in self.logs.values():
                log.check(dict.fromkeys(COLUMNS.values(), "the published layout"))

    def read(self) -> Iterator[Packed]:
        """Yield the rows of train, divided into train and val by user, and of test."""
        for split, log in self.logs.items():
            rows = self._apart_rows(split, log) if self._apart else self._joined_rows(split, log)
            left = self.max_rows or None
            for _, key, table in rows:
                table = table if left is None else table.slice(0, left)
                yield from self._divided(split, key, table)
                left = None if left is None else left - table.num_rows
                if left == 0:
                    break
        note_shaping(self, self.shaper)
        found = _find(self.path, "scl_embedding_int8_p90")
        if found is not None:
            self.notes.append(f"content embeddings: --model.embeddings {found} --model.modality 205_c")

    def _joined_rows(self, split: str, log: Log) -> Iterator[tuple[str, str, pa.Table]]:
        features = Features(SCHEMA, {name: column for name, column in COLUMNS.items() if name != "click"})
        for name, key, sample in read_logs({split: log}, features, self.shaper, _with_click, (LABEL,)):
            assert isinstance(sample, RawImpressions)
            yield name, key, pa.table(sample.rows)

    def _apart_rows(self, split: str, log: Log) -> Iterator[tuple[str, str, pa.Table]]:
        """Rows joined with their users' and items' features; rows of one user share a history."""
        users, user_columns = self._keyed(_log(self.path, f"{split}_user_features"), {**USER, **LISTS}, "user_id")
        items, item_columns = self._keyed(_log(self.path, "item_features"), ITEM, "item_id")
        number = 0
        for where, row, batch in log.batches([USER["user_id"], ITEM["item_id"], LABEL]):
            own: Columns = {
                name: self.shaper.names(batch.column(column), column, (where, row), needed=True)
                for name, column in (("user_id", USER["user_id"]), ("item_id", ITEM["item_id"]))
            }
            for name, keys, columns in (("user_id", users, user_columns), ("item_id", items, item_columns)):
                found, unknown = joined(own[name], keys, columns)
                if unknown:
                    raise DataError(
                        f"{many(unknown, 'row')} whose {name} is not in the table of its features",
                        where=f"{where}, rows {row:,} to {row + batch.num_rows - 1:,}",
                        change="the tables; they must be of one release",
                    )
                own |= {other: values for other, values in found.items() if other != name}
            yield split, f"rows-{number:010d}", pa.table(_with_click(own, batch))
            number += batch.num_rows

    def _keyed(self, log: Log, columns: dict[str, str], key: str) -> tuple[pa.Array, dict[str, pa.Array]]:
        """A whole table in memory: its keys, and its columns by our names."""
        log.check(dict.fromkeys(columns.values(), "the published layout"))
        parts: dict[str, list[pa.Array]] = {name: [] for name in columns}
        schema = Features(SCHEMA, columns)
        for where, row, batch in log.batches(list(columns.values())):
            for name, values in shaped(batch, schema, self.shaper, (where, row)).items():
                parts[name].append(values)
        whole = {name: pa.concat_arrays(arrays) for name, arrays in parts.items()}
        return whole[key], whole

    def _divided(self, split: str, key: str, table: pa.Table) -> Iterator[Packed]:
        if split != "train" or not self.val_share or "val" in self.logs:
            yield split, key, RawImpressions(SCHEMA, table)
            return
        users = table["user_id"].to_numpy().astype(np.int64).view(np.uint64)
        held_out = at_random(users, self.seed, 0.0, self.val_share) == VAL
        for name, mask in (("train", ~held_out), ("val", held_out)):
            if mask.any():
                yield name, key, RawImpressions(SCHEMA, table.take(pa.array(np.flatnonzero(mask))))


def _with_click(table: Columns, batch: pa.RecordBatch) -> Columns:
    """The label, which the tables hold as ``[not clicked, clicked]``, or as 0 and 1."""
    label = batch.column(LABEL)
    if pa.types.is_list(label.type) or pa.types.is_large_list(label.type) or pa.types.is_fixed_size_list(label.type):
        if not pc.all(pc.equal(pc.list_value_length(label), 2)).as_py():
            raise DataError(f"{LABEL} is not [not clicked, clicked] in every row", change="the tables")
        label = pc.list_element(label, 1)
    return table | {"click": label}


def _find(folder: Path, stem: str) -> Path | None:
    return next(
        (path for name in (f"{stem}.parquet", f"{stem}.full.parquet") if (path := folder / name).is_file()), None
    )


def _log(folder: Path, stem: str) -> Log:
    path = _find(folder, stem)
    if path is None:
        raise DataError(f"no {stem}.parquet in {folder}", change="path; it is the folder of the published tables")
    return Log([path])
