"""`moon-zoo cache`: what the zoo keeps on disk; list it, clean it."""

from __future__ import annotations

summary = "what the zoo keeps on disk; list it, clean it"
