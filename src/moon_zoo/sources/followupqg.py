"""FollowupQG: questions people asked next on a forum that explains things in simple words.

Source: Meng et al. 2023, "FollowupQG: Towards Information-Seeking Follow-up Question Generation", arXiv:2309.05007;
https://github.com/vivian-my/FollowupQG. Read from ``train.json``, ``valid.json`` and ``test.json`` as published.

Known faults of the published set, which are mended and counted: notes in brackets that annotators put before a follow-up; the
forum's "ELI5:" before questions; rows that are there twice; training rows with the ids 600 to 1039 that carry another row's
question; training rows whose answer and follow-up recur in an evaluation split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moon_zoo.data.follow_ups import FollowUp
from moon_zoo.data.wording import many
from moon_zoo.data.words import content_words
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.prompt_files import json_rows, locate, located, text_at
from moon_zoo.sources.splits import shuffled
from moon_zoo.sources.tree import FileTree, open_tree

FILES: Final = {"train": ("train.json",), "val": ("valid.json", "val.json"), "test": ("test.json",)}
BROKEN_IDS: Final = range(600, 1040)
"""Training rows of which many carry another row's question."""
FOREIGN: Final = ("known", "all", "keep")

FORUM: Final = re.compile(r"^[\s\[(*\"]*eli\s?5(?![a-z0-9])[\s\])*\":,.;\-\u2013\u2014/]*", re.IGNORECASE)
NOTE: Final = re.compile(r"^\s*\[[^\]]*\](?!\()\s*")
"""A bracket that is no link."""

TWICE = "row that is there twice"
OTHERS_QUESTION = "training row with another row's question"
RECURS = "training row whose answer and follow-up recur in an evaluation split"


@dataclass(slots=True)
class _Row:
    split: str
    number: str
    question: str
    answer: str
    follow_up: str
    relation: str

    def words(self) -> tuple[str, str, str]:
        return self.question, self.answer, self.follow_up


class FollowupQGSource(Source):
    """FollowupQG: 2,790 questions with answers and what was asked next, for training; 500 and 501 for validation and test.

    Cleaned: notes in brackets before follow-ups and "ELI5:" before questions are cut off; rows that are there twice, training
    rows that carry another row's question, and training rows whose answer and follow-up recur in an evaluation split are left
    out. Everything is counted, shown, and kept in the manifest. There is no knowledge yet: moon-zoo pack follow_up_knowledge
    adds it.

    Args:
        path: The folder or tar with train.json, valid.json and test.json, as many of them as there are.
        foreign: Which training rows count as carrying another row's question, if it shares no content word with answer and
            follow-up: known (those among the ids that are known to be mixed up), all, or keep (none).
        clean: Whether to clean at all.
        seed: Of the order of samples.
    """

    summary = "FollowupQG: what people asked next, cleaned"
    kind = "follow_up"
    example = "moon-zoo pack followupqg followupqg --to shards/followupqg"

    licence = "not stated"
    description = "FollowupQG; Meng et al. 2023, arXiv:2309.05007; https://github.com/vivian-my/FollowupQG"

    def __init__(self, path: Path, *, foreign: str = "known", clean: bool = True, seed: int = 0) -> None:
        super().__init__()
        if foreign not in FOREIGN:
            raise UsageError(f"foreign is {foreign!r}, but must be one of {', '.join(FOREIGN)}", change="--foreign")
        self.tree = open_tree(path)
        self.foreign, self.clean, self.seed = foreign, clean, seed

    def read(self) -> Iterator[Packed]:
        """Yield every row that stays, each split in an order of its own."""
        splits = {split: list(_rows(self.tree, split, names)) for split, names in FILES.items()}
        if not any(splits.values()):
            located(self.tree, *(name for names in FILES.values() for name in names))  # raises, and says what is there
        mended: dict[str, Counter[str]] = {split: Counter() for split in splits}
        left_out: dict[str, Counter[str]] = {split: Counter() for split in splits}
        if self.clean:
            for split, rows in splits.items():
                for row in rows:
                    _mend(row, mended[split])
                splits[split] = list(self._distinct(rows, left_out[split]))
            splits["train"] = list(self._own(splits, left_out["train"]))
        self.total = sum(len(rows) for rows in splits.values())
        self._tell(splits, mended, left_out)
        for split, rows in splits.items():
            by_number = {row.number: row for row in rows}
            for number in shuffled(by_number, self.seed):
                yield split, f"followupqg-{number}", _sample(by_number[number])

    def _distinct(self, rows: list[_Row], left_out: Counter[str]) -> Iterator[_Row]:
        seen: set[tuple[str, str, str]] = set()
        for row in rows:
            if row.words() in seen:
                left_out[TWICE] += 1
            else:
                seen.add(row.words())
                yield row

    def _own(self, splits: dict[str, list[_Row]], left_out: Counter[str]) -> Iterator[_Row]:
        """Training rows that are their own, and of no evaluation split."""
        held_out = {(row.answer, row.follow_up) for split in ("val", "test") for row in splits[split]}
        strangers = 0
        for row in splits["train"]:
            foreign = is_foreign(row.question, row.answer, row.follow_up)
            known = row.number.isdecimal() and int(row.number) in BROKEN_IDS
            if foreign and (self.foreign == "all" or (self.foreign == "known" and known)):
                left_out[OTHERS_QUESTION] += 1
            elif (row.answer, row.follow_up) in held_out:
                left_out[RECURS] += 1
            else:
                strangers += foreign
                yield row
        if strangers:
            self.notes.append(
                f"{many(strangers, 'training row')} stay though the question shares no content word with answer and follow-up: "
                f"outside of the ids {BROKEN_IDS.start} to {BROKEN_IDS.stop - 1} most are just short (--foreign all drops them)"
            )

    def _tell(
        self, splits: dict[str, list[_Row]], mended: dict[str, Counter[str]], left_out: dict[str, Counter[str]]
    ) -> None:
        for split, rows in splits.items():
            self.skipped.update(left_out[split])
            for what, count in mended[split].items():
                self.notes.append(f"{split}: {what} cut off: {count:,}")
            about = {"clean": self.clean, "foreign": self.foreign, "kept": len(rows)}
            self.extras[split] = {
                "cleaning": {**about, "mended": dict(mended[split]), "left_out": dict(left_out[split])}
            }


def is_foreign(question: str, answer: str, follow_up: str) -> bool:
    """Whether a question shares no content word with its answer and follow-up."""
    return not set(content_words(question)) & set(content_words(f"{answer} {follow_up}"))


def _mend(row: _Row, mended: Counter[str]) -> None:
    question = FORUM.sub("", row.question).strip()
    if question and question != row.question:
        mended["the forum's mark before a question"] += 1
        row.question = question
    follow_up = NOTE.sub("", row.follow_up).strip()
    if follow_up and follow_up != row.follow_up:
        mended["a note in brackets before a follow-up"] += 1
        row.follow_up = follow_up


def _rows(tree: FileTree, split: str, names: tuple[str, ...]) -> Iterator[_Row]:
    name = locate(tree, *names)
    if name is None:
        return
    seen: set[str] = set()
    for where, row in json_rows(tree, name):
        number = row.get("id")
        if isinstance(number, bool) or not isinstance(number, (int, str)) or number == "":
            raise DataError(f"a row without an id: {number!r}", where=where)
        if str(number) in seen:
            raise DataError(f"the id {number} is there twice", where=where)
        seen.add(str(number))
        question, answer, follow_up = (text_at(row, field, where) for field in ("question", "answer", "follow-up"))
        yield _Row(split, str(number), question, answer, follow_up, _relation(row))


def _relation(row: dict[str, Any]) -> str:
    relation = row.get("relation")
    return relation if isinstance(relation, str) else ""


def _sample(row: _Row) -> FollowUp:
    return FollowUp(
        conversation_id=f"followupqg-{row.number}",
        question=row.question,
        answer=row.answer,
        follow_up=row.follow_up,
        truth={"relation": row.relation} if row.relation else {},
    )
