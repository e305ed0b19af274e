"""`moon-zoo cache`: what the zoo keeps on disk; list it, clean it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import is_terminal, print_json, print_table, say
from moon_zoo.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from moon_zoo.hub.housekeeping import Kept

summary = "what the zoo keeps on disk; list it, clean it"

DESCRIPTION = """\
List or clean what the zoo keeps under MOON_ZOO_CACHE (~/.cache/moon_zoo): checkpoints of hubs, shards of remote sets,
simulated shops, and what was left unfinished. All of it can be fetched or made again. Nothing else in that folder is touched.
"""

EXAMPLES = """\
  moon-zoo cache                                    what there is
  moon-zoo cache clean dual_flow/shop               a checkpoint, all its revisions
  moon-zoo cache clean shards shop --yes            kinds: checkpoint, shards, shop, unfinished
  moon-zoo cache clean --older-than 30 --yes        what was not used for a month
  moon-zoo cache clean --all                        everything; asks first
"""

ACTIONS = ("list", "clean")
SECONDS_PER_DAY = 86_400


def run(args: list[str]) -> int:
    """List or clean the cache."""
    options = _parser().parse_strict(args)
    if options.action not in ACTIONS:
        raise UsageError(
            f"nothing called {options.action!r} to do with the cache",
            where="moon-zoo cache",
            suggestions=did_you_mean(options.action, ACTIONS),
            change="the word; known: list, clean",
        )
    from moon_zoo.hub.housekeeping import kept

    things = kept()
    if options.action == "list":
        _check_list(options)
        _show(things, options.json)
        return 0
    return _clean(_chosen(things, options), options)


def _parser() -> Arguments:
    parser = Arguments("cache", DESCRIPTION, EXAMPLES)
    parser.add_argument("action", nargs="?", default="list", metavar="list|clean", help="list when left out")
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to clean: names or kinds from the list")
    parser.add_argument("--older-than", type=_days, metavar="DAYS", help="clean only what was not used for so long")
    parser.add_argument("--all", action="store_true", help="clean everything")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _check_list(options: argparse.Namespace) -> None:
    if options.names or options.all or options.older_than is not None:
        raise UsageError(
            "names, --all and --older-than say what to clean",
            where="moon-zoo cache",
            change="`moon-zoo cache clean ...`",
        )


def _show(things: list[Kept], as_json: bool) -> None:
    from moon_zoo.cli.pack import size
    from moon_zoo.data.cache import cache_root

    total = sum(thing.bytes for thing in things)
    if as_json:
        rows = [
            {
                "kind": thing.kind,
                "name": thing.name,
                "bytes": thing.bytes,
                "used": int(thing.used),
                "path": str(thing.path),
                "hub": thing.hub,
            }
            for thing in things
        ]
        print_json({"cache": str(cache_root()), "bytes": total, "things": rows})
        return
    cells = [
        [thing.kind, thing.name, size(thing.bytes), _ago(thing.used), thing.hub]
        for thing in things
        if thing.kind != "shards"
    ]
    shards = [thing for thing in things if thing.kind == "shards"]
    if shards:  # thousands of files, of which only the sum is worth a line
        used = _ago(max(thing.used for thing in shards))
        cells.append(
            [
                "shards",
                f"{len(shards)} file{'s' if len(shards) != 1 else ''}",
                size(sum(thing.bytes for thing in shards)),
                used,
                "",
            ]
        )
    print_table(str(cache_root()), ["kind", "name", "size", "last used", "hub"], cells, right=(2,))
    say(f"{size(total)} in {cache_root()}" if cells else f"nothing in {cache_root()}")


def _ago(used: float) -> str:
    days = max(0.0, time.time() - used) / SECONDS_PER_DAY
    if days < 1:
        return f"{int(days * 24)} h ago" if days >= 1 / 24 else "just now"
    return f"{int(days)} days ago" if days >= 2 else "1 day ago"


def _chosen(things: list[Kept], options: argparse.Namespace) -> list[Kept]:
    if not options.names and not options.all and options.older_than is None:
        raise UsageError(
            "nothing said about what to clean",
            where="moon-zoo cache clean",
            change="the command: names or kinds from `moon-zoo cache`, --older-than DAYS, or --all",
        )
    chosen = things
    if options.names:
        chosen = []
        for name in options.names:
            matching = [thing for thing in things if _is_called(thing, name)]
            if not matching and name not in _KINDS:
                known = {word for thing in things for word in (thing.kind, thing.name, thing.name.partition("@")[0])}
                raise UsageError(
                    f"nothing in the cache is called {name!r}",
                    where="moon-zoo cache clean",
                    suggestions=did_you_mean(name, known),
                    change="the name; `moon-zoo cache` lists what there is",
                )
            chosen += [thing for thing in matching if thing not in chosen]
    if options.older_than is not None:
        limit = time.time() - options.older_than * SECONDS_PER_DAY
        chosen = [thing for thing in chosen if thing.used < limit]
    return chosen


_KINDS = ("checkpoint", "checkpoints", "shards", "shop", "unfinished")


def _is_called(thing: Kept, name: str) -> bool:
    return name.removesuffix("/") in (thing.kind, f"{thing.kind}s", thing.name, thing.name.partition("@")[0])


def _clean(chosen: list[Kept], options: argparse.Namespace) -> int:
    from moon_zoo.cli.pack import size
    from moon_zoo.hub.housekeeping import remove

    if chosen and not options.yes:
        _ask(chosen)
    try:
        gone, busy = remove(chosen)
    except OSError as error:
        raise UsageError(
            f"the cache cannot be cleaned: {error.strerror or error}",
            where=str(error.filename or ""),
            change="the rights of that folder, or MOON_ZOO_CACHE",
        ) from error
    for thing in busy:
        say(f"left alone, another process is writing it: {thing.name}")
    freed = sum(thing.bytes for thing in gone)
    if options.json:
        print_json({"removed": [thing.name for thing in gone], "busy": [thing.name for thing in busy], "bytes": freed})
    else:
        for thing in gone:
            print(f"removed\t{thing.name}\t{size(thing.bytes)}" if not is_terminal() else f"removed {thing.name}")
        say(f"{size(freed)} freed")
    return 0


def _ask(chosen: list[Kept]) -> None:
    from moon_zoo.cli.pack import size

    what = f"{len(chosen)} thing{'s' if len(chosen) != 1 else ''}, {size(sum(thing.bytes for thing in chosen))}"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{what}, would be removed, and nobody can be asked", where="moon-zoo cache clean", change="add --yes"
        )
    for thing in chosen[:20]:
        say(f"  {thing.name}  {size(thing.bytes)}")
    if len(chosen) > 20:
        say(f"  and {len(chosen) - 20} more")
    say(f"remove {what}? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was removed", where="moon-zoo cache clean")
