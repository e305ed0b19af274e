"""`moon-zoo predict`; the work is in `train`."""

from __future__ import annotations

summary = "a run's outputs, written as Parquet"


def run(args: list[str]) -> int:
    """Run the verb."""
    from moon_zoo.cli import train

    return train.run("predict", args)
