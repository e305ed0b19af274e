"""Text identities as integers, the same on every machine and in every process."""

from __future__ import annotations

import hashlib


def stable_id(text: str) -> int:
    """A 63-bit integer for an identity such as an item id; equal texts give equal integers everywhere.

    Two of a million different texts share one with a chance of about 5e-8.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
