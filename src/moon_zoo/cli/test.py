"""`moon-zoo test`; the work is in `train`."""

from __future__ import annotations

summary = "a run's figures on data it never saw"


def run(args: list[str]) -> int:
    """Run the verb."""
    from moon_zoo.cli import train

    return train.run("test", args)
