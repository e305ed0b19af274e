"""A table with a folder of photos: the source for catalogues and search logs that have no importer of their own.

The table's text is held in memory while packing, about a kilobyte a row; photos are read as they are written. That
allows any order of rows: the photos of a product may stand anywhere, and samples are written shuffled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.split_names import SPLIT_NAMES
from moon_zoo.data.tables.rows import Table, open_table
from moon_zoo.data.wording import counted, first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of
from moon_zoo.sources.photos import PhotoReader, find_photos
from moon_zoo.sources.splits import assign, parse_fractions, shuffled
from moon_zoo.sources.table_columns import ColumnMap, Record, resolve
from moon_zoo.sources.tree import open_tree

DEFAULT_FRACTIONS = "train=.8,val=.1,test=.1"
ITEMS = "items"
"""The split that holds each item of a table of searches once: what queries are searched in."""


class TableSource(PhotoSource):
    """A CSV, TSV, JSON lines or Parquet table with a folder of photos.

    One row is one product, or with group several rows (one per photo) are. A table with a column for query_text or
    query_photo holds searches instead: one row is a query with the item chosen, and each item is also written once,
    as a product of the split items.

    Fields are item_id, spu_id (shared by variants of a product), title, description, category, photo, photo_role,
    query_text, query_photo, behaviour and hard_negatives (item ids of the same table). Columns with these names are
    found by themselves.

    Args:
        path: The table: .csv, .tsv, .jsonl (each also with .gz) or .parquet.
        columns: Fields and the columns that hold them, such as title=name,item_id=sku. Several columns are joined with
            plus signs, such as title=brand+name or photo=front+back.
        attributes: Attribute columns, such as colour,size or attr_* (the name is what the star stands for) or
            colour=farbe.
        attributes_json: Column with a JSON object of attributes.
        group: Column that has the same value in all rows of one product, one row per photo.
        photo_root: Folder or tar that photo paths are relative to; the table's folder by default.
        photo_pattern: Path of the photo made from columns, such as photos/{sku}.jpg, where no column holds it.
        photo_separator: What separates several photo paths in one cell.
        photo_role: Role of all photos, catalogue or user; by default the first of a product is catalogue, others user.
        category_separator: What separates the steps of a category path in one cell.
        split_column: Column with each row's split; a column named split is found by itself.
        fractions: Splits and their fractions, used where there is no split column; train=.8,val=.1,test=.1 by
            default. All variants of one product (spu_id) fall into one split.
        seed: Seed of the split and of the order of samples.
        encoding: Text encoding of the table.
        delimiter: What separates the cells of a CSV; found from the header by default.
        max_side: Shrink larger photos to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk photos, 1 to 95.
        check_photos: Decode every photo once, so that a broken one is found now.
        on_error: raise, or skip to leave out products whose photos are missing or cannot be used, and count them.
        workers: Threads that read photos; all cores by default.
        licence: Licence of the data, kept in the manifest.
    """

    summary = "a CSV, TSV, JSON lines or Parquet table with a folder of photos"
    kind = "product"
    example = (
        "moon-zoo pack table products.csv --columns item_id=sku,title=name,photo=image --photo-root photos "
        "--to shards/mine"
    )

    def __init__(
        self,
        path: Path,
        *,
        columns: str | dict[str, str] = "",
        attributes: str = "",
        attributes_json: str | None = None,
        group: str | None = None,
        photo_root: Path | None = None,
        photo_pattern: str | None = None,
        photo_separator: str | None = None,
        photo_role: str | None = None,
        category_separator: str = ">",
        split_column: str | None = None,
        fractions: str | None = None,
        seed: int = 0,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
        licence: str = "not stated",
    ) -> None:
        path = Path(path)
        if split_column is not None and fractions is not None:
            raise UsageError("splits come from a column or from fractions", change="--split-column or --fractions")
        self.fractions = parse_fractions(DEFAULT_FRACTIONS if fractions is None else fractions)
        self.table = open_table(path, encoding=encoding, delimiter=delimiter)
        self.columns = resolve(
            self.table,
            columns,
            attributes=attributes,
            attributes_json=attributes_json,
            group=group,
            split=split_column,
            photo_pattern=photo_pattern,
            photo_separator=photo_separator,
            category_separator=category_separator,
        )
        if fractions is not None:
            self.columns = replace(self.columns, split=None)
        if group is not None and self.columns.is_search:
            raise UsageError("a table of searches has a row per query, so rows cannot be grouped", change="--group")
        tree = open_tree(path.parent if photo_root is None else photo_root, "--photo-root")
        super().__init__(PhotoReader(tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        self.kind = "search" if self.columns.is_search else "product"
        self.photo_role = photo_role
        self.seed = seed
        self.licence = licence
        self.description = f"the table {path.name}"

    def read(self) -> Iterator[Packed]:
        """Yield the products, or the items and the searches, in a seeded order."""
        records = _records(self.table, self.columns)
        if self.kind == "search":
            yield from self._searches(records)
        else:
            yield from self._products(records)

    def _products(self, records: list[Record]) -> Iterator[Packed]:
        merge = _grouped if self.columns.group is not None else _one_row_each
        products = {record.item_id: record for record in merge(records, self.table)}
        products = self._with_photos(products, [])
        splits = self._splits(products.values())
        self._note_shared(products.values(), splits)
        self.total = len(products)

        def build(item_id: str) -> Packed:
            return splits[products[item_id].number], key_of(item_id), self._product(products[item_id])

        yield from self.packed(build, shuffled(products, self.seed))

    def _searches(self, records: list[Record]) -> Iterator[Packed]:
        items: dict[str, Record] = {}
        for record in records:
            items.setdefault(record.item_id, record)
        _check_negatives(records, items, self.table)
        queries = [record.query_photo for record in records if record.query_photo is not None]
        items = self._with_photos(items, queries)
        usable = {str(record.number): record for record in records if self._usable(record, items)}
        self.skipped["search with missing photo"] += len(records) - len(usable)
        splits = self._splits(usable.values())
        self.total = len(items) + len(usable)

        def build_item(item_id: str) -> Packed:
            return ITEMS, key_of(item_id), self._product(items[item_id])

        def build(number: str) -> Packed:
            return splits[int(number)], f"{self.table.unit}-{int(number):08d}", self._search(usable[number], items)

        yield from self.packed(build_item, shuffled(items, self.seed))
        yield from self.packed(build, shuffled(usable, self.seed))

    def _with_photos(self, items: dict[str, Record], queries: list[str]) -> dict[str, Record]:
        """The items whose photos are there; under ``raise`` that is all of them, or an error counts the missing."""
        wanted = [photo for record in items.values() for photo in record.photo] + queries
        self._found = find_photos(self.photos.tree, wanted, self.on_error, where=str(self.table.path))
        if not self.columns.has_photos:
            return items
        bare = [record for record in items.values() if not record.photo]
        if bare and self.on_error == "raise":
            raise DataError(
                f"{counted(bare, 'product')} without a photo: {first_few([self.table.where(r.number) for r in bare])}",
                where=str(self.table.path),
                change="the rows, or --on-error skip, which leaves such products out and counts them",
            )
        kept: dict[str, Record] = {}
        for item_id, record in items.items():
            photos = tuple(photo for photo in record.photo if photo in self._found)
            self.skipped["missing photo"] += len(record.photo) - len(photos)
            if photos:
                kept[item_id] = replace(record, photo=photos)
            else:
                self.skipped["product without a photo"] += 1
        if not kept:
            raise DataError("no product has a photo", where=str(self.table.path), change="--photo-root")
        return kept

    def _usable(self, record: Record, items: Mapping[str, Record]) -> bool:
        return record.item_id in items and (record.query_photo is None or record.query_photo in self._found)

    def _product(self, record: Record) -> Product:
        role = record.photo_role or self.photo_role
        return Product(
            item_id=record.item_id,
            spu_id=record.spu_id,
            title=record.title,
            description=record.description,
            category=record.category,
            attributes=record.attributes,
            photos=[self.photos.read(photo) for photo in record.photo],
            photo_roles=[role] * len(record.photo) if role else [],
        )

    def _search(self, record: Record, items: Mapping[str, Record]) -> Search:
        return Search(
            item=self._product(items[record.item_id]),
            query_text=record.query_text,
            query_photo=None if record.query_photo is None else self.photos.read(record.query_photo),
            behaviour=record.behaviour or "purchase",
            hard_negatives=[self._product(items[item_id]) for item_id in record.hard_negatives if item_id in items],
        )

    def _splits(self, records: Iterable[Record]) -> dict[int, str]:
        """Number of a record to its split."""
        records = list(records)
        if self.columns.split is not None:
            return {record.number: _split_name(record, self.columns.split, self.table) for record in records}
        sides = assign((record.spu_id or record.item_id for record in records), self.fractions, self.seed)
        return {record.number: sides[record.spu_id or record.item_id] for record in records}

    def _note_shared(self, records: Iterable[Record], splits: Mapping[int, str]) -> None:
        sides: dict[str, set[str]] = {}
        for record in records:
            sides.setdefault(record.spu_id or record.item_id, set()).add(splits[record.number])
        shared = [spu for spu, names in sides.items() if len(names) > 1]
        if shared:
            self.notes.append(f"{counted(shared, 'SPU')} in more than one split: {first_few(shared)}")


def _records(table: Table, columns: ColumnMap) -> list[Record]:
    """All rows by fields.

    Raises:
        DataError: The table has no rows, or rows without an item id; all of those are counted.
    """
    names = columns.columns()
    records: list[Record] = []
    nameless: list[str] = []
    for number, cells in table.rows(names):
        record = columns.record(number, dict(zip(names, cells)), table.where(number))
        if record.item_id:
            records.append(record)
        else:
            nameless.append(table.where(number))
    if nameless:
        raise DataError(
            f"{counted(nameless, 'row')} without an item id: {first_few(nameless)}",
            where=str(table.path),
            change="the rows",
        )
    if not records:
        raise DataError(f"{table.path.name} has a header but no rows", where=str(table.path), change="path")
    return records


def _one_row_each(records: list[Record], table: Table) -> list[Record]:
    """The records themselves; an id that comes twice is a fault."""
    numbers: dict[str, list[int]] = {}
    for record in records:
        numbers.setdefault(record.item_id, []).append(record.number)
    twice = {item_id: places for item_id, places in numbers.items() if len(places) > 1}
    if twice:
        shown = [f"{item_id} ({table.unit}s {', '.join(map(str, places[:3]))})" for item_id, places in twice.items()]
        raise DataError(
            f"{counted(shown, 'item id')} in more than one row: {first_few(shown)}",
            where=str(table.path),
            change="the rows, or --group COLUMN where a product has one row per photo",
        )
    return records


def _grouped(records: list[Record], table: Table) -> list[Record]:
    """One record per group: the photos of all its rows, and for each other field its first value."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if not record.group:
            raise DataError("a row belongs to no group", where=table.where(record.number), change="--group")
        groups.setdefault(record.group, []).append(record)
    several = [name for name, rows in groups.items() if len({row.item_id for row in rows}) > 1]
    if several:
        raise DataError(
            f"{counted(several, 'group')} with more than one item id: {first_few(several)}",
            where=str(table.path),
            change="--group; a column shared by the variants of a product is --columns spu_id=COLUMN instead",
        )
    return _one_row_each([_merged(rows, table) for rows in groups.values()], table)


def _merged(rows: list[Record], table: Table) -> Record:
    splits = {row.split for row in rows}
    if len(splits) > 1:
        shown = ", ".join(sorted(split or "(empty)" for split in splits))
        raise DataError(f"the rows of group {rows[0].group} are in several splits: {shown}", where=str(table.path))
    roles = {row.photo_role for row in rows}
    if len(roles) > 1:
        raise DataError(f"the rows of group {rows[0].group} have several photo roles", where=str(table.path))
    first = {
        name: next((value for row in rows if (value := getattr(row, name))), getattr(rows[0], name))
        for name in ("spu_id", "title", "description", "category", "attributes")
    }
    photos = dict.fromkeys(photo for row in rows for photo in row.photo)
    return replace(rows[0], photo=tuple(photos), **first)


def _check_negatives(records: list[Record], items: Mapping[str, Record], table: Table) -> None:
    unknown = dict.fromkeys(name for record in records for name in record.hard_negatives if name not in items)
    if unknown:
        raise DataError(
            f"{counted(list(unknown), 'hard negative')} that no row has as its item: {first_few(list(unknown))}",
            where=str(table.path),
            suggestions=did_you_mean(next(iter(unknown)), items),
            change="the column of hard_negatives",
        )


def _split_name(record: Record, column: str, table: Table) -> str:
    name = SPLIT_NAMES.get(record.split.lower(), record.split)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise DataError(
            f"{record.split!r} cannot be the name of a split: letters, digits, _ and - can",
            where=f"{table.where(record.number)}, column {column}",
            change="--split-column",
        )
    return name
