"""A checkpoint's figures by the very command that its card will show."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from moon_zoo.cli import structure, train
from moon_zoo.cli.run_folder import RunFolder
from moon_zoo.metrics.catalogue import describe
from moon_zoo.reports import summary


def measure(
    verb: str, checkpoint: Path, words: Sequence[str], folder: Path, *, quiet: bool = False
) -> dict[str, float]:
    """Run ``test`` or ``validate`` on a checkpoint folder.

    Args:
        verb: Which of the two.
        checkpoint: The checkpoint folder.
        words: Further options, as `moon_zoo.cli.used_recipe.data_words` makes them.
        folder: A folder for what the verb writes.
        quiet: Whether to show no progress.

    Raises:
        ZooError: The verb refuses; what it says.
    """
    given = ["--ckpt_path", str(checkpoint), *words, *(["--quiet"] if quiet else [])]
    parser = train.parser_for(verb)
    options, rest = parser.parse_known_args(given)
    recipe = train.read_recipe(options, train.read_overrides(parser, rest))
    structure.require_sound(recipe)
    from moon_zoo.cli import training

    job = train.Job(verb, recipe, RunFolder(folder), Path(options.ckpt_path), options, given)
    with contextlib.redirect_stdout(io.StringIO()):  # its own tables are not this verb's result
        code = training.run(job)
    if code:
        raise KeyboardInterrupt
    return summary.read_metrics(job.folder.metrics_json)


def differences(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """By how much each recall and accuracy changed: figures that are fractions and better one way."""
    return {
        name: abs(after[name] - before[name])
        for name in sorted(before.keys() & after.keys())
        if _judged(name) and before[name] is not None and after[name] is not None
    }


def _judged(name: str) -> bool:
    info = describe(name)
    return info.unit == "fraction" and info.direction != ""
