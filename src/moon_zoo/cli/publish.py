"""`moon-zoo publish`: a run into a hub, with its card."""

from __future__ import annotations

summary = "a run into a hub, with its card"
