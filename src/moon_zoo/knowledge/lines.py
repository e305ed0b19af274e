"""Lines of a file of any size, compressed or not, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from moon_zoo.errors import DataError, did_you_mean

MOST_BYTES: Final = 8 << 20
"""Of a line; a longer one is passed over and counted."""

_OPENERS: Final[dict[str, Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def lines(path: Path, skipped: Counter[str]) -> Iterator[str]:
    """Lines of a file without their ends, empty ones left out.

    Args:
        path: A text in UTF-8, perhaps in .gz, .bz2 or .xz.
        skipped: Counts the lines that cannot be read: not UTF-8, or endless.

    Raises:
        DataError: There is no such file, or it breaks off within its compression.
    """
    if not path.is_file():
        near = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path}", suggestions=did_you_mean(path.name, near), change="the path")
    try:
        with cast(IO[bytes], _OPENERS.get(path.suffix.lower(), open)(path, "rb")) as file:
            while line := file.readline(MOST_BYTES):
                if len(line) == MOST_BYTES and not line.endswith(b"\n"):
                    skipped["an endless line"] += 1
                    while (rest := file.readline(MOST_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    continue
                try:
                    text = line.decode("utf-8").strip("\r\n\ufeff")
                except UnicodeDecodeError:
                    skipped["a line that is not UTF-8"] += 1
                    continue
                if text.strip():
                    yield text
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(
            f"{path.name} cannot be read to its end: {error}", where=str(path), change="the file: fetch it again"
        ) from error
