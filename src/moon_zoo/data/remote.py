"""Paths and fsspec URLs alike: join, read, tell apart. fsspec itself is imported only for URLs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def is_url(path: str) -> bool:
    """Whether fsspec, not the file system, is asked for this path (``s3://bucket/x``; ``file://`` counts as a URL)."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """``name`` inside ``folder``, for paths and URLs."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.fspath(Path(folder) / name)


def parent(location: str) -> str:
    """The folder of a file, for paths and URLs."""
    return location.rpartition("/")[0] if is_url(location) else os.fspath(Path(location).parent)


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(url)
    return fs, path


def read_bytes(location: str) -> bytes:
    """A small file's content.

    Raises:
        OSError: It cannot be read.
    """
    if not is_url(location):
        return Path(location).read_bytes()
    fs, path = file_system(location)
    data: bytes = fs.cat_file(path)
    return data
