"""`moon-zoo validate`; the work is in `train`."""

from __future__ import annotations

summary = "a run's figures on its validation data"


def run(args: list[str]) -> int:
    """Run the verb."""
    from moon_zoo.cli import train

    return train.run("validate", args)
