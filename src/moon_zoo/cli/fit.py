"""`moon-zoo fit`; the work is in `train`."""

from __future__ import annotations

summary = "train a model from a recipe"


def run(args: list[str]) -> int:
    """Run the verb."""
    from moon_zoo.cli import train

    return train.run("fit", args)
