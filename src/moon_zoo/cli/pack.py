"""`moon-zoo pack`: a data set, as its authors publish it or as your shop exports it, into shards.

A source's options are its constructor's arguments; nothing is listed here twice.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo import registry
from moon_zoo.cli import pack_knowledge
from moon_zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from moon_zoo.data.manifest import Manifest
    from moon_zoo.sources.base import Packed, Source

summary = "a table with photos, or a known data set, into shards"

MAX_SAMPLES = 1000

USAGE = """\
usage: moon-zoo pack SOURCE ... --to OUT [--overwrite] [--max-samples-per-shard N] [--json]

Write a data set as shards: tars with a manifest, one folder per split below OUT. OUT appears when all is written, or
not at all.

sources (moon-zoo pack SOURCE --help tells their options):
"""

EXAMPLES = """\
examples:
  moon-zoo pack table products.csv --columns item_id=sku,title=name,photo=image --photo-root photos --to shards/mine
  moon-zoo pack grocery_store GroceryStoreDataset/dataset --to shards/grocery
  moon-zoo pack class_folders photos.tar --photo-role user --max-side 256 --to shards/photos
"""


def run(args: list[str]) -> int:
    """Pack a data set."""
    if args and args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if args and args[0] == pack_knowledge.NAME:
        return pack_knowledge.run(args[1:])
    entry = _chosen(args)
    from moon_zoo.cli.pack_options import PackOptions, parse

    options: PackOptions | None = parse(entry, args[1:])
    if options is None:  # help was asked for and shown
        return 0
    _free(options.to, options.overwrite)
    source: Source = entry.load()(**options.source)
    began = time.monotonic()
    counts = Counts()
    manifests = _write(source, options, shlex.join(["moon-zoo", "pack", *args]), counts)
    source.finish(options.to)
    _report(source, options, manifests, counts, time.monotonic() - began)
    return 0


def _chosen(args: list[str]) -> registry.Entry:
    if not args or args[0].startswith("-"):
        raise UsageError(
            "no source is named",
            where="moon-zoo pack",
            change=f"the first word; sources are {', '.join(registry.entries('sources'))}",
        )
    name = args[0]
    if name not in registry.entries("sources") and (Path(name).exists() or Path(name).suffix):
        guess = "table" if Path(name).suffix and Path(name).suffix != ".tar" else "class_folders"
        raise UsageError(
            f"{name!r} is no source but a path; the source comes first",
            where="moon-zoo pack",
            change=f"the command, perhaps to: moon-zoo pack {guess} {shlex.join(args)}",
        )
    return registry.entry("sources", name)


def _overview() -> str:
    lines = [f"  {entry.name:<16}{entry.summary}" for entry in registry.entries("sources").values()]
    lines.append(f"  {pack_knowledge.NAME:<16}{pack_knowledge.summary}")
    return USAGE + "\n".join(lines) + "\n\n" + EXAMPLES.rstrip()


def _free(to: Path, overwrite: bool) -> None:
    """Refuse a taken output folder before the data are read; writing checks once more."""
    if to.is_file() or (to.is_dir() and any(to.iterdir()) and not overwrite):
        raise DataError(
            f"{to} is there already; nothing was written",
            where="--to",
            change="--to, or add --overwrite to replace the shards that are there",
        )


def _write(source: Source, options: Any, command: str, counts: Counts) -> dict[str, Manifest]:
    from moon_zoo.cli.progress import Progress
    from moon_zoo.data.writing import write_splits

    with Progress("packing", "batches of rows" if source.kind == "impressions" else "samples") as progress:
        return write_splits(
            options.to,
            _counted(source, progress, counts),
            overwrite=options.overwrite,
            source=source.description,
            licence=source.licence,
            command=command,
            max_samples=options.max_samples_per_shard,
            extras=source.extras,
            parents_of=source.parents,
            min_count=source.min_count,
        )


def _counted(source: Source, progress: Any, counts: Counts) -> Iterator[Packed]:
    """The source's samples; counts photos and rows, and refuses an empty set, which would otherwise be published."""
    from moon_zoo.cli.output import say
    from moon_zoo.data.writing import is_raw

    any_sample = False
    for split, key, sample in source.read():
        any_sample = True
        if is_raw(sample):
            counts.rows += len(sample)
        else:
            counts.photos[split] += photos_in(sample)
        yield split, key, sample
        progress.advance(source.total)
    if not any_sample:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in source.skipped.items() if count)
        raise DataError("there is no sample to write" + (f" (left out: {left_out})" if left_out else ""), change="path")
    if counts.rows:
        say(f"read {counts.rows:,} rows; now ordering their ids and writing blocks")


@dataclass(slots=True)
class Counts:
    """What was read.

    Args:
        photos: Split to its photos.
        rows: Rows of impressions, of all splits.
    """

    photos: Counter[str] = field(default_factory=Counter)
    rows: int = 0


def photos_in(sample: Any) -> int:
    """How many photos a sample holds, those of its items included."""
    if hasattr(sample, "photos"):
        return len(sample.photos)
    if hasattr(sample, "turns"):  # conversations
        return int(sample.image is not None)
    if hasattr(sample, "follow_up"):
        return 0
    items = [sample.item, *sample.hard_negatives]
    return (sample.query_photo is not None) + sum(photos_in(item) for item in items)


def _report(source: Source, options: Any, manifests: dict[str, Manifest], counts: Counts, seconds: float) -> None:
    from moon_zoo.cli.output import print_json, print_table, say

    sizes = {split: sum(shard.bytes for shard in manifest.shards) for split, manifest in manifests.items()}
    photos = counts.photos.total()
    skipped = {reason: count for reason, count in source.skipped.items() if count}
    if options.json:
        splits = {
            split: {
                "kind": manifest.kind,
                "samples": manifest.samples,
                "photos": counts.photos[split],
                "shards": len(manifest.shards),
                "bytes": sizes[split],
                "fingerprint": manifest.fingerprint,
            }
            for split, manifest in manifests.items()
        }
        print_json(
            {
                "to": str(options.to),
                "splits": splits,
                "skipped": skipped,
                "notes": source.notes,
                "seconds": round(seconds, 3),
                "photos_per_second": round(photos / seconds, 1),
                "rows_per_second": round(counts.rows / seconds, 1),
            }
        )
        return
    rows = [
        [
            split,
            manifest.kind,
            f"{manifest.samples:,}",
            *([f"{counts.photos[split]:,}"] if photos else []),
            str(len(manifest.shards)),
            size(sizes[split]),
        ]
        for split, manifest in manifests.items()
    ]
    title = f"{options.to}: {source.description}, licence {source.licence}"
    headings = ["split", "kind", "samples", *(["photos"] if photos else []), "shards", "size"]
    print_table(title, headings, rows, right=tuple(range(2, len(headings))))
    samples = 0 if photos or counts.rows else sum(manifest.samples for manifest in manifests.values())
    for count, what in ((photos, "photos"), (counts.rows, "rows"), (samples, "samples")):
        if count:
            say(f"packed {count:,} {what} in {seconds:.1f} s ({count / seconds:,.0f} {what} per second)")
    for reason, count in skipped.items():
        say(f"left out, {reason}: {count:,}")
    for note in source.notes:
        say(f"note: {note}")
    say("next:")
    kinds = {one.kind for one in manifests.values()}
    for command in next_commands(options.to, list(manifests), kinds, source.beside):
        say(f"  {command}")


RECIPES = {
    "impressions": "mim/base --model.behaviour din",
    "instruction": "dream/qwen2_5_vl_3b --model.stage sft",
    "preference": "dream/qwen2_5_vl_3b",
    "follow_up": "followup/followupqg",
}
"""Kind to what trains on a set of it; products and searches have one recipe."""


def next_commands(to: Path, splits: list[str], kinds: Collection[str] = (), beside: str | None = None) -> list[str]:
    """What to type after packing."""
    clicks = "impressions" in kinds
    compared = f" --beside {shlex.quote(beside)}" if beside is not None else ""
    commands = [f"moon-zoo inspect {to}" + ("" if clicks else f" --sheet sheet.png{compared}")]
    if "train" in splits:
        words = [f"--data.{name} {to / name}" for name in ("train", "val", "test") if name in splits]
        words += [f"--data.gallery {to / 'items'}"] if "items" in splits and not clicks else []
        recipe = next((one for kind, one in RECIPES.items() if kind in kinds), "dual_flow/base")
        commands.append(f"moon-zoo fit --config {recipe} " + " ".join(words))
    return commands


def size(number: float) -> str:
    """Bytes in a readable unit: ``14.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
