"""Acme's product feed as a source for `moon-zoo pack`: one product a line, fields as ``name=value`` between bars.

    # feed 2
    sku=A-0017 | family=A-001 | name=Round mug | path=kitchen/mugs | colour=red | pictures=A-0017.jpg;A-0017-b.jpg

A source turns its data into `Product`s; splits, photos, shards, the manifest and the command line are the zoo's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from moon_zoo import Product
from moon_zoo.errors import DataError, Faults, ZooError, did_you_mean
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of
from moon_zoo.sources.photos import PhotoReader, find_photos
from moon_zoo.sources.splits import assign, parse_fractions, shuffled
from moon_zoo.sources.tree import open_tree

FIELDS = ("sku", "family", "name", "path", "pictures", "colour", "size")
ATTRIBUTES = ("colour", "size")


@dataclass(frozen=True)
class Line:
    """One product of the feed; empty where it says nothing."""

    number: int
    sku: str
    name: str
    family: str = ""
    path: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


class AcmeFeedSource(PhotoSource):
    """Acme's product feed: one product a line, fields as name=value between bars.

    Args:
        feed: The feed, a text file.
        pictures: Folder that the feed's pictures are relative to; the feed's own by default.
        fractions: Splits and their fractions. Variants of one family stay together.
        seed: Seed of the split and of the order of samples.
        on_error: raise, or skip to leave out products whose pictures cannot be used, and count them.
    """

    summary = "Acme's product feed"
    kind = "product"
    example = "moon-zoo pack acme_feed feed/feed.txt --to shards/acme"
    licence = "Acme's own"

    def __init__(
        self,
        feed: Path,
        *,
        pictures: Path | None = None,
        fractions: str = "train=.8,val=.1,test=.1",
        seed: int = 0,
        on_error: str = "raise",
    ) -> None:
        tree = open_tree(feed.parent if pictures is None else pictures, "--pictures")
        super().__init__(PhotoReader(tree), on_error=on_error)
        self.feed = feed
        self.fractions = parse_fractions(fractions)
        self.seed = seed
        self.description = f"Acme's feed {feed.name}"

    def read(self) -> Iterator[Packed]:
        """Yield every product, in a seeded order."""
        lines = {line.sku: line for line in read_feed(self.feed)}
        wanted = [picture for line in lines.values() for picture in line.pictures]
        found = find_photos(self.photos.tree, wanted, self.on_error, "--pictures", where=str(self.feed))
        splits = assign((line.family or line.sku for line in lines.values()), self.fractions, self.seed)
        self.total = len(lines)

        def build(sku: str) -> Packed:
            line = lines[sku]
            product = Product(
                item_id=line.sku,
                spu_id=line.family,
                title=line.name,
                category=line.path,
                attributes=line.attributes,
                photos=[self.photos.read(picture) for picture in line.pictures if picture in found],
            )
            return splits[line.family or line.sku], key_of(sku), product

        yield from self.packed(build, shuffled(lines, self.seed))


def read_feed(path: Path) -> list[Line]:
    """The feed's products, in its order. Empty lines and those that begin with ``#`` say nothing.

    Raises:
        DataError: The feed cannot be read or holds no product.
        Faults: Lines that are wrong, all of them.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the feed cannot be read: {error}", where=str(path), change="FEED") from None
    lines: dict[str, Line] = {}
    faults: list[ZooError] = []
    for number, words in enumerate(text.splitlines(), 1):
        if not words.strip() or words.lstrip().startswith("#"):
            continue
        try:
            line = parse_line(words, number)
            if line.sku in lines:
                raise DataError(f"the sku {line.sku} is on line {lines[line.sku].number} already")
            lines[line.sku] = line
        except DataError as error:
            where = f"{path}, line {number}"
            faults.append(DataError(error.what, where=where, change="that line", suggestions=error.suggestions))
    if faults:
        raise Faults(faults)
    if not lines:
        raise DataError("the feed holds no product", where=str(path), change="FEED")
    return list(lines.values())


def parse_line(words: str, number: int) -> Line:
    """One line of the feed.

    Raises:
        DataError: A field is unknown, comes twice, or is no ``name=value``; or there is no sku or name.
    """
    cells: dict[str, str] = {}
    for cell in words.split("|"):
        name, equals, value = (part.strip() for part in cell.partition("="))
        if not equals:
            raise DataError(f"{cell.strip()!r} is no name=value")
        if name not in FIELDS:
            raise DataError(f"unknown field {name!r}", suggestions=did_you_mean(name, FIELDS))
        if name in cells:
            raise DataError(f"the field {name} comes twice")
        cells[name] = value
    missing = [name for name in ("sku", "name") if not cells.get(name)]
    if missing:
        raise DataError(f"there is no {' and no '.join(missing)}")
    return Line(
        number,
        sku=cells["sku"],
        name=cells["name"],
        family=cells.get("family", ""),
        path=tuple(filter(None, cells.get("path", "").split("/"))),
        pictures=tuple(filter(None, (picture.strip() for picture in cells.get("pictures", "").split(";")))),
        attributes={name: cells[name] for name in ATTRIBUTES if cells.get(name)},
    )
