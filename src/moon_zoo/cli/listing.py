"""`moon-zoo list`: models, recipes, sources and checkpoints, from names alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moon_zoo import recipes, registry
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import is_terminal, print_json, print_table
from moon_zoo.errors import UsageError, did_you_mean

summary = "models, data, recipes, sources and checkpoints"

EXAMPLES = """\
  moon-zoo list                 everything
  moon-zoo list recipes         one kind of thing
  moon-zoo list --json          for programs
"""

Row = dict[str, str]


def run(args: list[str]) -> int:
    """Print what there is."""
    parser = Arguments("list", "List " + summary + ". Tab-separated in a pipe.", EXAMPLES)
    parser.add_argument("what", nargs="?", help=f"one of: {', '.join(SECTIONS)}; all when left out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_strict(args)
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
    root = recipes.own_root().parent / "checkpoints"
    return [
        {
            "name": folder.parent.relative_to(root).as_posix(),
            "summary": _card_line(folder.parent / "README.md"),
            "path": str(folder.parent),
        }
        for folder in sorted(root.rglob("config.yaml"))
    ]


def _card_line(card: Path) -> str:

    lines = card.read_text("utf-8").splitlines() if card.is_file() else []
    return next((line for line in lines if line and not line.startswith(("#", "-", "!"))), "a checkpoint")


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
