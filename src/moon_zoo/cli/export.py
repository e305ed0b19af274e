"""`moon-zoo export`: a checkpoint as ONNX or torch.export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

summary = "a checkpoint as ONNX or torch.export"

DESCRIPTION = """\
Write a checkpoint's networks as ONNX and torch.export files that run without
the zoo. Each file's outputs are compared with the model's, on drawn inputs and
on samples of --data, and printed; a file that differs by more than --tolerance
is refused and nothing is written. contract.json and README.md beside the files
say what must be put in (sizes, colour order, tokenizer) and show a program."""

EXAMPLES = """\
  moon-zoo export dual_flow/shop --to exported
  moon-zoo export runs/first --to exported --format onnx --parts photo
  moon-zoo export runs/first --to exported --data shards/mine/val
  moon-zoo export runs/first --to exported --batch-size 1 --opset 18 --json
"""


def run(args: list[str]) -> int:
    """Export a checkpoint."""
    options = _parser().parse_strict(args)
    from moon_zoo.export import folder
    from moon_zoo.models import pretrained

    chosen = folder.ExportOptions(
        formats=_names(options.format, "--format"),
        parts=None if options.parts is None else _names(options.parts, "--parts"),
        tolerance=options.tolerance,
        batch_size=options.batch_size,
        opset=options.opset,
    )
    folder.check_options(chosen)
    target = Path(options.to)
    module = pretrained.load(options.checkpoint)
    real = [] if options.data is None else _real_batches(module, options.data, options.samples)
    if not options.quiet:
        say(f"exporting {options.checkpoint} to {target}")
    contract = folder.export(module, target, chosen, source=_public_name(options.checkpoint), real=real)
    if options.json:
        print_json({"folder": str(target), **contract})
    else:
        _print(contract, target)
    return 0


def _parser() -> Arguments:
    parser = Arguments("export", DESCRIPTION, EXAMPLES)
    parser.add_argument("checkpoint", help="a name, a run's folder, a checkpoint's folder, a .ckpt, or a URL")
    parser.add_argument("--to", required=True, metavar="DIR", help="the new folder")
    parser.add_argument("--format", default="onnx,torch", metavar="F,F", help="onnx, torch, or both (default)")
    parser.add_argument("--parts", metavar="P,P", help="of the model, such as photo,text; all of them by default")
    parser.add_argument(
        "--tolerance", type=_number, default=1e-4, metavar="X", help="largest difference from the model (1e-4)"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--dynamic", action="store_true", help="batches of any size (default)")
    size.add_argument("--batch-size", type=int, metavar="N", help="batches of exactly N rows")
    parser.add_argument("--opset", type=int, metavar="N", help="of ONNX; the exporter's own choice by default")
    parser.add_argument("--data", metavar="SHARDS", help="a set whose samples are compared too")
    parser.add_argument("--samples", type=int, default=64, metavar="N", help="how many of them (64)")
    parser.add_argument("--json", action="store_true", help="print what contract.json holds")
    parser.add_argument("--quiet", "-q", action="store_true", help="the result only")
    return parser


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing", change=option)
    return names


def _public_name(checkpoint: str) -> str:
    """What the contract calls the model: a name or URL as it is, of a path only its last part, for paths are this machine's."""
    path = Path(checkpoint)
    return path.absolute().name if path.exists() else checkpoint


def _real_batches(module: ZooModule, shards: str, count: int) -> list[dict[str, Any]]:
    """The first samples of a set, as the model's inputs make them, in batches of eight."""
    import numpy as np

    from moon_zoo.data.impressions.reading import open_shards
    from moon_zoo.data.inputs import Draw
    from moon_zoo.data.reading import IndexedShards
    from moon_zoo.errors import DataError

    if count < 1:
        raise UsageError(f"--samples must be at least 1, got {count}", change="--samples")
    samples = open_shards(shards)
    if samples.manifest.kind not in module.sample_kinds:
        raise DataError(
            f"{shards} holds samples of kind {samples.manifest.kind}, "
            f"{type(module).__name__} takes {' or '.join(module.sample_kinds)}",
            change="--data",
        )
    if not isinstance(samples, IndexedShards):
        reader = module.inputs.reader(samples.schema, samples.vocabularies)  # type: ignore[attr-defined]
        taken = np.array_split(np.arange(min(count, len(samples))), range(8, min(count, len(samples)), 8))
        return [reader(samples.take(some, reader.limits), Draw()) for some in taken]
    rows = [module.inputs.sample(samples[index], Draw()) for index in range(min(count, len(samples)))]
    return [module.inputs.batch(rows[first : first + 8]) for first in range(0, len(rows), 8)]


def _print(contract: dict[str, Any], target: Path) -> None:
    rows = []
    for name, part in contract["parts"].items():
        for format_name, file in part["files"].items():
            measured = file["parity"]
            rows.append(
                [
                    file["file"],
                    name,
                    f"onnx, opset {file['opset']}" if format_name == "onnx" else "torch.export",
                    f"{file['bytes']:,}",
                    f"{measured['max_abs_difference']:.2g}",
                    f"{measured['min_cosine']:.7f}",
                    f"{measured['rows']:,}",
                    f"{measured['real_rows']:,}",
                ]
            )
    columns = ["file", "part", "format", "bytes", "largest difference", "smallest cosine", "rows", "real rows"]
    print_table("", columns, rows, right=range(3, len(columns)))
    print(f"tolerance: {contract['tolerance']:g}")
    print(f"contract:  {target / 'contract.json'}")
    print(f"read:      {target / 'README.md'}")
