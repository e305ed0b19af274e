"""`moon-zoo inspect`: what is in shards; whether they are whole; an index for plain tars; a look at samples."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.inspect_impressions import describe_rows, print_rows, row_at
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.cli.pack import size
from moon_zoo.data.sets import find_sets
from moon_zoo.errors import DataError, Faults, UsageError, ZooError, did_you_mean

if TYPE_CHECKING:
    import argparse

    from moon_zoo.data.manifest import Manifest
    from moon_zoo.data.reading import IndexedShards

summary = "what is in shards; verify them, index plain tars, look at samples"

EXAMPLES = """\
  moon-zoo inspect shards/grocery                        the splits, their samples, vocabularies, licence
  moon-zoo inspect shards/grocery/train --sample 12      the sample at position 12
  moon-zoo inspect shards/grocery/train --sample key=Banana_003
  moon-zoo inspect shards/grocery --sheet sheet.png      some samples of each split as a picture
  moon-zoo inspect shards/boxed --sheet sheet.png --beside shards/mine   detected boxes beside the known ones
  moon-zoo inspect shards/grocery --verify --deep        every file, sample and photo; exit code 2 on faults
  moon-zoo inspect someones-tars --index                 make a set of WebDataset tars readable by position
"""

VALUES_SHOWN = 6
ROWS = "impressions"
"""The kind whose samples are rows, which are shown by their columns."""


def run(args: list[str]) -> int:
    """Say what is in shards."""
    options = _parser().parse_strict(args)
    if options.deep and not options.verify:
        raise UsageError("--deep says how to verify", where="moon-zoo inspect", change="add --verify")
    if options.beside is not None and options.sheet is None:
        raise UsageError("--beside says what a sheet shows too", where="moon-zoo inspect", change="add --sheet PNG")
    if options.index:
        _index(options.path)
    sets = find_sets(options.path)
    about = {name: describe(path) for name, path in sets.items()}
    faults = _verify(sets, options.deep) if options.verify else None
    sample = _sample(sets, options.sample, about) if options.sample is not None else None
    if options.sheet is not None:
        _sheet({name: path for name, path in sets.items() if about[name]["kind"] != ROWS}, options)
    if options.json:
        _print_as_json(options, about, faults, sample)
    elif sample is not None:
        print_json(sample)
    else:
        _print_as_text(options.path, about)
    if faults and not options.json:
        raise Faults(faults)
    if faults is not None and not faults:
        say(
            f"no faults: files, indexes and samples{', photos too,' if options.deep else ''} are what the manifest says"
        )
    return 2 if faults else 0


def _parser() -> Arguments:
    parser = Arguments("inspect", "Say what is in shards; verify them, index plain tars, look at samples.", EXAMPLES)
    parser.add_argument(
        "path", help="a set of shards (a folder, its manifest.json, a URL), or a folder of several sets"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare files, hashes, indexes and samples with the manifest"
    )
    parser.add_argument("--deep", action="store_true", help="with --verify: also decode every photo")
    parser.add_argument("--index", action="store_true", help="write indexes and a manifest beside tars that have none")
    parser.add_argument("--sample", metavar="N|KEY", help="show one sample, by position or key (key=12 for a number)")
    parser.add_argument("--sheet", metavar="PNG", type=Path, help="draw samples of each set into a picture")
    parser.add_argument("--count", type=int, default=24, help="samples of each set on the sheet (24)")
    parser.add_argument(
        "--beside", metavar="SHARDS", help="another set of the same samples, whose boxes the sheet shows in green"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def describe(path: str) -> dict[str, Any]:
    """Everything the manifest of one set says, as JSON values."""
    from moon_zoo.data.manifest import read_manifest

    manifest: Manifest = read_manifest(path)
    about = {
        "path": path,
        "kind": manifest.kind,
        "samples": manifest.samples,
        "shards": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
        "source": manifest.source,
        "licence": manifest.licence,
        "command": manifest.command,
        "parents": list(manifest.parents),
        "fields": dict(manifest.fields),
        "vocabularies": dict(manifest.vocabularies),
        "fingerprint": manifest.fingerprint,
        "extra": dict(manifest.extra),
    }
    return about | (describe_rows(manifest, path) if manifest.kind == ROWS else {})


def _print_as_text(path: str, about: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        [name, one["kind"], f"{one['samples']:,}", str(one["shards"]), size(one["bytes"]), one["fingerprint"][:12]]
        for name, one in about.items()
    ]
    print_table(path, ["set", "kind", "samples", "shards", "size", "fingerprint"], rows, right=(2, 3, 4))
    print()
    for heading in ("source", "licence", "command", "parents"):
        for text in _shared(heading, about):
            print(f"{heading + ':':<12}{text}")
    # The members of blocks are the columns, which have a table of their own.
    for text in _shared("fields", {name: one for name, one in about.items() if one["kind"] != ROWS}):
        print(f"{'fields:':<12}{text}")
    for name, one in about.items():
        if "boxes" in one["extra"]:
            print(f"{name + ':':<12}{_boxes_line(one['extra']['boxes'])}")
        if isinstance(one["extra"].get("knowledge"), Mapping):
            print(f"{name + ':':<12}{_knowledge_line(one['extra']['knowledge'])}")
    for name, one in about.items():
        for line in _vocabulary_lines(one["vocabularies"]) if one["kind"] != ROWS else ():
            print(f"{name + ':':<12}{line}")
    print_rows(about)


def _shared(heading: str, about: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A heading's text once where all sets agree, else one text per set."""
    texts = {name: _one_line(one[heading]) for name, one in about.items()}
    distinct = set(texts.values())
    if len(distinct) == 1:
        return [text for text in distinct if text]
    return [f"{name}: {text}" for name, text in texts.items() if text]


def _one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({item})" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _boxes_line(record: Mapping[str, Any]) -> str:
    """What `moon-zoo pack boxes` noted of a set."""
    detector = ", ".join(f"{value}" for name, value in record.get("detector", {}).items() if name in ("name", "model"))
    counts = [
        f"{record[name]:,} {name.replace('_', ' ')}"
        for name in ("found", "kept", "too_small", "failed")
        if record.get(name)
    ]
    overlaps = [f"{role} {one['mean_iou']:.3f}" for role, one in record.get("overlap", {}).items()]
    with_known = f"; mean IoU with boxes known before: {', '.join(overlaps)}" if overlaps else ""
    return f"boxes by {detector}: {', '.join(counts)}{with_known}"


def _knowledge_line(record: Mapping[str, Any]) -> str:
    """What `moon-zoo pack follow_up_knowledge` noted of a set."""
    settings = record.get("settings", {})
    how = [f"{settings[name]}" for name in ("source", "mode") if name in settings]
    counts = [f"{record[name]:,} {name}" for name in ("found", "nothing found") if record.get(name)]
    if record.get("concept known"):
        counts.append(f"true concept in {record.get('concept right', 0):,} of {record['concept known']:,}")
    return f"knowledge by {', '.join(how)}: {', '.join(counts)}"


def _vocabulary_lines(vocabularies: Mapping[str, Any]) -> list[str]:
    categories: Sequence[str] = vocabularies.get("category", ())
    lines = [f"{len(categories):,} categories: {_some(categories)}"] if categories else []
    for name, values in vocabularies.get("attributes", {}).items():
        lines.append(f"attribute {name}, {len(values):,} values: {_some(values)}")
    for name in ("situation", "safety", "harm", "judge", "knowledge"):  # of conversations and follow-ups, with counts
        counts: Mapping[str, int] = vocabularies.get(name, {})
        if counts:
            most = sorted(counts, key=lambda value: -counts[value])
            lines.append(f"{name}: {_some([f'{value} ({counts[value]:,})' for value in most])}")
    return lines


def _some(values: Sequence[str]) -> str:
    more = f", ... ({len(values) - VALUES_SHOWN:,} more)" if len(values) > VALUES_SHOWN else ""
    return ", ".join(values[:VALUES_SHOWN]) + more


def _print_as_json(
    options: argparse.Namespace,
    about: Mapping[str, Mapping[str, Any]],
    faults: list[ZooError] | None,
    sample: dict[str, Any] | None,
) -> None:
    document: dict[str, Any] = {"path": options.path, "sets": about}
    if faults is not None:
        document["faults"] = [{"what": fault.what, "where": fault.where, "change": fault.change} for fault in faults]
    if sample is not None:
        document["sample"] = sample
    if options.sheet is not None:
        document["sheet"] = str(options.sheet)
    print_json(document)


def _index(path: str) -> None:
    from moon_zoo.data.verify import build_index

    manifest = build_index(path, command=shlex.join(["moon-zoo", "inspect", path, "--index"]))
    say(f"indexed {manifest.samples:,} samples in {len(manifest.shards)} shards")


def _verify(sets: Mapping[str, str], deep: bool) -> list[ZooError]:
    from moon_zoo.cli.progress import Progress
    from moon_zoo.data.manifest import read_manifest
    from moon_zoo.data.verify import verify

    total = sum(read_manifest(path).samples for path in sets.values())
    with Progress("verifying") as progress:
        return [
            fault
            for path in sets.values()
            for fault in verify(path, deep=deep, progress=lambda count: progress.advance(total, count))
        ]


def _sample(sets: Mapping[str, str], wanted: str, about: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One sample as JSON, photos as their format and size; of impressions, one row."""
    from moon_zoo.data.reading import IndexedShards

    key = wanted.removeprefix("key=")
    if key == wanted and wanted.lstrip("-").isdigit():
        if len(sets) > 1:
            raise UsageError(
                f"several sets have a sample at position {wanted}: {', '.join(sets)}",
                change=f"the path, for example to {next(iter(sets.values()))}",
            )
        name, path = next(iter(sets.items()))
        if about[name]["kind"] == ROWS:
            return {"set": name, **row_at(path, wanted)}
        shards = IndexedShards(path)
        position = int(wanted)
        if not 0 <= position < len(shards):
            raise UsageError(
                f"there is no position {wanted} in {len(shards):,} samples",
                where=path,
                change=f"0 to {len(shards) - 1}",
            )
        return _shown(name, shards, position)
    near: list[str] = []
    if all(one["kind"] == ROWS for one in about.values()):
        return row_at(next(iter(sets.values())), wanted)
    for name, path in sets.items():
        if about[name]["kind"] == ROWS:
            continue
        shards = IndexedShards(path)
        keys = [shards.locate(position)[1] for position in range(len(shards))]
        if key in keys:
            return _shown(name, shards, keys.index(key))
        near += did_you_mean(key, keys)
    raise DataError(f"no sample has the key {key!r}", where=", ".join(sets.values()), suggestions=near[:3])


def _shown(name: str, shards: IndexedShards, position: int) -> dict[str, Any]:
    shard, key = shards.locate(position)
    return {"set": name, "position": position, "shard": shard, "key": key, **_without_pixels(shards[position])}


def _without_pixels(value: Any) -> Any:
    """A sample as JSON values; a photo becomes ``"jpg, 224 x 224 pixels, 9.8 kB"``."""
    if isinstance(value, bytes):
        return _photo(value)
    if isinstance(value, (list, tuple)):
        return [_without_pixels(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _without_pixels(item) for name, item in value.items()}
    if is_dataclass(value):
        return {field.name: _without_pixels(getattr(value, field.name)) for field in fields(value)}
    return value


def _photo(photo: bytes) -> str:
    import io

    from PIL import Image

    from moon_zoo.data.members import image_extension

    with Image.open(io.BytesIO(photo)) as image:
        return f"{image_extension(photo)}, {image.width} x {image.height} pixels, {size(len(photo))}"


def _sheet(sets: Mapping[str, str], options: argparse.Namespace) -> None:
    from moon_zoo.cli.inspect_sheet import draw_sheet
    from moon_zoo.data.reading import IndexedShards

    if not sets:
        raise UsageError(
            "rows of impressions have no photos to draw", where=options.path, change="--sheet, to --sample 0 for a row"
        )
    if options.count < 1:
        raise UsageError(f"a sheet of {options.count} samples", change="--count")
    if options.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"{options.sheet} has no suffix of a picture", change="--sheet, to a name ending in .png")
    options.sheet.parent.mkdir(parents=True, exist_ok=True)
    beside = None if options.beside is None else find_sets(options.beside)
    drawn, others = (
        None if paths is None else {name: IndexedShards(path) for name, path in paths.items()}
        for paths in (sets, beside)
    )
    draw_sheet(drawn or {}, options.count, others).save(options.sheet)
    say(f"wrote {options.sheet}")
