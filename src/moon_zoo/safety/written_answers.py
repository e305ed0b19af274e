"""Answers that somebody else's system wrote, to be judged here: one JSON object a line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from moon_zoo.errors import DataError


def read_answers(path: str | os.PathLike[str]) -> dict[str, str]:
    """Answers by conversation id.

    Args:
        path: A ``.jsonl`` file of lines such as ``{"conversation_id": "42", "answer": "It is red."}``; other fields are passed
            over.

    Raises:
        DataError: It cannot be read; a line is none of these; or a conversation has two answers.
    """
    found: dict[str, str] = {}
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the answers cannot be read: {error}", where=os.fspath(path)) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{os.fspath(path)}, line {number}"
        try:
            record = json.loads(line)
            name, answer = str(record["conversation_id"]), record["answer"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                "a line is no JSON object with conversation_id and answer", where=where, change="the file"
            ) from error
        if not isinstance(answer, str):
            raise DataError(f"the answer to {name} is no text: {answer!r}", where=where, change="the file")
        if name in found:
            raise DataError(f"conversation {name} is answered twice", where=where, change="the file")
        found[name] = answer
    return found
