"""`moon-zoo check`: a recipe against its data, its checkpoint and this machine, all faults at once; and what it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import Faults, UsageError

if TYPE_CHECKING:
    import argparse

    from moon_zoo.cli.checks import Checked
    from moon_zoo.cli.dry_run import Estimate
    from moon_zoo.errors import ZooError
    from moon_zoo.recipes import Recipe

summary = "every mistake in a recipe and its memory, before time is spent"

EXAMPLES = """\
  moon-zoo check --config my.yaml
  moon-zoo check --config my.yaml --config accelerators/ddp --trainer.devices 4
  moon-zoo check --config moon/qwen2_5_vl_3b --device-memory 80 --compare
  moon-zoo check --run runs/first --ckpt_path best
  moon-zoo check --config my.yaml --ckpt_path dual_flow/shop
"""


def run(args: list[str]) -> int:
    """Check a recipe."""
    from moon_zoo.cli.train import read_overrides, read_recipe

    parser = Arguments(
        "check",
        "Find every mistake in a recipe at once: keys, classes, values, shards,\n"
        "checkpoint, devices, disk. Take its model through a training step without\n"
        "weights, data or network (torch's meta device), and tell how large it is and\n"
        "how much memory a step takes on each device. Any key of the recipe is an\n"
        "option, as with `fit`.",
        EXAMPLES,
    )
    parser.add_argument("--config", "-c", action="append", default=[], metavar="RECIPE", help="path or shipped name")
    parser.add_argument("--run", metavar="DIR", help="a run's folder: its recipe, where --config gives none")
    parser.add_argument("--ckpt_path", metavar="CKPT", help="best or last of --run; or a path, name or URL")
    parser.add_argument("--allow_missing", action="store_true", help="as with `fit`: the checkpoint may lack weights")
    parser.add_argument(
        "--device-memory", type=float, metavar="GIB", help="memory of a device; this machine's GPU when left out"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also the memory with gradient checkpointing and micro-batches turned on or off, where the model has them",
    )
    parser.add_argument("--json", action="store_true", help="print faults and estimate as JSON")
    options, rest = parser.parse_known_args(args)
    if options.device_memory is not None and not options.device_memory > 0:
        raise UsageError(
            f"--device-memory is {options.device_memory:g}", change="--device-memory to the GiB of a device"
        )
    recipe = read_recipe(options, read_overrides(parser, rest))
    if recipe.tree.get("model") is None and recipe.tree.get("align") is not None:
        return _check_alignment(recipe, options)
    found = _check_training(recipe, options)
    if options.json:
        print_json(_as_json(recipe, found))
        return 2 if found.faults else 0
    _tell(recipe, found)
    if found.faults:
        raise Faults(found.faults)
    return 0


def _check_alignment(recipe: Recipe, options: argparse.Namespace) -> int:
    """Each training of an alignment, after the settings of the alignment itself."""
    from moon_zoo.cli import aligning

    found = [
        (training, _check_training(training, options, has_data=has_data))
        for training, has_data in aligning.trainings(recipe)
    ]
    faults = [fault for _, checked in found for fault in checked.faults]
    if options.json:
        print_json([_as_json(*one) for one in found])
        return 2 if faults else 0
    for one in found:
        _tell(*one)
    if faults:
        raise Faults(faults)
    print(f"{recipe.name}: no faults found; next: moon-zoo align --config {' --config '.join(options.config)}")
    return 0


def _check_training(recipe: Recipe, options: argparse.Namespace, *, has_data: bool = True) -> Checked:
    from moon_zoo.cli import checks

    return checks.check(
        recipe,
        has_data=has_data,
        run=options.run,
        ckpt_path=options.ckpt_path,
        allow_missing=options.allow_missing,
        compare=options.compare,
        device_bytes=None if options.device_memory is None else int(options.device_memory * 2**30),
    )


def _as_json(recipe: Recipe, found: Checked) -> dict[str, object]:
    return {
        "recipe": recipe.name,
        "faults": [_record(fault) for fault in found.faults],
        "estimate": None if found.estimate is None else found.estimate.as_json(),
        "not_measured": found.not_measured,
    }


def _tell(recipe: Recipe, found: Checked) -> None:
    if found.estimate is not None:
        print_estimate(recipe.name, found.estimate)
    elif found.not_measured is not None:
        say(f"note: memory is not estimated: {found.not_measured}")
    if not found.faults:
        print(f"{recipe.name}: no faults found")


def print_estimate(name: str, found: Estimate) -> None:
    """Two tables: the model's parts, and what a step takes."""
    parts = [["all", number(found.parameters)], ["trained", number(found.trained)]]
    parts += [[part, number(count)] for part, count in found.parts.items()]
    print_table(f"{name}: {found.model}", ["parameters", "count"], parts, right=(1,))
    print_table(_heading(found), ["memory of a step", "on each device"], _rows(found), right=(1,))
    for note in found.notes:
        say(f"note: {note}")


def _heading(found: Estimate) -> str:
    devices = f", {found.devices} devices{' that share weights' if found.sharded else ''}" if found.devices > 1 else ""
    return f"batch of {found.batch_size} on each device, precision {found.precision}{devices}"


def _rows(found: Estimate) -> list[list[str]]:
    from moon_zoo.cli.dry_run import gib, plain

    rows = [
        ["weights", gib(found.weights_bytes)],
        ["gradients", gib(found.gradients_bytes)],
        ["optimiser", gib(found.optimizer_bytes)],
        ["batch", gib(found.batch_bytes)],
        ["kept for the backward pass", gib(found.variants[0].kept_bytes)],
        ["peak, all together", gib(found.peak_bytes)],
    ]
    for variant in found.variants[1:]:
        settings = ", ".join(f"{name}: {plain(value)}" for name, value in variant.settings.items())
        rows.append([f"peak with {settings}", gib(variant.peak_bytes)])
    if found.device_bytes is not None:
        rows.append(["the device has", gib(found.device_bytes)])
    return rows


def number(count: int) -> str:
    """``3.75 B``, ``12.1 M``, ``45,120``."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,}"


def _record(fault: ZooError) -> dict[str, object]:
    return {
        "kind": type(fault).__name__,
        "what": fault.what,
        "where": fault.where,
        "change": fault.change,
        "did_you_mean": list(fault.suggestions),
    }
