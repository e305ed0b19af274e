"""Paths fit for strangers: a card names no folder of the machine it was written on.

Folders of shards outside of the working directory are called ``shards/<name>``, so that the commands of a card agree with one
another; other files are called by their last part alone. URLs and relative paths stay.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

SPLITS = ("train", "val", "test", "predict", "gallery", "items")
"""Names of folders that are splits of a set, which has its name one folder up."""

_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
_LOCAL = "local-dir:"


class PublicPaths:
    """Renames this machine's paths.

    Args:
        shards: Paths of the sets that a recipe reads.
    """

    def __init__(self, shards: Iterable[str | None]) -> None:
        self._roots: dict[str, str] = {}
        for path in shards:
            if path is not None and _is_of_this_machine(path):
                pure = PurePath(path.removesuffix("/manifest.json"))
                root = pure.parent if pure.name in SPLITS else pure
                self._roots[str(root)] = f"shards/{root.name}"

    def path(self, text: str) -> str:
        """One path, or any other text, as strangers may see it."""
        text = _PASSWORD.sub("", text)
        if text.startswith(_LOCAL):
            return _LOCAL + self.path(text.removeprefix(_LOCAL))
        for root, public in self._roots.items():
            if text == root or text.startswith(f"{root}/"):
                return public + text.removeprefix(root)
        return PurePath(text).name if _is_of_this_machine(text) else text

    def values(self, value: Any) -> Any:
        """The same for every text in nested plain values."""
        if isinstance(value, dict):
            return {key: self.values(child) for key, child in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.values(child) for child in value]
        return self.path(value) if isinstance(value, str) else value

    def command(self, line: str, leave_out: Iterable[str] = ()) -> str:
        """A command line with its paths renamed.

        Args:
            line: The command.
            leave_out: Options that are dropped together with their values, such as ``--run``.
        """
        try:
            words = shlex.split(line)
        except ValueError:
            words = line.split()
        kept: list[str] = []
        dropped = set(leave_out)
        rest = iter(words)
        for word in rest:
            option, equals, value = word.partition("=")
            if option in dropped:
                if not equals:
                    next(rest, None)
            elif equals and option.startswith("--"):
                kept.append(f"{option}={self.path(value)}")
            else:
                kept.append(self.path(word))
        return shlex.join(kept)


def _is_of_this_machine(text: str) -> bool:
    """Whether a text is an absolute path, one that climbs out of the working directory, or one below a home."""
    if "://" in text or "\n" in text or " /" in text:
        return False
    return text.startswith(("/", "~", "..")) or re.match(r"[A-Za-z]:[\\/]", text) is not None
