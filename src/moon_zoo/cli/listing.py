"""`moon-zoo list`: models, recipes, sources and checkpoints, from names alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moon_zoo import recipes, registry
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import is_terminal, print_json, print_table, say
from moon_zoo.errors import UsageError, did_you_mean

summary = "models, data, recipes, sources and checkpoints"

EXAMPLES = """\
  moon-zoo list                 everything
  moon-zoo list recipes         one kind of thing
  moon-zoo list checkpoints     of every hub: those in MOON_ZOO_HUB and our own
  moon-zoo list --json          for programs
"""

Row = dict[str, Any]


def run(args: list[str]) -> int:
    """Print what there is."""
    parser = Arguments("list", "List " + summary + ". Tab-separated in a pipe.", EXAMPLES)
    parser.add_argument("what", nargs="?", help=f"one of: {', '.join(SECTIONS)}; all when left out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--checkpoints", action="store_true", help="the same as `list checkpoints`")
    options = parser.parse_strict(args)
    if options.checkpoints:
        options.what = _only_checkpoints(options.what)
    if options.what is not None and options.what not in SECTIONS:
        raise UsageError(
            f"nothing called {options.what!r} to list",
            where="moon-zoo list",
            suggestions=did_you_mean(options.what, SECTIONS),
            change=f"the word; known: {', '.join(SECTIONS)}",
        )
    chosen = [options.what] if options.what is not None else list(SECTIONS)
    found = {section: SECTIONS[section]() for section in chosen}
    if options.json:
        print_json(found)
    elif options.what == "checkpoints":
        _print_checkpoints(found["checkpoints"])
    elif is_terminal():
        for section, rows in found.items():
            if not rows and options.what is None:
                continue
            print_table(section, ["name", "what it is"], [[row["name"], row["summary"]] for row in rows])
        if options.what is None:
            print("moon-zoo show NAME tells more about any of them")
    else:
        cells = [[section, row["name"], row["summary"]] for section, rows in found.items() for row in rows]
        print_table("", ["kind", "name", "summary"], cells)
    return 0


def _only_checkpoints(what: str | None) -> str:
    if what not in (None, "checkpoints"):
        raise UsageError(f"--checkpoints lists checkpoints, not {what}", where="moon-zoo list", change="one of the two")
    return "checkpoints"


def _registered(group: str) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        return [
            {"name": entry.name, "summary": entry.summary, "class_path": entry.class_path, "origin": entry.origin}
            for entry in registry.entries(group).values()
        ]

    return rows


def _recipes() -> list[Row]:
    return [
        {"name": name, "summary": first_sentence(recipes.header(path)), "path": str(path)}
        for name, path in recipes.shipped().items()
    ]


def _checkpoints() -> list[Row]:
    from moon_zoo.hub.offers import offers

    found, notes = offers()
    for note in notes:
        say(f"note: {note.what}")
    return [
        {
            "name": offer.entry.name,
            "summary": offer.entry.summary,
            "class_path": offer.entry.class_path,
            "licence": offer.entry.licence,
            "bytes": offer.entry.bytes,
            "revision": offer.entry.revision,
            "hub": offer.hub,
            "here": offer.here,
            "path": offer.path,
        }
        for offer in found
    ]


def _print_checkpoints(rows: list[Row]) -> None:
    """Checkpoints have more to tell than a name and a line."""
    from moon_zoo.cli.pack import size

    cells = [[row["name"], row["summary"], size(row["bytes"]), row["licence"], row["here"], row["hub"]] for row in rows]
    columns = ["name", "what it is", "size", "licence", "here", "hub"]
    print_table("checkpoints", columns, cells, right=(2,))
    if is_terminal():
        print("moon-zoo show NAME has the card; moon-zoo download NAME fetches; MOON_ZOO_HUB adds hubs")


def first_sentence(text: str) -> str:
    """The first sentence of a recipe's header, for a table's cell."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") or "no description"


SECTIONS: dict[str, Callable[[], list[Row]]] = {
    "models": _registered("models"),
    "data": _registered("data"),
    "recipes": _recipes,
    "sources": _registered("sources"),
    "checkpoints": _checkpoints,
}
