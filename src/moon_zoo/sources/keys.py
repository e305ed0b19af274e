"""Sample keys and titles made from the names that data sets use."""

from __future__ import annotations

import hashlib
import re

MAX_KEY = 64
"""Longest key in characters: with a field's name it must stay within the 100 bytes of a plain tar header."""


def key_of(identity: str) -> str:
    """A sample key that a person can trace back to the identity.

    That is the identity itself where it is a valid key, else a cleaned form of it and a hash. Different identities
    have different keys.
    """
    if len(identity) <= MAX_KEY and re.fullmatch(r"[A-Za-z0-9_-]+", identity):
        return identity
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", identity).strip("-")[: MAX_KEY - 13]
    # A name cleaned to itself plus a hash cannot meet a valid name by accident: 48 bits of it would have to agree.
    return f"{cleaned}-{hashlib.blake2b(identity.encode(), digest_size=6).hexdigest()}".lstrip("-")


def readable(name: str, separators: str = "_-") -> str:
    """A class or folder name as words: ``Golden-Delicious`` to ``Golden Delicious``."""
    return " ".join(re.split(f"[{re.escape(separators)}\\s]+", name)).strip() or name
