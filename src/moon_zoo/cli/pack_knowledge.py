"""`moon-zoo pack knowledge`: triples and dumps into one local store that follow-ups draw on."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NoReturn

from moon_zoo.errors import UsageError

NAME = "knowledge"
summary = "triples or dumps of pages into a local store of knowledge"

_DESCRIPTION = """\
Write a store of knowledge: pages with a full-text index, and their links. Files are read one after another, line by line, so
memory does not grow with them; malformed lines are left out and counted. OUT appears when all is written, or not at all.
"""
_EXAMPLES = """\
examples:
  moon-zoo pack knowledge conceptnet/train.txt.gz --to conceptnet.sqlite
  moon-zoo pack knowledge enwiki-abstract.xml.gz --to wikipedia.sqlite --name wikipedia
  moon-zoo pack knowledge pages.jsonl --to mine.sqlite --licence CC-BY-4.0
"""
LAYOUTS = ("auto", "triples", "dump")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, where=self.prog, change=f"the command; `{self.prog} --help` lists its options")


def run(args: list[str]) -> int:
    """Build a store."""
    options = _parser().parse_args(args)
    from moon_zoo.cli.output import print_json, say
    from moon_zoo.cli.progress import Progress
    from moon_zoo.data.wording import many
    from moon_zoo.knowledge.building import StoreWriter
    from moon_zoo.knowledge.dumps import add_dump
    from moon_zoo.knowledge.store import KnowledgeStore
    from moon_zoo.knowledge.triples import add_triples

    began = time.monotonic()
    store = StoreWriter(
        options.to,
        name=options.name or options.to.stem,
        overwrite=options.overwrite,
        licence=options.licence,
        origin=", ".join(file.name for file in options.files),
    )
    with store, Progress("building the store", "records") as progress:

        def watch(count: int) -> None:
            progress.advance(count=count)

        for file in options.files:
            if _layout(file, options.layout) == "triples":
                add_triples(store, file, language=options.language, watch=watch)
            else:
                add_dump(store, file, watch=watch)
    seconds = time.monotonic() - began
    made = KnowledgeStore(options.to)
    if options.json:
        print_json({**made.about, "relations": len(made.about["relations"]), "seconds": round(seconds, 3)})
        return 0
    say(f"{options.to}: {many(len(made), 'page')}, {many(made.num_links, 'link')}, licence {options.licence}")
    say(f"read {progress.done:,} records in {seconds:.1f} s ({progress.done / max(seconds, 1e-9):,.0f} per second)")
    for reason, count in store.skipped.items():
        say(f"left out, {reason}: {count:,}")
    say("next:")
    say(f"  moon-zoo pack follow_up_knowledge SHARDS --store {options.to} --to OUT")
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog=f"moon-zoo pack {NAME}",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="text, perhaps in .gz, .bz2 or .xz")
    parser.add_argument("--to", type=Path, required=True, metavar="OUT", help="the store, a file")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="auto",
        help="triples (relation, head, tail, or ConceptNet's assertions), dump (JSON lines, or XML of abstracts), or auto: by "
        "the file's name",
    )
    parser.add_argument("--name", help="a short name, kept with what is found; that of OUT when not given")
    parser.add_argument("--licence", default="not stated", help="of the files, kept in the store")
    parser.add_argument("--language", default="en", help="of ConceptNet's assertions, the concepts' language")
    parser.add_argument("--overwrite", action="store_true", help="replace the store that is there")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _layout(file: Path, layout: str) -> str:
    if layout != "auto":
        return layout
    return (
        "dump" if {suffix.lower() for suffix in file.suffixes} & {".xml", ".jsonl", ".ndjson", ".json"} else "triples"
    )
