"""`moon-zoo search`: find products by text, photo or both."""

from __future__ import annotations

summary = "find products by text, photo or both"
