"""What verbs print: a table in a terminal, tab-separated text in a pipe, JSON on request.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def is_terminal() -> bool:
    """Whether stdout is a person's terminal."""
    return bool(sys.stdout is not None and sys.stdout.isatty())


def print_json(value: Any) -> None:
    """One JSON document on stdout; figures that are not finite become null, which JSON lacks otherwise."""
    print(json.dumps(finite(value), indent=2, ensure_ascii=False))


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities replaced by None."""
    if isinstance(value, Mapping):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A table in a terminal, tab-separated lines with a header in a pipe.

    Args:
        title: Shown above the table, in a terminal only.
        columns: Headings.
        rows: Cells, as text.
        right: Numbers of the columns set to the right.
    """
    if not is_terminal():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    # rich takes 100 ms to import, a pipe does not need it
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="right" if number in right else "left", overflow="fold", no_wrap=number in right
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def say(text: str = "") -> None:
    """A line for the person watching; never part of a result."""
    print(text, file=sys.stderr, flush=True)
