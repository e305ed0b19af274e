"""What sets of prompts have in common: a table or a JSON list beside a folder of images, read row by row with its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from moon_zoo.data.conversations import Instruction
from moon_zoo.errors import DataError, did_you_mean
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of
from moon_zoo.sources.photos import PhotoReader, find_photos
from moon_zoo.sources.tree import FileTree, open_tree


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt on its way into shards.

    Args:
        split: Which set it belongs to.
        sample: The conversation, its image left out.
        image: Path of the image within the tree; None without one.
    """

    split: str
    sample: Instruction
    image: str | None


class PromptSource(PhotoSource):
    """A folder or tar of prompts, with or without images; a subclass yields `Asked` from `asked`.

    Args:
        path: The folder or tar; or, of sets without images, the table itself.
        max_side: Shrink larger images to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk images, 1 to 95.
        check_photos: Decode every image once.
        on_error: ``raise``, or ``skip`` to leave out prompts whose image is missing or cannot be used, and count them.
        workers: Threads that read images.
    """

    kind = "instruction"

    def __init__(
        self,
        path: Path,
        *,
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
    ) -> None:
        tree = open_tree(path)
        super().__init__(PhotoReader(tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        self.tree = tree

    def asked(self) -> Iterator[Asked]:
        """Every prompt, in the order of the files."""
        raise NotImplementedError

    def read(self) -> Iterator[Packed]:
        """Yield every prompt with its image, in the order of the files."""
        prompts = list(self.asked())
        wanted = [one.image for one in prompts if one.image is not None]
        found = find_photos(self.tree, wanted, self.on_error, "path", str(self.tree.root))
        kept = [one for one in prompts if one.image is None or one.image in found]
        if len(kept) < len(prompts):
            self.skipped["missing photo"] += len(prompts) - len(kept)
        self.total = len(kept)

        def build(one: Asked) -> Packed:
            if one.image is not None:
                one.sample.image = self.photos.read(one.image)
            return one.split, key_of(one.sample.conversation_id), one.sample

        yield from self.packed(build, kept)


def locate(tree: FileTree, *names: str) -> str | None:
    """The file of one of these names that lies nearest to the root, whatever the case of its letters; None for none."""
    wanted = {name.lower() for name in names}
    found = [name for name in tree.names() if PurePosixPath(name).name.lower() in wanted]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def located(tree: FileTree, *names: str) -> str:
    """As `locate`.

    Raises:
        DataError: There is no such file.
    """
    found = locate(tree, *names)
    if found is None:
        near = {PurePosixPath(name).name for name in tree.names()}
        raise DataError(
            f"there is no {' or '.join(names)} in {tree.root}",
            suggestions=did_you_mean(names[0], sorted(near)),
            change="path, to the folder or tar that the set's authors publish",
        )
    return found


def json_rows(tree: FileTree, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of each member of a JSON list.

    Raises:
        DataError: The file is no list of objects.
    """
    try:
        rows = json.loads(text_of(tree, name))
    except ValueError as error:
        raise DataError(f"{name} is no JSON: {error}", where=str(tree.root)) from error
    if not isinstance(rows, list):
        raise DataError(f"{name} holds no list of prompts but {type(rows).__name__}", where=str(tree.root))
    for number, row in enumerate(rows):
        where = f"{tree.root}, {name}, entry {number}"
        if not isinstance(row, dict):
            raise DataError(f"an entry is no object: {row!r:.60}", where=where)
        yield where, row


def csv_rows(tree: FileTree, name: str, columns: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells of each line of a CSV table, cells without spaces around them.

    Raises:
        DataError: A column is missing, or a line has too few cells or too many.
    """
    reader = csv.DictReader(io.StringIO(text_of(tree, name)))
    head = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = head
    missing = [column for column in columns if column not in head]
    if missing:
        raise DataError(
            f"columns are missing: {', '.join(missing)} (found: {', '.join(head)})", where=f"{tree.root}, {name}"
        )
    for row in reader:
        where = f"{tree.root}, {name}, line {reader.line_num}"
        beyond = [cell for cells in row.values() if isinstance(cells, list) for cell in cells]
        if beyond or any(row[column] is None for column in columns):
            cells = sum(isinstance(cell, str) for cell in row.values()) + len(beyond)
            raise DataError(
                f"the line has {cells} cells, the head {len(head)}", where=where, change="the line's quotes"
            )
        yield where, {column: (cell or "").strip() for column, cell in row.items() if isinstance(column, str)}


def text_at(row: Mapping[str, Any], name: str, where: str) -> str:
    """A field that must hold a text.

    Raises:
        DataError: It is missing, empty or something else.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"the field {name} holds no text: {value!r:.60} (fields: {', '.join(row)})", where=where)
    return value.strip()


def beside(name: str, *parts: str) -> str:
    """A path in the folder of the file ``name``."""
    return str(PurePosixPath(name).parent.joinpath(*parts))


def first_there(tree: FileTree, paths: Sequence[str]) -> str:
    """The first of these paths that is there; the first of all where none is, so that its absence is told by its name."""
    return next((path for path in paths if tree.exists(path)), paths[0])


def text_of(tree: FileTree, name: str) -> str:
    """A file as text.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return tree.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 (byte {error.start})", where=str(tree.root)) from error
