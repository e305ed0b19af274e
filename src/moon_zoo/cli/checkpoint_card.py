"""A checkpoint as `moon-zoo show` tells of it: its card, then its files, size, licence and hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moon_zoo import recipes
from moon_zoo.cli.pack import size
from moon_zoo.data import remote
from moon_zoo.errors import UsageError, ZooError
from moon_zoo.hub import names
from moon_zoo.hub.offers import Offer, card_of, offers
from moon_zoo.hub.resolve import hub_and_name
from moon_zoo.hub.stores import hubs


def described(name: str, known: Sequence[str]) -> str:
    """Markdown about a checkpoint on a hub, or in a folder.

    Args:
        name: A name, ``HUB#name``, a URL, or a checkpoint's folder.
        known: Other names, for suggestions.

    Raises:
        UsageError: Nothing has that name.
        CheckpointError: Its card cannot be read.
    """
    if (Path(name) / names.CONFIG).is_file() and (Path(name) / names.WEIGHTS).is_file():
        return _folder(Path(name))
    hub, wanted = hub_and_name(name)
    found, notes = offers([hub] if hub is not None else None)
    for offer in found:
        if offer.entry.name == wanted:
            return f"{card_of(offer).rstrip()}\n\n{_facts(offer)}"
    if hub is not None and notes:
        raise notes[0]
    raise UsageError(
        f"nothing is called {name!r}" + _unasked(notes),
        where="moon-zoo show",
        suggestions=recipes.suggestions(wanted, [*known, *(offer.entry.name for offer in found)]),
        change="the name; `moon-zoo list` shows them all",
    )


def is_on_a_near_hub(name: str) -> bool:
    """Whether a hub in a folder has ``name``."""
    found, _ = offers([location for location in hubs() if not remote.is_url(location)])
    return any(offer.entry.name == name for offer in found)


def _unasked(notes: Sequence[ZooError]) -> str:
    return f" ({'; '.join(note.what for note in notes)})" if notes else ""


def _facts(offer: Offer) -> str:
    entry = offer.entry
    here = {"no": "not here: `moon-zoo download` fetches it", "cached": f"cached in {offer.path}"}
    lines = [
        f"## On the hub as `{entry.name}`",
        "",
        f"- hub: {offer.hub}",
        f"- here: {here.get(offer.here, f'used in place, {offer.path}')}",
        f"- revision: {entry.revision}",
        f"- class: `{entry.class_path}`, written by moon-zoo {entry.moon_zoo}",
        f"- licence: {entry.licence or 'not stated'}",
        f"- size: {size(entry.bytes)}",
        "",
        "",
    ]
    return "\n".join(lines) + _files({path: file.bytes for path, file in entry.files.items()})


def _folder(folder: Path) -> str:
    card = folder / names.CARD
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    text = (
        card.read_text("utf-8", "replace") if card.is_file() else f"# {folder.name}\n\nA checkpoint without a card.\n"
    )
    return f"{text.rstrip()}\n\n## The folder `{folder}`\n\n{_files(files)}"


def _files(files: dict[str, int]) -> str:
    rows = [f"| {path} | {size(files[path])} |" for path in sorted(files)]
    return "\n".join(["| file | size |", "|---|---|", *rows]) + "\n"
