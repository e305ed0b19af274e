"""What is found: results, as rows for tables and files."""

from __future__ import annotations

import csv
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.search.queries import Query

OUTPUT_SUFFIXES = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class Result:
    """One item that was found.

    Args:
        rank: From 1, the best.
        score: Cosine of query and item, in ``[-1, 1]``.
        item_id: Identity of the item.
        spu_id: Identity shared by its variants.
        title: What the seller calls it.
        category: Path from the root to the leaf, joined by ``/``.
        set: Path or URL of the set it is in.
        index: Position of its sample there; -1 where the set has no positions.
        key: Key of its sample.
    """

    rank: int
    score: float
    item_id: str
    spu_id: str
    title: str
    category: str
    set: str
    index: int
    key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A query and what was found for it, best first."""

    query: Query
    results: list[Result]


def as_records(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """A record per result, with the query's id, words and photo in front."""
    return [
        {
            "query_id": answer.query.id,
            "query_text": answer.query.text,
            "query_photo": answer.query.photo_name,
            **asdict(result),
        }
        for answer in answers
        for result in answer.results
    ]


def as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """An object per query, its results within."""
    return [
        {
            "id": answer.query.id,
            "text": answer.query.text,
            "photo": answer.query.photo_name,
            "results": [asdict(result) for result in answer.results],
        }
        for answer in answers
    ]


def check_output(path: Path) -> Path:
    """``path`` if results can be written as what its suffix says, else `UsageError`."""
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise UsageError(
            f"results are written as {', '.join(OUTPUT_SUFFIXES)}, not as {path.suffix or path.name!r}",
            suggestions=did_you_mean(path.suffix.lower(), OUTPUT_SUFFIXES),
            change="--output",
        )
    return path


def write_results(answers: Sequence[Answer], path: Path) -> Path:
    """Write a row per result: Parquet, CSV or JSON lines by the suffix; whole, or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    write = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}[check_output(path).suffix.lower()]
    with whole_file(path, "--output") as temporary:
        write(as_records(answers), temporary)
    return path


@contextmanager
def whole_file(path: Path, option: str) -> Iterator[Path]:
    """A name beside ``path`` to write to, which takes its place in one rename if nothing goes wrong.

    Args:
        path: The file to be; its folder is made.
        option: The option that named it, for messages.

    Raises:
        DataError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}", where=str(path), change=option) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _names() -> list[str]:
    return ["query_id", "query_text", "query_photo", *Result.__dataclass_fields__]


def _parquet(records: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"rank": pa.int32(), "score": pa.float32(), "index": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _names()])
    pq.write_table(pa.Table.from_pylist(records, schema), path)


def _csv(records: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _names())
        writer.writeheader()
        writer.writerows(records)


def _json_lines(records: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
