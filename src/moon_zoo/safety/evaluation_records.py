"""What an evaluation has done so far, on disk: rows appended to one file per stage, so that a killed one goes on.

A file's first line says what its rows depend on; rows that depend on something else are refused, not mixed. A last line that a
killed process left half-written is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moon_zoo.errors import DataError


class StageRecords:
    """Rows of one stage by their place in the set.

    Args:
        path: The file; None keeps rows in memory alone.
        identity: What the rows depend on, plain values.
        what: What the rows are, in the plural, for messages.
        overwrite: Whether rows of another identity are thrown away instead of refused.

    Raises:
        DataError: The file holds rows of another identity, or is none of ours.

    Attributes:
        rows: Place to row.
        kept: Rows that were there already.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any], what: str, *, overwrite: bool = False) -> None:
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        self._what = what
        identity = json.loads(json.dumps(identity))
        if path is not None and path.is_file():
            self._take_up(path, identity, overwrite)
        if path is not None and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, [json.dumps({"identity": identity}, ensure_ascii=False)], "w")
        self.kept = len(self.rows)

    def missing(self, places: Sequence[int]) -> list[int]:
        """Places that have no row yet, in their order."""
        return [place for place in places if place not in self.rows]

    def add(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep rows; they are on the disk when this returns."""
        self.rows |= {place: dict(row) for place, row in rows.items()}
        if self.path is not None and rows:
            _write(
                self.path, [json.dumps({"place": place, **row}, ensure_ascii=False) for place, row in rows.items()], "a"
            )

    def _take_up(self, path: Path, identity: Any, overwrite: bool) -> None:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.decode().splitlines()]
            there = lines[0]["identity"] if lines else None
            rows = {int(line.pop("place")): line for line in lines[1:]}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{path.name} does not hold {self._what} of an evaluation: {error}",
                where=str(path),
                change="the folder, or remove the file: what it held is made again",
            ) from error
        if there is None or (overwrite and there != identity):
            path.unlink()
            return
        if there != identity:
            raise DataError(
                f"the {self._what} that are there already depend on something else: {_difference(there, identity)}",
                where=str(path),
                change="the folder, with --to; or --overwrite to throw them away",
            )
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        self.rows = rows


def write_whole(path: Path, text: str) -> None:
    """A small file that is there whole or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def _write(path: Path, lines: Sequence[str], mode: str) -> None:
    with path.open(mode, encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _difference(there: Any, here: Any) -> str:
    if not isinstance(there, dict) or not isinstance(here, dict):
        return "another version wrote them"
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return "; ".join(f"{name} was {_short(there.get(name))} and is {_short(here.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
