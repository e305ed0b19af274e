"""`moon-zoo download`: fetch a checkpoint from a hub, verified."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import print_json, say
from moon_zoo.errors import UsageError

summary = "fetch a checkpoint from a hub, verified"

DESCRIPTION = """\
Fetch a checkpoint from a hub and print the folder it is in. Every file's sha256 is checked before it is used; a download
that broke off goes on where it ended. Other verbs fetch by themselves what they are given by name.

Hubs are asked in turn: those in MOON_ZOO_HUB (folders, https://, s3:// or other fsspec URLs, hf://owner/repo; separated by
spaces), then the one that ships with moon-zoo. Checkpoints are kept under MOON_ZOO_CACHE; a hub in a folder is used in
place. With MOON_ZOO_OFFLINE=1 nothing but the cache and folders is asked.
"""

EXAMPLES = """\
  moon-zoo download dual_flow/shop                              into the cache
  moon-zoo download dual_flow/shop --to my_shop                 into a folder
  moon-zoo download dual_flow/shop --hub https://host/hub       from this hub only
  moon-zoo download hf://owner/repo/dual_flow/shop              the same in one word
"""


def run(args: list[str]) -> int:
    """Fetch one checkpoint."""
    parser = Arguments("download", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", help="a checkpoint's name (`moon-zoo list checkpoints`), HUB#NAME, or its URL")
    parser.add_argument("--to", metavar="DIR", help="put it into this folder instead of the cache")
    parser.add_argument("--hub", help="ask this hub only")
    parser.add_argument("--offline", action="store_true", help="take it from the cache, ask no other machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no notes")
    options = parser.parse_strict(args)
    from moon_zoo.cli.pack import size
    from moon_zoo.hub.download import obtain
    from moon_zoo.hub.resolve import hub_and_name

    hub, name = hub_and_name(options.name)
    if hub is not None and options.hub is not None:
        raise UsageError(
            f"two hubs: {hub} and {options.hub}",
            where="moon-zoo download",
            change="--hub: leave it out, or give a name",
        )
    with _notes(shown=not options.quiet):
        found = obtain(
            name, hub=hub or options.hub, to=options.to, progress=not options.quiet, offline=options.offline or None
        )
    entry = found.entry
    if options.json:
        print_json(
            {
                "name": entry.name,
                "path": str(found.folder),
                "hub": found.hub,
                "revision": entry.revision,
                "bytes": entry.bytes,
                "class_path": entry.class_path,
                "licence": entry.licence,
                "fetched": found.fetched,
            }
        )
    else:
        print(found.folder)
    if not options.quiet:
        did = "fetched from" if found.fetched else "already here, verified; hub:"
        say(f"{entry.name}: {size(entry.bytes)}, licence {entry.licence or 'not stated'}, {did} {found.hub}")
    return 0


@contextlib.contextmanager
def _notes(shown: bool) -> Iterator[None]:
    """Second attempts and the like are logged as warnings, which Python shows on stderr."""
    log = logging.getLogger("moon_zoo")
    before = log.level
    if not shown:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
