"""`moon-zoo plot`: learning curves of one or several runs; a run's retrieval gallery, calibration and answers, drawn again; two
runs' galleries beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    from moon_zoo.cli.run_folder import RunFolder

summary = "learning curves, retrieval galleries and calibration of runs"

EXAMPLES = """\
  moon-zoo plot runs/first                       into the run's report folder
  moon-zoo plot runs/first runs/second --output both.png    curves only
  moon-zoo plot runs/first --beside runs/second  what both found for the same queries
"""


def run(args: list[str]) -> int:
    """Draw."""
    parser = Arguments("plot", "Draw " + summary + ".", EXAMPLES)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--output",
        metavar="PNG",
        help="where the curves (with --beside: the gallery) go; the first run's report folder when left out",
    )
    parser.add_argument(
        "--beside",
        metavar="RUN",
        help="another run, tested on the same set: both galleries in one picture, query by query",
    )
    parser.add_argument("--json", action="store_true", help="print the pictures' paths as JSON")
    options = parser.parse_strict(args)
    from moon_zoo.cli.run_folder import existing

    folders = [existing(run) for run in options.runs]
    if options.output is not None and Path(options.output).suffix not in (".png", ".pdf", ".svg"):
        raise UsageError(
            f"{options.output} names no picture", where="--output", change="its ending to .png, .pdf or .svg"
        )
    if options.beside is not None:
        pictures = _beside(folders, existing(options.beside), options.output)
    else:
        pictures = _curves(folders, options.output)
    if options.beside is None and len(folders) == 1:
        pictures += [*_galleries(folders[0]), *_calibrations(folders[0]), *_answers(folders[0])]
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
    from moon_zoo.reports.gallery import draw_gallery, load_rows

    data = _data(folder)
    pictures = [draw_gallery(load_rows(path), data.shards, path.with_suffix(".png")) for path in kept]
    return [picture for picture in pictures if picture is not None]


def _answers(folder: RunFolder) -> list[Path]:
    """What the model wrote in the run's last evaluations."""
    kept = sorted(path.stem for name in ("generation", "answers") for path in folder.report.glob(f"{name}_*.json"))
    if not kept:
        return []
    from moon_zoo.reports.answers import draw_conversations
    from moon_zoo.reports.generation import draw_generations

    shards = _data(folder).shards
    return [*draw_generations(folder.report, shards, kept), *draw_conversations(folder.report, shards, kept)]


def _beside(folders: list[RunFolder], other: RunFolder, output: str | None) -> list[Path]:
    """One picture of both runs' results, on the split that both were evaluated on last; test before val."""
    from moon_zoo.reports.beside import draw_beside, pairs, require_same_samples
    from moon_zoo.reports.gallery import load_rows

    if len(folders) > 1:
        raise UsageError(
            f"--beside compares one run with one other, and {len(folders)} are named", change="the runs, to one"
        )
    (run,) = folders
    kept = {path.name for path in run.report.glob("gallery_*.json")} & {
        path.name for path in other.report.glob("gallery_*.json")
    }
    if not kept:
        raise UsageError(
            f"{run.path} and {other.path} have no evaluation of the same split",
            where="--beside",
            change="--beside; or run `moon-zoo test --run` for both on the same set first",
        )
    name = sorted(kept)[0]  # gallery_test before gallery_val
    rows = pairs(load_rows(run.report / name), load_rows(other.report / name))
    data = {folder: _data(folder) for folder in (run, other)}
    require_same_samples(rows, {str(folder.path): found.shards for folder, found in data.items()})
    names = _names(run, other)
    target = run.report / f"{Path(name).stem}_beside_{names[1]}.png"
    return [draw_beside(rows, data[run].shards, Path(output) if output is not None else target, names)]


def _names(*folders: RunFolder) -> tuple[str, str]:
    """The models' names; the runs' where both are of one model."""
    from moon_zoo import recipes, registry

    known = {entry.class_path: name for name, entry in registry.entries("models").items()}
    classes = [recipes.load(str(folder.config)).values["model"]["class_path"] for folder in folders]
    found = [known.get(path, path.rpartition(".")[2]) for path in classes]
    if len(set(found)) < len(found):
        found = ["-".join(folder.path.parts[-2:]) for folder in folders]
    return found[0], found[1]


def _data(folder: RunFolder) -> Any:
    from moon_zoo import recipes
    from moon_zoo.cli.data import data_module

    return data_module(recipes.load(str(folder.config)))
