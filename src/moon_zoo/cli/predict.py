"""`moon-zoo predict`; the work is in `train`, or for one question and its answer in `asking`."""

from __future__ import annotations

summary = "a run's outputs as Parquet; or the question after an answer"


def run(args: list[str]) -> int:
    """Run the verb."""
    if any(word.partition("=")[0] in ("--question", "--answer") for word in args):
        from moon_zoo.cli import asking

        return asking.run(args)
    from moon_zoo.cli import train

    return train.run("predict", args)
