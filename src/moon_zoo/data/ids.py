"""Identities that are the same on every machine and in every process: of texts, as integers; of files, as hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def stable_id(text: str) -> int:
    """A 63-bit integer for an identity such as an item id; equal texts give equal integers everywhere.

    Two of a million different texts share one with a chance of about 5e-8.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
