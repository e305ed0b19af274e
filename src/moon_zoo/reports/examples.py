"""What evaluations keep of single answers, in a report's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moon_zoo.errors import DataError


def read_examples(path: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """The answers that a run kept.

    Args:
        path: JSON, a list of objects.
        fields: What each of them must hold, and its type.

    Raises:
        DataError: The file cannot be read as such.
    """
    try:
        examples = json.loads(path.read_text("utf-8"))
        if not isinstance(examples, list):
            raise TypeError("it is no list")
        for example in examples:
            for name, kind in fields.items():
                if not isinstance(example[name], kind):
                    raise TypeError(f"{name} is {example[name]!r}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"these are no answers of a run: {error}",
            where=str(path),
            change="the file: remove it; or make it again with `moon-zoo test --run`",
        ) from None
    return examples
