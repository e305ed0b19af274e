"""Counts and lists in words, for messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(things: Sequence[object], noun: str) -> str:
    """``"1 photo"``, ``"1,204 photos"``."""
    return many(len(things), noun)


def many(count: int, noun: str) -> str:
    """``"1 row"``, ``"1,204 rows"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_few(names: Sequence[object], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more
