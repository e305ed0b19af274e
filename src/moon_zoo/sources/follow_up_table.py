"""A table of questions, answers and follow-ups of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.tables.rows import Cell, open_table
from moon_zoo.data.wording import first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.keys import key_of
from moon_zoo.sources.splits import assign, parse_fractions, shuffled

DEFAULT_FRACTIONS: Final = "train=.8,val=.1,test=.1"
GIVEN: Final = "table"
"""Source of knowledge that a table holds."""


class FollowUpTableSource(Source):
    """A CSV, TSV, JSON lines or Parquet table of your own: a row is a question, its answer, and what was asked next.

    Rows with the same question fall into one split. Rows without a question and an answer, or without a follow-up, are left
    out and counted.

    Args:
        path: The table: .csv, .tsv, .jsonl (each also with .gz) or .parquet.
        question: Column of questions.
        answer: Column of answers.
        follow_up: Column of what was asked next.
        id: Column of identities; rows are numbered without one.
        knowledge: Column of texts from outside, if there is one.
        concept: Column with the title of what the knowledge is about.
        split_column: Column with each row's split; a column named split is found by itself.
        fractions: Splits and their fractions, used where there is no split column; train=.8,val=.1,test=.1 by default.
        seed: Seed of the split and of the order of samples.
        encoding: Text encoding of the table.
        delimiter: What separates the cells of a CSV; found from the header by default.
        licence: Licence of the data, kept in the manifest.
    """

    summary = "a table of questions, answers and follow-ups of your own"
    kind = "follow_up"
    example = (
        "moon-zoo pack follow_up_table talks.csv --question asked --answer told --follow-up next --to shards/talks"
    )

    def __init__(
        self,
        path: Path,
        *,
        question: str = "question",
        answer: str = "answer",
        follow_up: str = "follow_up",
        id: str | None = None,
        knowledge: str | None = None,
        concept: str | None = None,
        split_column: str | None = None,
        fractions: str | None = None,
        seed: int = 0,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        licence: str = "not stated",
    ) -> None:
        super().__init__()
        if split_column is not None and fractions is not None:
            raise UsageError("splits come from a column or from fractions", change="--split-column or --fractions")
        if concept is not None and knowledge is None:
            raise UsageError("a concept is what knowledge is about, and no knowledge is named", change="--knowledge")
        self.fractions = parse_fractions(DEFAULT_FRACTIONS if fractions is None else fractions)
        self.table = open_table(Path(path), encoding=encoding, delimiter=delimiter)
        if split_column is None and "split" in self.table.columns:
            split_column = "split"
        named = {
            "question": question,
            "answer": answer,
            "follow_up": follow_up,
            "id": id,
            "knowledge": knowledge,
            "concept": concept,
            "split_column": split_column,
        }
        self.columns = {field: column for field, column in named.items() if column is not None}
        missing = {field: column for field, column in self.columns.items() if column not in self.table.columns}
        if missing:
            field, column = next(iter(missing.items()))
            raise DataError(
                f"{self.table.path.name} has no column {' and none '.join(repr(one) for one in missing.values())}; it has: "
                f"{', '.join(self.table.columns)}",
                suggestions=did_you_mean(column, self.table.columns),
                change=f"--{field.replace('_', '-')} COLUMN",
            )
        self.seed, self.licence = seed, licence
        self.description = self.table.path.name

    def read(self) -> Iterator[Packed]:
        """Yield every row that can be used, in a seeded order."""
        rows: dict[str, tuple[FollowUp, str]] = {}
        twice: list[str] = []
        names = list(self.columns)
        for number, cells in self.table.rows(list(self.columns.values())):
            where = self.table.where(number)
            given = {name: _text(cell, self.columns[name], where) for name, cell in zip(names, cells, strict=True)}
            if not given["question"] or not given["answer"] or not given["follow_up"]:
                self.skipped["row without a question, an answer or a follow-up"] += 1
                continue
            identity = given.get("id") or f"{number:06d}"
            if identity in rows:
                twice.append(f"{identity} ({where})")
                continue
            known = None
            if "knowledge" in given:
                known = Knowledge(given["knowledge"], given.get("concept", ""), GIVEN, {"table": self.table.path.name})
            sample = FollowUp(identity, given["question"], given["answer"], given["follow_up"], known)
            rows[identity] = sample, given.get("split_column", "")
        if twice:
            raise DataError(f"identities that are there twice: {first_few(twice)}", change="--id")
        self.total = len(rows)
        splits = self._splits(rows)
        for identity in shuffled(rows, self.seed):
            yield splits[identity], key_of(identity), rows[identity][0]

    def _splits(self, rows: dict[str, tuple[FollowUp, str]]) -> dict[str, str]:
        if "split_column" in self.columns:
            unnamed = [identity for identity, (_, split) in rows.items() if not split.replace("-", "_").isidentifier()]
            if unnamed:
                raise DataError(
                    f"rows whose split is no name: {first_few(unnamed)}", change="--split-column, or those cells"
                )
            return {identity: split for identity, (_, split) in rows.items()}
        questions = {identity: sample.question for identity, (sample, _) in rows.items()}
        if not questions:
            return {}
        dealt = assign(questions.values(), self.fractions, self.seed)
        return {identity: dealt[question] for identity, question in questions.items()}


def _text(cell: Cell, column: str, where: str) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise DataError(f"the column {column} holds no text: {cell!r:.60}", where=where, change=f"the column {column}")
    return cell.strip()
