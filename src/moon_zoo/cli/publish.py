"""`moon-zoo publish`: a run into a hub, with its card."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.cli.publishing import Prepared
    from moon_zoo.hub.index import HubEntry

summary = "a run into a hub, with its card"

DESCRIPTION = """\
Put a run's checkpoint into a hub: weights as safetensors, tokenizer, figures and
a card with data and licences, recipe, figures, environment and limits. The
figures are measured on the very weights that are published, by the command that
the card shows. A hub is a folder, s3:// or another fsspec URL, or hf://owner/repo.
Publishing under a name that is there already replaces it."""

EXAMPLES = """\
  moon-zoo publish runs/first --to checkpoints --name dual_flow/mine
  moon-zoo publish runs/first --to s3://bucket/hub --dtype float16
  moon-zoo publish runs/first --to hub --dry-run        shows the card only
  moon-zoo publish runs/first --to hub --trainer.precision bf16-mixed
  moon-zoo publish checkpoints/dual_flow/shop --to hf://owner/repo
"""


def run(args: list[str]) -> int:
    """Publish a run or a checkpoint folder."""
    parser = _parser()
    options, rest = parser.parse_known_args(args)
    from moon_zoo.cli.train import read_overrides

    overrides = tuple(word for option, value in read_overrides(parser, rest) for word in (f"--{option}", value))
    from moon_zoo.hub import publish

    store = publish.writable_store(options.to)
    source = Path(options.run)
    from moon_zoo.cli import publishing

    with tempfile.TemporaryDirectory(prefix="moon-zoo-publish-") as work:
        if publishing.pretrained.is_checkpoint(source):
            prepared, name = _as_it_is(source, options, overrides)
        else:
            prepared, name = _made(source, options, overrides, Path(work))
        if options.dry_run:
            entry = publish.describe(prepared.folder, name, summary=prepared.summary, licence=options.licence)
            card = (prepared.folder / "README.md").read_text("utf-8") if not options.json else ""
        else:
            entry = publish.publish_folder(
                prepared.folder,
                name,
                options.to,
                summary=prepared.summary,
                licence=options.licence,
                keep_old=options.keep_old,
                told=None if options.quiet else lambda file, size: say(f"writing {file} ({size:,} bytes)"),
            )
            card = ""
    _tell(options, store.location, entry, prepared, card)
    return 0


def _parser() -> Arguments:
    parser = Arguments("publish", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", help="a run's folder; or a checkpoint's folder, published as it is")
    parser.add_argument("--to", required=True, metavar="HUB", help="where to")
    parser.add_argument("--name", metavar="MODEL/NAME", help="the recipe's name by default")
    parser.add_argument("--ckpt_path", default="best", metavar="CKPT", help="best (default), last or a .ckpt")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "float16", "bfloat16"), help="of the stored weights (float32)"
    )
    parser.add_argument("--licence", default="", metavar="X", help="of the weights, such as Apache-2.0")
    parser.add_argument("--summary", metavar="S", help="one line for lists")
    parser.add_argument(
        "--max-difference",
        type=_fraction,
        default=0.005,
        metavar="X",
        help="by how much rounding may change a recall or accuracy (0.005)",
    )
    parser.add_argument(
        "--no-measure", action="store_true", help="take the figures of the run's metrics.json as they are"
    )
    parser.add_argument("--keep-old", action="store_true", help="leave the files of the version that this one replaces")
    parser.add_argument("--dry-run", action="store_true", help="write nothing to the hub; print the card")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="the result only")
    return parser


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _as_it_is(source: Path, options: argparse.Namespace, overrides: tuple[str, ...]) -> tuple[Prepared, str]:
    """A checkpoint folder, checked by loading it."""
    from moon_zoo.cli.publishing import Prepared
    from moon_zoo.models import pretrained

    if options.dtype != "float32" or options.no_measure or options.ckpt_path != "best" or overrides:
        raise UsageError(
            f"{source} is a checkpoint folder, which is published as it is",
            change="--dtype, --ckpt_path, --no-measure and recipe keys: leave them out; or name the run's folder",
        )
    name = options.name or "/".join(source.absolute().parts[-2:])
    pretrained.load(source)
    return Prepared(source, options.summary or ""), name


def _made(source: Path, options: argparse.Namespace, overrides: tuple[str, ...], work: Path) -> tuple[Prepared, str]:
    """A run's checkpoint as a folder with figures and card."""
    from moon_zoo import recipes
    from moon_zoo.cli import publishing, run_folder
    from moon_zoo.hub.names import check_name

    folder = run_folder.existing(str(source))
    values = recipes.load(str(folder.config)).values
    name = options.name or publishing.default_name(folder, values)
    check_name(name, "--name")
    wanted = publishing.Wanted(
        ckpt_path=options.ckpt_path,
        dtype=options.dtype,
        licence=options.licence,
        summary=options.summary,
        max_difference=options.max_difference,
        measure=not options.no_measure,
        overrides=overrides,
        quiet=options.quiet,
        say=(lambda text: None) if options.quiet else say,
    )
    return publishing.prepare(folder, values, name, work, wanted), name


def _tell(options: argparse.Namespace, hub: str, entry: HubEntry, prepared: Prepared, card: str) -> None:
    if options.json:
        result: dict[str, Any] = {
            "name": entry.name,
            "hub": hub,
            "path": entry.path,
            "revision": entry.revision,
            "bytes": entry.bytes,
            "files": {path: {"bytes": file.bytes, "sha256": file.sha256} for path, file in entry.files.items()},
            "published": not options.dry_run,
            "command": prepared.command,
            "figures": prepared.figures,
            "unrounded": prepared.unrounded,
        }
        print_json(result)
        return
    if card:
        print(card)
    if prepared.unrounded:
        rows = [
            [name, f"{prepared.unrounded[name]:.4f}", f"{prepared.figures[name]:.4f}", f"{by:.4f}"]
            for name, by in prepared.differences.items()
        ]
        print_table("", ["figure", "float32", options.dtype, "difference"], rows, right=(1, 2, 3))
    done = "would be published" if options.dry_run else "published"
    print(f"{done}: {entry.name}  ({entry.bytes:,} bytes, revision {entry.revision})")
    print(f"hub:       {hub}, folder {entry.path}")
    if not options.dry_run:
        print(f"next:      MOON_ZOO_HUB={hub} moon-zoo show {entry.name}")
