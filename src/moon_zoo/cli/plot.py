"""`moon-zoo plot`: learning curves of one or several runs; a run's retrieval gallery and calibration, drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.cli.run_folder import RunFolder

summary = "learning curves, retrieval galleries and calibration of runs"

EXAMPLES = """\
  moon-zoo plot runs/first                       into the run's report folder
  moon-zoo plot runs/first runs/second --output both.png    curves only
"""


def run(args: list[str]) -> int:
    """Draw."""
    parser = Arguments("plot", "Draw " + summary + ".", EXAMPLES)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--output", metavar="PNG", help="where the curves go; the first run's report folder when left out"
    )
    parser.add_argument("--json", action="store_true", help="print the pictures' paths as JSON")
    options = parser.parse_strict(args)
    from moon_zoo.cli.run_folder import existing

    folders = [existing(run) for run in options.runs]
    if options.output is not None and Path(options.output).suffix not in (".png", ".pdf", ".svg"):
        raise UsageError(
            f"{options.output} names no picture", where="--output", change="its ending to .png, .pdf or .svg"
        )
    pictures = _curves(folders, options.output)
    if len(folders) == 1:
        pictures += [*_galleries(folders[0]), *_calibrations(folders[0])]
    if not pictures:
        raise UsageError(
            f"{options.runs[0]} has nothing to draw yet", change="the run; or wait for its first validation"
        )
    if options.json:
        print_json([str(picture) for picture in pictures])
    else:
        print("\n".join(map(str, pictures)))
    return 0


def _curves(folders: list[RunFolder], output: str | None) -> list[Path]:
    from moon_zoo.reports.curves import draw_curves

    logs = {str(folder.path): folder.metrics_csv for folder in folders if folder.metrics_csv.is_file()}
    name = "curves.png" if len(folders) == 1 else "compared.png"
    picture = draw_curves(logs, Path(output) if output is not None else folders[0].report / name) if logs else None
    return [picture] if picture is not None else []


def _calibrations(folder: RunFolder) -> list[Path]:
    from moon_zoo.reports.calibration import draw_calibrations

    return draw_calibrations(folder.report)


def _galleries(folder: RunFolder) -> list[Path]:
    """The galleries kept by the run's last evaluations, drawn from its shards without its model."""
    kept = sorted(folder.report.glob("gallery_*.json"))
    if not kept:
        return []
    from moon_zoo import recipes
    from moon_zoo.cli.data import data_module
    from moon_zoo.reports.gallery import draw_gallery, load_rows

    data = data_module(recipes.load(str(folder.config)))
    pictures = [draw_gallery(load_rows(path), data.shards, path.with_suffix(".png")) for path in kept]
    return [picture for picture in pictures if picture is not None]
