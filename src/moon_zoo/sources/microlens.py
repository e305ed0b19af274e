"""MicroLens-1M of the multimodal CTR challenge (MM-CTR, WWW 2025): clicks on short videos with content embeddings.

Source: Ni et al. 2023, "A Content-Driven Micro-Video Recommendation Dataset at Scale", arXiv:2309.15379; the challenge's
tables are at https://recsys.westlake.edu.cn/MicroLens_1M_MMCTR. ``train``, ``valid`` and ``test.parquet`` have user_id,
item_id, item_seq (the items clicked before, filled up with 0), likes_level, views_level and, but for test, label;
``item_info.parquet`` has item_id, item_tags (filled up with 0) and the embedding item_emb_d128.

The rows go into shards; the embeddings stay where they are, since a click model reads that file as its content table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moon_zoo.data.impressions.schema import Categorical, Schema, Sequence
from moon_zoo.data.tables.logs import Log, find_files, ordered
from moon_zoo.data.tables.shaping import UNNAMED, Shaper
from moon_zoo.data.wording import many
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.impression_columns import HISTORY, Features
from moon_zoo.sources.impression_rows import Columns, joined, note_shaping, read_logs

ITEM_INFO = "item_info.parquet"
EMBEDDING = "item_emb_d128"
PADDING = "0"


class MicroLensSource(Source):
    """MicroLens-1M of the MM-CTR challenge: train, valid and test.parquet with item_info.parquet.

    A row's features are the user, the item, its levels of likes and views and its tags (tag_1, tag_2, ... of one
    vocabulary); the history is item_seq. A test table without labels is left out: predict for it instead. The embeddings
    in item_info.parquet are read from there by a click model.

    Args:
        path: The folder with the Parquet files.
        item_info: The table of items, where it is not in the folder.
        longest_history: Elements of a history at most, of which the newest are kept; 0 keeps all.
        min_count: Default frequency cut of models: values in fewer training rows count as unknown.
    """

    summary: ClassVar[str] = "MicroLens-1M of the MM-CTR challenge"
    kind = "impressions"
    example: ClassVar[str] = "moon-zoo pack microlens MicroLens_1M_x1 --to shards/microlens"

    licence = "MicroLens terms of use: research"
    description = (
        "MicroLens-1M as of the MM-CTR challenge; Ni et al. 2023, A Content-Driven Micro-Video Recommendation Dataset at "
        "Scale, arXiv:2309.15379"
    )

    def __init__(
        self, path: Path, *, item_info: Path | None = None, longest_history: int = 200, min_count: int = 1
    ) -> None:
        super().__init__()
        if longest_history < 0 or min_count < 1:
            raise UsageError(
                f"a longest history of {longest_history} or a frequency cut of {min_count} is out of range",
                change="--longest-history or --min-count",
            )
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path} is no folder", change="path; it is the folder with train.parquet")
        self.logs = {split: Log(files) for split, files in ordered(find_files(path))}
        self.item_info = path / ITEM_INFO if item_info is None else item_info
        self._items, self._tags = _read_items(self.item_info)
        levels = tuple(
            name for name in ("likes_level", "views_level") if name in self.logs[next(iter(self.logs))].names
        )
        self.features = _features(levels, list(self._tags))
        wanted = dict.fromkeys(self.features.columns.values(), "the challenge's layout")
        for split in [split for split, log in self.logs.items() if "label" not in log.names and split != "train"]:
            self.notes.append(
                f"{split} has no labels and was left out; `moon-zoo predict` takes it once its item_seq is called "
                f"{HISTORY}.item_id"
            )
            del self.logs[split]
        for log in self.logs.values():
            log.check(wanted)
        self.shaper = Shaper(padding=(PADDING,), longest=longest_history or None)
        self.min_count = min_count
        self._strangers = 0

    def read(self) -> Iterator[Packed]:
        """Yield the rows of each split in the tables' order."""
        yield from read_logs(self.logs, self.features, self.shaper, self._with_tags if self._tags else None)
        note_shaping(self, self.shaper)
        if self._strangers:
            self.notes.append(
                f"{many(self._strangers, 'row')} of items that are not in {self.item_info.name}; their tags are unknown"
            )
        if self._tags or self.item_info.is_file():
            self.notes.append(f"content embeddings: --model.embeddings {self.item_info} --model.modality {EMBEDDING}")

    def _with_tags(self, table: Columns, batch: pa.RecordBatch) -> Columns:
        ids = batch.column(self.features.columns["item_id"]).cast(pa.int64())
        tags, unknown = joined(ids, self._items, self._tags)
        self._strangers += unknown
        return table | {name: pc.fill_null(values, UNNAMED) for name, values in tags.items()}


def _features(levels: tuple[str, ...], tags: list[str]) -> Features:
    names = ("item_id", *levels)
    schema = Schema(
        categorical=(
            Categorical("user_id", "user", "user_id"),
            *(Categorical(name, "item", name) for name in names),
            *(Categorical(name, "item", "tag") for name in tags),
        ),
        sequences=(Sequence(HISTORY, ("item_id",)),),
        label="label",
    )
    own = {name: name for name in ("user_id", *names, "label")}
    return Features(schema, own | {f"{HISTORY}.item_id": "item_seq"})


def _read_items(path: Path) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Item ids, and tag_1, tag_2, ... of each; none where there is no such table."""
    if not path.is_file():
        return pa.array([], pa.int64()), {}
    try:
        names = pq.read_schema(path).names
        if "item_id" not in names:
            raise DataError(f"{path.name} has no column item_id; it has {', '.join(names)}", where=str(path))
        if "item_tags" not in names:
            return pa.array([], pa.int64()), {}
        table = pq.read_table(path, columns=["item_id", "item_tags"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path), change="--item-info") from error
    ids = table["item_id"].combine_chunks().cast(pa.int64())
    tags = table["item_tags"].combine_chunks()
    lists = pc.cast(tags, pa.list_(pa.int64()))
    width = int(pc.max(pc.list_value_length(lists)).as_py() or 0)
    columns = {}
    for place in range(width):
        values = pc.list_element(pc.list_slice(lists, place, place + 1, return_fixed_size_list=True), 0).cast(
            pa.string()
        )
        columns[f"tag_{place + 1}"] = pc.if_else(pc.equal(values, PADDING), None, values)
    return ids, columns
