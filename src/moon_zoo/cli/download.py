"""`moon-zoo download`: fetch a checkpoint from a hub, verified."""

from __future__ import annotations

summary = "fetch a checkpoint from a hub, verified"
