"""MBE, the benchmark that MOON is measured on: products of Taobao with a photo, a title, categories and attributes.

Source: Zhang et al. 2025, "MOON: Generative MLLM-based Multimodal Representation Learning for E-commerce Product
Understanding", arXiv:2508.11999; published as ``Daoze/MM-Bench-E-Commerce`` on the Hugging Face hub, Apache-2.0. Columns of a
product are ``id, doc_title, doc_image, doc_industry_name, doc_cate1_name ... doc_cate4_name, doc_attributes``, the last as
``key:value,,key:value`` with ``!!!`` between several values of one key.

The columns that are published name products only. Should a table also have a query (``query_image``, ``query_title`` or
others that are named), its rows are searches: a query and the product that was bought.

Not run on the published files themselves: they need the network. The layout is tested with rows made up in it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.split_names import SPLIT_NAMES
from moon_zoo.data.tables.logs import TABLE_SUFFIXES
from moon_zoo.data.tables.rows import Cell, Table, open_table
from moon_zoo.data.wording import many
from moon_zoo.errors import DataError, UsageError, ZooError, did_you_mean
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of
from moon_zoo.sources.photos import PhotoReader
from moon_zoo.sources.tree import FileTree, open_tree

ITEM_COLUMNS = ("id", "doc_title", "doc_image")
CATEGORIES = ("doc_industry_name", *(f"doc_cate{level}_name" for level in range(1, 5)))
ATTRIBUTES = "doc_attributes"
QUERY_PHOTOS, QUERY_TEXTS = ("query_image",), ("query_title", "query_text", "query")
ITEMS = "items"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_SHORTEST_BASE64 = 64
"""Characters below which a text is a path: the smallest photo has more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        split: What its file is called after.
        name: File and number, the key of a search.
        where: File and line, for messages.
        cells: Column to cell.
        attributes: Read from its cell.
    """

    split: str
    name: str
    where: str
    cells: Mapping[str, Cell]
    attributes: dict[str, str]

    def text(self, column: str) -> str:
        """A cell as text; empty where there is none."""
        cell = self.cells.get(column)
        return cell if isinstance(cell, str) else ""


class MbeSource(PhotoSource):
    """MBE, MOON's benchmark of products (MM-Bench-E-Commerce), as published, or any table in its columns.

    Photos stand in the column doc_image: as bytes (Parquet), as base64, as paths below --photo-root, or as URLs whose photos
    were downloaded there under their own file names. Nothing is downloaded here. The category is the path from
    doc_industry_name to doc_cate4_name; several values of one attribute stay together, with " / " between them.

    With a query column the rows are searches, and each product is also written once, in the split items.

    Args:
        path: A table (.parquet, .jsonl, .json, .csv, also .gz), or a folder of them; splits are read from their names, such
            as data/test-00000-of-00012.parquet, and are test where those tell nothing.
        photo_root: Folder or tar of photos; the table's folder by default.
        query_photo: Column of the query's photo; query_image is found by itself.
        query_text: Column of the query's words; query_title, query_text and query are found by themselves.
        max_rows: Read only so many rows of each file; 0 reads all.
        max_side: Shrink larger photos to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk photos, 1 to 95.
        check_photos: Decode every photo once, so that a broken one is found now.
        on_error: raise, or skip to leave out products whose photo is missing or cannot be used, and count them.
        workers: Threads that read photos; all cores by default.
    """

    summary: ClassVar[str] = "MBE, MOON's benchmark of products"
    example: ClassVar[str] = "moon-zoo pack mbe MM-Bench-E-Commerce --photo-root photos --to shards/mbe"

    licence = "Apache-2.0"
    description = (
        "MBE (MM-Bench-E-Commerce); Zhang et al. 2025, MOON: Generative MLLM-based Multimodal Representation Learning for "
        "E-commerce Product Understanding, arXiv:2508.11999"
    )

    def __init__(
        self,
        path: Path,
        *,
        photo_root: Path | None = None,
        query_photo: str | None = None,
        query_text: str | None = None,
        max_rows: int = 0,
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
    ) -> None:
        path = Path(path)
        root = photo_root or (path if path.is_dir() else path.parent)
        self.tables, left_alone = _tables(path)
        self.tree = open_tree(root, "--photo-root")
        super().__init__(PhotoReader(self.tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        if max_rows < 0:
            raise UsageError(f"{max_rows} rows cannot be read", change="--max-rows")
        self.max_rows = max_rows
        columns = self.tables[0][1].columns
        self.query_photo = _query_column(columns, query_photo, QUERY_PHOTOS, "--query-photo")
        self.query_text = _query_column(columns, query_text, QUERY_TEXTS, "--query-text")
        self.kind = "product" if self.query_photo is None and self.query_text is None else "search"
        self.notes += [f"left alone, no table of MBE: {name}" for name in left_alone]
        self._nameless = 0
        self._written: set[tuple[str, str]] = set()

    def read(self) -> Iterator[Packed]:
        """Yield the products, or each search and each new item, in the tables' order."""
        for packed in self.packed(self._pack, self._rows()):
            yield packed
            if isinstance(packed[2], Search):
                item = packed[2].item
                if self._is_new(ITEMS, item.item_id):
                    yield ITEMS, key_of(item.item_id), item
        if self._nameless:
            self.notes.append(f"{many(self._nameless, 'attribute')} without a name left out (no ':' in {ATTRIBUTES})")

    def _rows(self) -> Iterator[Row]:
        """Rows that give a sample; a product that comes again is counted and left out."""
        for split, table in self.tables:
            columns = [name for name in self._wanted() if name in table.columns]
            for count, (number, cells) in enumerate(table.rows(columns)):
                if self.max_rows and count >= self.max_rows:
                    break
                row = self._row(split, table, number, dict(zip(columns, cells, strict=True)))
                if not row.text("id"):
                    self._refuse(
                        DataError("a row without an id", where=row.where, change="the row"), "row without an id"
                    )
                elif self.kind == "search" or self._is_new(split, row.text("id")):
                    yield row
                else:
                    self.skipped["product that came before"] += 1

    def _row(self, split: str, table: Table, number: int, cells: dict[str, Cell]) -> Row:
        text = cells.get(ATTRIBUTES)
        attributes, nameless = parse_attributes(text if isinstance(text, str) else "")
        self._nameless += nameless
        return Row(split, f"{table.path.name.partition('.')[0]}-{number:08d}", table.where(number), cells, attributes)

    def _is_new(self, split: str, item_id: str) -> bool:
        known = (split, item_id) in self._written
        self._written.add((split, item_id))
        return not known

    def _wanted(self) -> list[str]:
        queries = [name for name in (self.query_photo, self.query_text) if name is not None]
        return list(dict.fromkeys([*ITEM_COLUMNS, *CATEGORIES, ATTRIBUTES, *queries]))

    def _refuse(self, error: DataError, reason: str) -> None:
        if self.on_error == "raise":
            raise error
        self.skipped[reason] += 1

    def _pack(self, row: Row) -> Packed:
        """A row as a sample; called in threads."""
        product = self._product(row)
        if self.kind == "product":
            return row.split, key_of(product.item_id), product
        photo = None if self.query_photo is None or not row.cells.get(self.query_photo) else self.query_photo
        words = (row.text(self.query_text) or None) if self.query_text is not None else None
        if photo is None and words is None:
            raise DataError("a search with neither words nor a photo", where=row.where, change="the row")
        search = Search(product, query_text=words, query_photo=None if photo is None else self._photo(row, photo))
        return row.split, key_of(row.name), search

    def _product(self, row: Row) -> Product:
        names = [row.text(column) for column in CATEGORIES]
        # A level that repeats the one above it says nothing new.
        path = [name for level, name in enumerate(names) if name and (level == 0 or name != names[level - 1])]
        return Product(
            item_id=row.text("id"),
            title=row.text("doc_title"),
            photos=[self._photo(row, "doc_image")],
            category=tuple(path),
            attributes=row.attributes,
        )

    def _photo(self, row: Row, column: str) -> bytes:
        cell = row.cells.get(column)
        try:
            content = embedded(cell)
            if content is None:
                return self.photos.read(_named(cell, self.tree, column))
            return self.photos.prepare(content)
        except ZooError as error:
            raise DataError(
                f"cannot use the photo in {column}: {error.what}",
                where=row.where,
                change=error.change or "the row, or --on-error skip, which leaves such products out and counts them",
            ) from error


def parse_attributes(text: str) -> tuple[dict[str, str], int]:
    """``"brand:Elmora,,colour:red!!!blue"`` as ``{"brand": "Elmora", "colour": "red / blue"}``, and how many had no name.

    A name that comes twice keeps all its values, each once.
    """
    values: dict[str, dict[str, None]] = {}
    nameless = 0
    for pair in filter(None, (part.strip() for part in text.split(",,"))):
        name, colon, several = pair.partition(":") if ":" in pair else pair.partition("\uff1a")  # the full-width colon
        if not colon or not name.strip():
            nameless += 1
            continue
        found = values.setdefault(name.strip(), {})
        found.update(dict.fromkeys(filter(None, (value.strip() for value in several.split("!!!")))))
    return {name: " / ".join(found) for name, found in values.items() if found}, nameless


def embedded(cell: Cell) -> bytes | None:
    """The photo that a cell holds itself, as bytes in an object, a data URL or base64; None where it names a file.

    Raises:
        DataError: The cell begins like a data URL and is none.
    """
    if isinstance(cell, dict):  # Hugging Face's image: {"bytes": ..., "path": ...}
        content = cell.get("bytes")
        return content if isinstance(content, bytes) else embedded(content) if isinstance(content, str) else None
    if not isinstance(cell, str):
        return None
    url = _DATA_URL.match(cell)
    text = cell[url.end() :] if url is not None else cell
    if url is None and (len(text) < _SHORTEST_BASE64 or not re.fullmatch(r"[A-Za-z0-9+/\s]+=*\s*", text)):
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise DataError(f"it is no base64: {error}") from error


def _named(cell: Cell, tree: FileTree, column: str) -> str:
    """The path below the root of the photo that a cell names, by path or URL."""
    name = cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(name, str) or not name:
        raise DataError(f"{column} is empty")
    if "://" not in name and not name.startswith("//"):
        return name
    file = PurePosixPath(unquote(urlsplit(name).path)).name
    if not file or not tree.exists(file):
        raise DataError(
            f"it is the URL {name}, and {tree.root} holds no {file or 'such file'}",
            change="download the photos first, under their own file names, and name their folder: --photo-root; or "
            "--on-error skip",
        )
    return file


def _tables(path: Path) -> tuple[list[tuple[str, Table]], list[str]]:
    """Split and table of every file at a path, and the names of those that are something else."""
    if path.is_file():
        return [(_split(path, path.parent), _opened(path))], []
    if not path.is_dir():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path} does not exist", suggestions=did_you_mean(path.name, near), change="path")
    tables: list[tuple[str, Table]] = []
    others: dict[str, DataError] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and Path(file.name.removesuffix(".gz")).suffix in TABLE_SUFFIXES:
            try:
                tables.append((_split(file, path), _opened(file)))
            except DataError as error:  # a licence as text, a dataset's own description as JSON
                others[file.name] = error
    if not tables:
        raise next(
            iter(others.values()), DataError(f"{path} holds no tables ({', '.join(TABLE_SUFFIXES)})", change="path")
        )
    return tables, list(others)


def _split(file: Path, root: Path) -> str:
    """The split that a file's name begins with, or its folder's; else ``test``, the one that is published."""
    folders = [] if file.parent == root else [file.parent.name]
    for name in (file.name, *folders):
        word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return "test"


def _opened(file: Path) -> Table:
    table = open_table(file)
    table.bytes_as_text = True
    missing = [name for name in ITEM_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{file.name} lacks MBE's columns {', '.join(missing)}; it has {', '.join(table.columns[:12])}",
            where=str(file),
            suggestions=did_you_mean(missing[0], table.columns),
            change="path; a table with other columns is packed by: moon-zoo pack table",
        )
    return table


def _query_column(columns: list[str], named: str | None, known: tuple[str, ...], option: str) -> str | None:
    if named is not None and named not in columns:
        raise UsageError(
            f"there is no column {named!r}; there are {', '.join(columns)}",
            suggestions=did_you_mean(named, columns),
            change=option,
        )
    return named or next((name for name in known if name in columns), None)
