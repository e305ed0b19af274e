"""`moon-zoo study`: experiments over several checkpoints or settings, with a table, JSON and a plot."""

from __future__ import annotations

summary = "exchange rate from embeddings to clicks, scaling laws: table, JSON and plot"


def run(args: list[str]) -> int:
    """Run the verb."""
    raise NotImplementedError
