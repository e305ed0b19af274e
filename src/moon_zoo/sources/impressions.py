"""A click log of your own as a source: a table with a row per impression, as CSV, JSON lines or Parquet.

The table is read in one pass and in bounded memory, except where rows must be looked at together: a split by time, and
histories made from clicks, take a first pass that keeps 16 to 30 bytes per row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.split_names import SPLIT_NAMES
from moon_zoo.data.tables.logs import Log, find_files, listed, ordered, pairs
from moon_zoo.data.tables.shaping import Shaper
from moon_zoo.data.wording import first_few, many
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.history_lists import Histories
from moon_zoo.sources.impression_columns import HISTORY, Declared, Features, guess, leftover
from moon_zoo.sources.impression_rows import note_shaping, shaped
from moon_zoo.sources.time_splits import SPLITS, TRAIN, at_random, by_time, by_user, check_shares

SPLIT_BY = ("user_time", "time", "random")


class ImpressionsSource(Source):
    """A table of impressions: who was shown what, and whether it was clicked; CSV, TSV, JSON lines or Parquet.

    One row is one impression. The path is a table, or a folder with tables named after splits (train.csv, val.csv,
    test.csv, or folders of them). A table that is not split yet is split by time where it has times. Features are
    categorical (names or ids) unless they are listed in numeric.

    Args:
        path: The table (.csv, .tsv, .jsonl, each also with .gz, or .parquet), or a folder of tables named after splits.
        user: Column of users; found by itself where it is called user_id, userid, user or uid.
        item: Column of items; found by itself where it is called item_id, item, product_id or the like.
        label: Column of clicks, 0 or 1; found by itself where it is called click, label, clicked or clk.
        label_threshold: Lowest value of the label's column that is a click, such as 4 of ratings from 1 to 5.
        time: Column of times, whole numbers or timestamps; found by itself where it is called timestamp or time and is no
            feature. Empty ("") where there is none.
        query: Column of what was asked for, where impressions answer searches.
        user_features: Columns that tell about the user, such as age,city.
        item_features: Columns that tell about the item, such as category,brand,price.
        query_features: Columns that tell about the query.
        context_features: Columns that tell about the circumstances, such as hour,device.
        numeric: Those columns that hold numbers, such as price; an empty cell is a missing number.
        truth: Columns of numbers that no model may see, such as a simulated click probability.
        shared: Features that have the same values as another, such as query_item_id=item_id.
        history: Columns of lists, oldest first, and the features that they hold earlier values of, such as
            item_id=clicked_items,category=clicked_categories; a column alone holds items. Another sequence is
            queries.item_id=asked_items. Columns called history.item_id are found by themselves.
        history_from_clicks: Make histories from the table: each row's user's earlier clicks, by time.
        history_features: Features of the clicked items that such histories hold beside the items, such as category.
        history_separator: What separates the elements of a list in a cell; ^, |, ;, comma or space, found by itself.
        history_padding: Elements of lists that stand for nothing, such as 0.
        longest_history: Elements of a history at most, of which the newest are kept; 0 keeps all.
        split_column: Column with each row's split; a column named split is found by itself.
        split_by: user_time (each user's newest rows for testing), time (the newest rows of all) or random (row by row);
            by default user_time where there are times, else random.
        test_share: Share of the rows for testing.
        val_share: Share of the rows for validation.
        min_count: Default frequency cut of models: values in fewer training rows count as unknown.
        seed: Seed of a random split.
        encoding: Text encoding of the table.
        delimiter: What separates the cells of a CSV; found from the header by default.
        licence: Licence of the data, kept in the manifest.
    """

    summary: ClassVar[str] = "a table of impressions and clicks: CSV, JSON lines or Parquet"
    kind = "impressions"
    example: ClassVar[str] = (
        "moon-zoo pack impressions clicks.csv --item-features category,price --numeric price --history-from-clicks "
        "--to shards/clicks"
    )

    def __init__(
        self,
        path: Path,
        *,
        user: str | None = None,
        item: str | None = None,
        label: str | None = None,
        label_threshold: float | None = None,
        time: str | None = None,
        query: str | None = None,
        user_features: str = "",
        item_features: str = "",
        query_features: str = "",
        context_features: str = "",
        numeric: str = "",
        truth: str = "",
        shared: str = "",
        history: str = "",
        history_from_clicks: bool = False,
        history_features: str = "",
        history_separator: str | None = None,
        history_padding: str = "",
        longest_history: int = 200,
        split_column: str | None = None,
        split_by: str | None = None,
        test_share: float = 0.2,
        val_share: float = 0.1,
        min_count: int = 1,
        seed: int = 0,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        licence: str = "not stated",
    ) -> None:
        super().__init__()
        path = Path(path)
        _check(split_by, split_column, history, history_from_clicks, history_features, longest_history, min_count)
        check_shares(test_share, val_share)
        files = find_files(path)
        self.logs = {split: Log(found, encoding=encoding, delimiter=delimiter) for split, found in ordered(files)}
        first = next(iter(self.logs.values()))
        declared = Declared(
            user=user,
            item=item,
            label=label,
            time=time,
            query=query,
            features={
                "user": listed(user_features, "--user-features"),
                "item": listed(item_features, "--item-features"),
                "query": listed(query_features, "--query-features"),
                "context": listed(context_features, "--context-features"),
            },
            numeric=listed(numeric, "--numeric"),
            truth=listed(truth, "--truth"),
            history=pairs(history, "--history", "item_id=clicked_items"),
            shared=pairs(shared, "--shared", "query_item_id=item_id"),
            ratings=label_threshold is not None,
        )
        derived = listed(history_features, "--history-features") if history_from_clicks else None
        self.features = declared.resolve(first.names, derived)
        self.derived = history_from_clicks
        self.split_column = None if "" not in self.logs else split_column or guess("split", first.names)
        if "" not in self.logs and (split_by or split_column):
            raise UsageError(
                f"{path} is split already, into {', '.join(self.logs)}", change="--split-by or --split-column"
            )
        self.split_by = split_by
        for log in self.logs.values():
            log.check({column: _option(name, self.features) for name, column in self.features.columns.items()})
            if self.split_column is not None:
                log.check({self.split_column: "--split-column"})
        self.shares, self.seed, self.min_count = (test_share, val_share), seed, min_count
        self.longest = longest_history or None
        padding = tuple(one.strip() for one in history_padding.split(",") if one.strip())
        self.shaper = Shaper(
            threshold=label_threshold, separator=history_separator, padding=padding, longest=self.longest
        )
        self.licence = licence
        self.description = f"the table {path.name}"

    def read(self) -> Iterator[Packed]:
        """Yield the rows in the table's order, some thousands at a time."""
        plan = self._first_look()
        columns = [*self.features.columns.values(), *([self.split_column] if self.split_column else [])]
        number = 0
        for split, log in self.logs.items():
            for where, row, batch in log.batches(columns):
                table = shaped(batch, self.features, self.shaper, (where, row))
                rows = np.arange(number, number + batch.num_rows)
                number += batch.num_rows
                if plan.histories is not None:
                    table |= plan.histories.lists(rows, plan.fields)
                for name, some in self._sides(split, batch, rows, plan, (where, row)):
                    part = pa.table(table) if some is None else pa.table(table).filter(pa.array(some))
                    if part.num_rows:
                        yield name, f"rows-{rows[0]:010d}", RawImpressions(self.features.schema, part)
        self._note(next(iter(self.logs.values())).names)

    def _sides(
        self, split: str, batch: pa.RecordBatch, rows: np.ndarray, plan: _Plan, where: tuple[str, int]
    ) -> Iterator[tuple[str, np.ndarray | None]]:
        """Splits and masks of the rows that go into each; None where all of them do."""
        if split:
            yield split, None
        elif self.split_column is not None:
            cells = self.shaper.names(batch.column(self.split_column), self.split_column, where, needed=True)
            coded = cells.dictionary_encode()
            places = coded.indices.to_numpy(zero_copy_only=False)
            for place, text in enumerate(coded.dictionary.cast(pa.string()).to_pylist()):
                yield SPLIT_NAMES.get(text.lower(), text), places == place
        else:
            sides = plan.sides[rows] if plan.sides is not None else at_random(rows, self.seed, *self.shares)
            for side, name in enumerate(SPLITS):
                yield name, sides == side

    def _first_look(self) -> _Plan:
        """What can only be said from all rows together: who belongs where, and what each had clicked before."""
        schema, columns = self.features.schema, self.features.columns
        by = None if "" not in self.logs or self.split_column else self.split_by
        if by is None and "" in self.logs and not self.split_column:
            by = "random" if schema.time is None else "user_time"
        if schema.time is None and (self.derived or by in ("user_time", "time")):
            raise UsageError(
                "nothing is known of the order of rows: no column is called timestamp or time",
                where=next(iter(self.logs.values())).where,
                change="--time COLUMN" + ("" if self.derived else ", or --split-by random"),
            )
        if not self.derived and by in (None, "random"):
            return _Plan()
        wanted = [schema.user, schema.time, *((schema.label, *schema.sequences[0].fields) if self.derived else ())]
        gathered: dict[str, list[np.ndarray | pa.Array]] = {str(name): [] for name in wanted}
        for log in self.logs.values():
            for where, row, batch in log.batches([columns[str(name)] for name in wanted]):
                table = shaped(batch, self.features, self.shaper, (where, row), only=gathered)
                for name, parts in gathered.items():
                    parts.append(_coded(table[name]) if name not in (schema.time, schema.label) else table[name])
        self.shaper.filled.clear()  # the second pass counts them again
        codes = {name: _joined(parts) for name, parts in gathered.items() if name not in (schema.time, schema.label)}
        times = np.concatenate([np.asarray(part) for part in gathered[str(schema.time)]] or [np.empty(0, np.int64)])
        users = codes[schema.user][1]
        self._note_order(users, times)
        cut = {"user_time": by_user, "time": lambda _, *rest: by_time(*rest)}.get(by or "")
        sides = None if cut is None else cut(users, times, *self.shares)
        if sides is not None and len(sides) and not (sides == TRAIN).any():
            raise DataError("no row is left to train on", change="--test-share or --val-share")
        if not self.derived:
            return _Plan(sides)
        labels = np.concatenate([np.asarray(part) for part in gathered[schema.label]])
        fields = {f"{HISTORY}.{name}": codes[name] for name in schema.sequences[0].fields}
        return _Plan(sides, Histories.of(users, times, labels, self.longest), fields)

    def _note_order(self, users: np.ndarray, times: np.ndarray) -> None:
        order = np.argsort(users, kind="stable")
        falls = (np.diff(times[order]) < 0) & (np.diff(users[order]) == 0)
        if falls.any():
            self.notes.append(
                f"times are not sorted ({many(int(falls.sum()), 'row')} after a later one of the same user); splits and "
                "histories go by time, whatever the order of the rows"
            )

    def _note(self, names: list[str]) -> None:
        schema, columns = self.features.schema, self.features.columns
        unused = leftover(self.features, names, [self.split_column])
        if unused:
            self.notes.append(f"columns that are no feature, and were left out: {first_few(unused, 8)}")
        renamed = [f"{column} as {name}" for name, column in columns.items() if name != column]
        if renamed:
            self.notes.append(
                f"columns have these names in the shards, and in tables to predict for: {', '.join(renamed)}"
            )
        note_shaping(self, self.shaper)
        if schema.sequences and self.derived:
            self.notes.append(f"histories are made from clicks, at most {self.longest or 'any number of'} of each user")


class _Plan:
    """What the first look found.

    Args:
        sides: Split of every row, None where it needs no look.
        histories: None where the table has its own.
        fields: Column of the histories to distinct values, and the place of every row's in them.
    """

    def __init__(
        self,
        sides: np.ndarray | None = None,
        histories: Histories | None = None,
        fields: dict[str, tuple[pa.Array, np.ndarray]] | None = None,
    ) -> None:
        self.sides = sides
        self.histories = histories
        self.fields = fields or {}


def _coded(values: pa.Array) -> pa.Array:
    coded = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices, coded.dictionary.cast(pa.string()))


def _joined(parts: list[pa.Array]) -> tuple[pa.Array, np.ndarray]:
    """Distinct texts of all parts, and the place in them of every value."""
    if not parts:
        return pa.array([], pa.string()), np.empty(0, dtype=np.int64)
    whole = pa.chunked_array(parts).unify_dictionaries()
    places = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in whole.chunks])
    return whole.chunks[-1].dictionary, places


def _option(name: str, features: Features) -> str:
    """The option that declares a column of the schema, for messages."""
    schema = features.schema
    known = {schema.user: "--user", schema.item: "--item", schema.label: "--label", schema.time: "--time"}
    if name in known:
        return known[name]
    if name == schema.query:
        return "--query"
    if name in schema.truth:
        return "--truth"
    roles = {one.name: one.role for one in schema.categorical} | {one.name: one.role for one in schema.numeric}
    return f"--{roles[name]}-features" if name in roles else "--history"


def _check(
    split_by: str | None,
    split_column: str | None,
    history: str,
    history_from_clicks: bool,
    history_features: str,
    longest_history: int,
    min_count: int,
) -> None:
    if split_by is not None and split_by not in SPLIT_BY:
        raise UsageError(
            f"{split_by!r} is no way to split; there are {', '.join(SPLIT_BY)}",
            suggestions=did_you_mean(split_by, SPLIT_BY),
            change="--split-by",
        )
    if split_by is not None and split_column is not None:
        raise UsageError("splits come from a column or from shares", change="--split-column or --split-by")
    if history and history_from_clicks:
        raise UsageError("histories are given or made from clicks", change="--history or --history-from-clicks")
    if history_features and not history_from_clicks:
        raise UsageError("--history-features are of histories made from clicks", change="add --history-from-clicks")
    if longest_history < 0:
        raise UsageError(f"a history of {longest_history} is none", change="--longest-history")
    if min_count < 1:
        raise UsageError(f"a frequency cut of {min_count} is less than 1", change="--min-count")
