"""What checkpoints and their files may be called.

An index comes from elsewhere, and its words become paths on this machine. So everything it names is checked here before
it is used: plain relative parts, nothing that climbs out of the hub or the cache, nothing that runs code when it is loaded.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from moon_zoo.errors import CheckpointError

CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"
"""Files of every checkpoint folder; `moon_zoo.models.pretrained` says what is in them."""

SAFE_SUFFIXES = (
    ".yaml",
    ".json",
    ".safetensors",
    ".md",
    ".txt",
    ".png",
    ".jpg",
    ".jpeg",
    ".model",
    ".jinja",
    ".parquet",
)
"""What a hub may offer: text, pictures, tensors without code. ``.model`` is SentencePiece's vocabulary (protobuf) and
``.jinja`` a chat template, which transformers renders in a sandbox; ``.parquet`` columns of numbers and texts."""

PICKLE_SUFFIXES = (".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".npy", ".npz", ".joblib", ".mar", ".h5")
"""Formats that are pickles, or may hold one: reading them can run any code."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)+")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+=-]*")
_MOST_CHARACTERS = 200


def is_name(text: str) -> bool:
    """Whether ``text`` can be a checkpoint's name: two lower-case parts or more, such as ``dual_flow/shop``."""
    return len(text) <= _MOST_CHARACTERS and _NAME.fullmatch(text) is not None


def check_name(text: str, where: str) -> str:
    """``text``, if it can be a checkpoint's name.

    Raises:
        CheckpointError: It cannot.
    """
    if is_name(text):
        return text
    raise CheckpointError(
        f"{shortened(text)} cannot be a checkpoint's name",
        where=where,
        change="the name: at least two parts such as dual_flow/shop, of a-z, 0-9, '.', '_' and '-', "
        "each beginning with a letter or digit",
    )


def check_path(text: object, where: str) -> str:
    """``text``, if it is a plain path below a hub's root: no host, no ``..``, no hidden file.

    Raises:
        CheckpointError: It is anything else.
    """
    reason = _fault_of_path(text)
    if reason is None:
        assert isinstance(text, str)
        return text
    raise CheckpointError(
        f"the hub names the path {shortened(text)}, which is refused: {reason}",
        where=where,
        change="the hub: its index is broken or hostile; tell its owner, or take another hub",
    )


def check_file(text: object, where: str) -> str:
    """``text``, if it is a plain path of a kind of file that is safe to read.

    Raises:
        CheckpointError: It is a pickle, of an unknown kind, or no plain path.
    """
    path = check_path(text, where)
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"the hub offers {path}, which is refused: {suffix} files are or may hold pickles, "
            "and reading a pickle can run any code",
            where=where,
            change="the hub's checkpoint: `moon-zoo publish` writes weights as safetensors",
        )
    if suffix not in SAFE_SUFFIXES:
        raise CheckpointError(
            f"the hub offers {path}, which is refused: checkpoints hold no {suffix or 'file without a suffix'}",
            where=where,
            change=f"the hub's checkpoint; known to be safe are {' '.join(SAFE_SUFFIXES)}",
        )
    return path


def _fault_of_path(text: object) -> str | None:
    if not isinstance(text, str) or not text:
        return "it is no text"
    if "://" in text:
        return "it leads to another place"
    if text.startswith(("/", "~")) or "\\" in text or ":" in text:
        return "it is no relative path with forward slashes"
    parts = text.split("/")
    if ".." in parts:
        return "it leads out of its folder"
    if any(part.startswith(".") for part in parts):
        return "it names a hidden file"
    if len(text) > _MOST_CHARACTERS or not all(_PART.fullmatch(part) for part in parts):
        return "it holds characters that file names here do not have"
    return None


def shortened(text: object, most: int = 80) -> str:
    """``text`` in quotes for a message: control characters escaped, cut where it is long."""
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def one_line(text: str, most: int = 300) -> str:
    """A hub's text made fit for a terminal: one line, printable characters only."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
