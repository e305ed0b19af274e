"""GroceryStoreDataset: phone photos taken in supermarkets, and one studio photo with texts per product.

Source: Klasson, Zhang and Kjellström 2019, "A Hierarchical Grocery Store Image Dataset with Visual and Semantic
Labels", WACV. https://github.com/marcusklasson/GroceryStoreDataset, MIT licence.

It becomes a search task: a customer's photo is the query, the class's product (studio photo, title, description) is
    the item.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import DataError
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of, readable
from moon_zoo.sources.photos import PhotoReader, find_photos
from moon_zoo.sources.splits import shuffled
from moon_zoo.sources.tree import FileTree, open_tree

COLUMNS = (
    "Class Name (str)",
    "Class ID (int)",
    "Coarse Class Name (str)",
    "Coarse Class ID (int)",
    "Iconic Image Path (str)",
    "Product Description Path (str)",
)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of train.txt, val.txt or test.txt."""

    split: str
    photo: str
    fine: int


class GroceryStoreSource(PhotoSource):
    """GroceryStoreDataset: photos from supermarkets as queries for 81 products with studio photos and texts.

    Writes items (the products), and train, val and, where test.txt is there, test (searches by photo). A product's
    category path is its department, coarse class and fine class.

    Args:
        path: The data set's folder, a clone of its repository, or a tar of either.
        seed: Seed of the order of samples.
        max_side: Shrink larger photos to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk photos, 1 to 95.
        check_photos: Decode every photo once, so that a broken one is found now.
        on_error: raise, or skip to leave out photos that are missing or cannot be used, and count them.
        workers: Threads that read photos; all cores by default.
    """

    summary = "GroceryStoreDataset: photos from supermarkets, 81 products"
    kind = "search"
    example = "moon-zoo pack grocery_store GroceryStoreDataset/dataset --to shards/grocery"

    licence = "MIT"
    description = (
        "GroceryStoreDataset; Klasson, Zhang and Kjellstrom 2019, A Hierarchical Grocery Store Image Dataset with "
        "Visual and Semantic Labels, WACV; https://github.com/marcusklasson/GroceryStoreDataset"
    )

    def __init__(
        self,
        path: Path,
        *,
        seed: int = 0,
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
    ) -> None:
        tree = open_tree(path)
        super().__init__(PhotoReader(tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        self.tree = tree
        self.seed = seed

    def read(self) -> Iterator[Packed]:
        """Yield the products as ``items``, then the photos of each split in a seeded order."""
        base = self._base()
        products = self._products(base)
        rows = [row for split in SPLITS for row in self._rows(base, split, set(products))]
        found = find_photos(
            self.tree, [row.photo for row in rows], self.on_error, "path", "train.txt, val.txt, test.txt"
        )
        if len(found) < len(rows):
            self.skipped["missing photo"] += len(rows) - len(found)
        self.total = len(products) + len(found)
        for product in products.values():
            yield "items", key_of(product.item_id), product

        def build(row: _Row) -> Packed:
            search = Search(item=products[row.fine], query_photo=self.photos.read(row.photo))
            return row.split, key_of(PurePosixPath(row.photo).stem), search

        by_photo = {row.photo: row for row in rows if row.photo in found}
        yield from self.packed(build, (by_photo[photo] for photo in shuffled(by_photo, self.seed)))

    def _base(self) -> PurePosixPath:
        """The folder of classes.csv: the root, or below it where someone gives the whole repository."""
        tables = sorted(
            (PurePosixPath(name) for name in self.tree.names() if PurePosixPath(name).name == "classes.csv"),
            key=lambda table: len(table.parts),
        )
        if not tables:
            raise DataError(
                f"no classes.csv in {self.tree.root}",
                change="path; it is the folder that holds classes.csv, train.txt and iconic-images-and-descriptions",
            )
        return tables[0].parent

    def _products(self, base: PurePosixPath) -> dict[int, Product]:
        where = f"{self.tree.root}, {base / 'classes.csv'}"
        reader = csv.DictReader(io.StringIO(_text(self.tree, str(base / "classes.csv"))), skipinitialspace=True)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"columns are missing: {', '.join(missing)} (found: {', '.join(reader.fieldnames or ())})", where=where
            )
        products: dict[int, Product] = {}
        for row in reader:
            fine = _number(row["Class ID (int)"], f"{where}, line {reader.line_num}")
            if fine in products:
                raise DataError(f"class {fine} stands there twice", where=f"{where}, line {reader.line_num}")
            products[fine] = self._product(base, row)
        if not products:
            raise DataError("there are no classes", where=where)
        return products

    def _product(self, base: PurePosixPath, row: dict[str, str]) -> Product:
        fine, coarse = row["Class Name (str)"], row["Coarse Class Name (str)"]
        iconic = PurePosixPath(row["Iconic Image Path (str)"].lstrip("/"))
        department = iconic.parts[1] if len(iconic.parts) > 2 else "Groceries"
        return Product(
            item_id=fine,
            title=readable(fine),
            description=self._description(base, row["Product Description Path (str)"].lstrip("/")),
            photos=[self.photos.read(str(base / iconic))],
            category=(department, coarse, fine),
        )

    def _description(self, base: PurePosixPath, path: str) -> str:
        """What the shop says about the product: its label and origin, then its description."""
        description = " ".join(_text(self.tree, str(base / path)).split())
        label: list[str] = []
        # The file of facts stands beside the description; one of the 81 has a hyphen where the others have an
        # underscore.
        for facts in (path.replace("_Description", "_Information"), path.replace("_Description", "-Information")):
            if facts != path and self.tree.exists(str(base / facts)):
                label = _facts(_text(self.tree, str(base / facts)), ("Title", "Country and volume"))
        return " ".join([*label, description]).strip()

    def _rows(self, base: PurePosixPath, split: str, classes: set[int]) -> list[_Row]:
        name = str(base / f"{split}.txt")
        if not self.tree.exists(name):
            if split == "train":
                raise DataError(f"no train.txt in {self.tree.root}", change="path")
            return []
        rows: list[_Row] = []
        for line, text in enumerate(_text(self.tree, name).splitlines(), 1):
            if not text.strip():
                continue
            where = f"{self.tree.root}, {name}, line {line}"
            fields = [field.strip() for field in text.split(",")]
            if len(fields) != 3:
                raise DataError(f"{text!r} is not: photo path, fine class, coarse class", where=where)
            fine = _number(fields[1], where)
            if fine not in classes:
                raise DataError(f"class {fine} is not in classes.csv", where=where)
            rows.append(_Row(split, str(base / fields[0]), fine))
        return rows


def _facts(text: str, wanted: tuple[str, ...]) -> list[str]:
    """The values of ``Name: value`` lines, as sentences."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = (" ".join(lines[name].split()).rstrip(".") for name in wanted if name in lines)
    return [f"{value}." for value in values if value]


def _number(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"{text!r} is no class number", where=where) from error


def _text(tree: FileTree, name: str) -> str:
    try:
        return tree.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 (byte {error.start})", where=str(tree.root)) from error
