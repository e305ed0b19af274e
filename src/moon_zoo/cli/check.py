"""`moon-zoo check`: a recipe against its data, its checkpoint and this machine, all faults at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json

if TYPE_CHECKING:
    from moon_zoo.errors import ZooError

summary = "every mistake in a recipe, before any time is spent"

EXAMPLES = """\
  moon-zoo check --config my.yaml
  moon-zoo check --config my.yaml --config accelerators/ddp --trainer.devices 4
  moon-zoo check --run runs/first --ckpt_path best
  moon-zoo check --config my.yaml --ckpt_path dual_flow/shop
"""


def run(args: list[str]) -> int:
    """Check a recipe."""
    from moon_zoo.cli.train import read_overrides, read_recipe

    parser = Arguments(
        "check",
        "Find every mistake in a recipe at once: keys, classes, values, shards,\n"
        "checkpoint, devices, disk. Any key of the recipe is an option, as with `fit`.",
        EXAMPLES,
    )
    parser.add_argument("--config", "-c", action="append", default=[], metavar="RECIPE", help="path or shipped name")
    parser.add_argument("--run", metavar="DIR", help="a run's folder: its recipe, where --config gives none")
    parser.add_argument("--ckpt_path", metavar="CKPT", help="best or last of --run; or a path, name or URL")
    parser.add_argument("--allow_missing", action="store_true", help="as with `fit`: the checkpoint may lack weights")
    parser.add_argument("--json", action="store_true", help="print the faults as JSON")
    options, rest = parser.parse_known_args(args)
    recipe = read_recipe(options, read_overrides(parser, rest))
    from moon_zoo.cli import checks

    found = checks.faults(recipe, run=options.run, ckpt_path=options.ckpt_path, allow_missing=options.allow_missing)
    if options.json:
        print_json([_record(fault) for fault in found])
    elif found:
        from moon_zoo.errors import Faults

        raise Faults(found)
    else:
        print(f"{recipe.name}: no faults found")
    return 2 if found else 0


def _record(fault: ZooError) -> dict[str, object]:
    return {
        "kind": type(fault).__name__,
        "what": fault.what,
        "where": fault.where,
        "change": fault.change,
        "did_you_mean": list(fault.suggestions),
    }
