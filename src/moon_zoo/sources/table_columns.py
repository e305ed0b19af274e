"""Which column of a table holds what: the column map, and a row of cells to a record of named fields."""

from __future__ import annotations

import fnmatch
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moon_zoo.data.tables.rows import Cell, Table
from moon_zoo.errors import DataError, UsageError, did_you_mean

FIELDS = {
    "item_id": "identity of the item",
    "spu_id": "identity shared by variants of a product",
    "title": "title",
    "description": "running text",
    "category": "category, or path of categories",
    "photo": "path of a photo, or several",
    "photo_role": "catalogue or user",
    "query_text": "words of a search",
    "query_photo": "photo of a search",
    "behaviour": "click, cart or purchase",
    "hard_negatives": "item ids shown beside and not chosen",
}
"""What a column can hold. A column of the field's own name needs no mapping."""


@dataclass(slots=True)
class Record:
    """A row by fields; texts are empty where the table has nothing."""

    number: int
    item_id: str = ""
    spu_id: str = ""
    title: str = ""
    description: str = ""
    category: tuple[str, ...] = ()
    photo: tuple[str, ...] = ()
    photo_role: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    group: str = ""
    split: str = ""
    query_text: str | None = None
    query_photo: str | None = None
    behaviour: str = ""
    hard_negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Fields to the columns that hold them, and how cells are taken apart.

    Args:
        fields: Field to its columns; several are joined (texts by a space, photos and categories as a list).
        attributes: Name of an attribute to its column.
        attributes_json: Column with a JSON object of attributes.
        group: Column whose equal values make one product.
        split: Column with the name of the split.
        photo_pattern: Path of the photo with columns in braces.
        photo_separator: What separates several photos in a cell.
        category_separator: What separates the steps of a category path.
    """

    fields: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, str] = field(default_factory=dict)
    attributes_json: str | None = None
    group: str | None = None
    split: str | None = None
    photo_pattern: str | None = None
    photo_separator: str | None = None
    category_separator: str = ">"

    @property
    def has_photos(self) -> bool:
        """Whether the table says where its items' photos are."""
        return "photo" in self.fields or self.photo_pattern is not None

    @property
    def is_search(self) -> bool:
        """Whether rows are searches rather than products."""
        return "query_text" in self.fields or "query_photo" in self.fields

    def columns(self) -> list[str]:
        """Every column that is read, each once."""
        wanted = [column for columns in self.fields.values() for column in columns]
        wanted += [*self.attributes.values(), *pattern_columns(self.photo_pattern)]
        wanted += [column for column in (self.attributes_json, self.group, self.split) if column is not None]
        return list(dict.fromkeys(wanted))

    def record(self, number: int, cells: Mapping[str, Cell], where: str) -> Record:
        """A row of the table by fields.

        Raises:
            DataError: A cell cannot be what its field is.
        """
        texts = {name: self._text(name, cells, where) for name in self.fields if name not in ("photo", "category")}
        return Record(
            number=number,
            item_id=texts.get("item_id", ""),
            spu_id=texts.get("spu_id", ""),
            title=texts.get("title", ""),
            description=texts.get("description", ""),
            photo_role=texts.get("photo_role", ""),
            behaviour=texts.get("behaviour", ""),
            query_text=texts.get("query_text") or None,
            query_photo=texts.get("query_photo") or None,
            hard_negatives=tuple(filter(None, re.split(r"[\s,;|]+", texts.get("hard_negatives", "")))),
            category=self._list("category", self.category_separator, cells),
            photo=self._photos(cells),
            attributes=self._attributes(cells, where),
            group=_plain(cells, self.group, where) if self.group is not None else "",
            split=_plain(cells, self.split, where) if self.split is not None else "",
        )

    def _text(self, name: str, cells: Mapping[str, Cell], where: str) -> str:
        parts = [cells[column] for column in self.fields[name]]
        if name == "hard_negatives":
            parts = [" ".join(map(str, part)) if isinstance(part, list) else part for part in parts]
        for column, part in zip(self.fields[name], parts):
            if isinstance(part, (list, dict)):
                raise DataError(f"the column {column} holds a list or object where {name} is a text", where=where)
        return " ".join(part for part in parts if isinstance(part, str))

    def _list(self, name: str, separator: str | None, cells: Mapping[str, Cell]) -> tuple[str, ...]:
        values: list[str] = []
        for column in self.fields.get(name, ()):
            cell = cells[column]
            if isinstance(cell, list):
                values += [str(value) for value in cell if value is not None]
            elif isinstance(cell, str):
                values += cell.split(separator) if separator else [cell]
        return tuple(value.strip() for value in values if value.strip())

    def _photos(self, cells: Mapping[str, Cell]) -> tuple[str, ...]:
        if self.photo_pattern is None:
            return self._list("photo", self.photo_separator, cells)
        values = {column: cells[column] for column in pattern_columns(self.photo_pattern)}
        if any(value is None for value in values.values()):
            return ()
        return (self.photo_pattern.format_map(values),)

    def _attributes(self, cells: Mapping[str, Cell], where: str) -> dict[str, str]:
        found = {name: str(cells[column]) for name, column in self.attributes.items() if cells[column] is not None}
        if self.attributes_json is not None:
            found |= _json_attributes(cells[self.attributes_json], self.attributes_json, where)
        return found


def resolve(
    table: Table,
    columns: str | Mapping[str, str],
    *,
    attributes: str = "",
    attributes_json: str | None = None,
    group: str | None = None,
    split: str | None = None,
    photo_pattern: str | None = None,
    photo_separator: str | None = None,
    category_separator: str = ">",
) -> ColumnMap:
    """The column map of a table: what was asked for, and columns that carry a field's own name.

    Raises:
        DataError: Columns are missing; all of them are named, with close matches and what the table has.
        UsageError: A field does not exist, or the map is not of the form ``field=column,field=column``.
    """
    mapping = dict(columns) if isinstance(columns, Mapping) else _parse_map(columns, "--columns")
    unknown = [name for name in mapping if name not in FIELDS]
    if unknown:
        raise UsageError(
            f"unknown field {unknown[0]!r}; fields are {', '.join(FIELDS)}",
            suggestions=did_you_mean(unknown[0], FIELDS),
            change="--columns FIELD=COLUMN",
        )
    known = set(table.columns)
    fields: dict[str, tuple[str, ...]] = {name: (name,) for name in FIELDS if name in known}
    if "photo" not in fields and "photos" in known:
        fields["photo"] = ("photos",)
    fields |= {name: (column,) if column in known else tuple(column.split("+")) for name, column in mapping.items()}
    if photo_pattern is not None:
        fields.pop("photo", None)
    if "item_id" not in fields and group is not None:
        fields["item_id"] = (group,)
    if "item_id" not in fields:
        fields["item_id"] = ("item_id",)
    result = ColumnMap(
        fields=fields,
        attributes=_attribute_columns(attributes, table.columns),
        attributes_json=attributes_json,
        group=group,
        split=split if split is not None else ("split" if "split" in known else None),
        photo_pattern=photo_pattern,
        photo_separator=photo_separator,
        category_separator=category_separator,
    )
    _all_there(result, table)
    return result


def pattern_columns(pattern: str | None) -> list[str]:
    """Columns named in a photo pattern such as ``photos/{sku}.jpg``.

    Raises:
        UsageError: A brace is not closed, or more than a plain column name stands between braces.
    """
    if pattern is None:
        return []
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UsageError(f"the photo pattern {pattern!r} is wrong: {error}", change="--photo-pattern") from error
    names = [name for _, name, *_ in parts if name is not None]
    odd = [name for _, name, form, conversion in parts if name is not None and (form or conversion or not name)]
    # `format` follows dots and brackets into objects; a pattern may only name columns.
    odd += [name for name in names if re.search(r"[.\[\]]", name)]
    if odd or not names:
        raise UsageError(
            f"the photo pattern {pattern!r} needs plain column names in braces, such as photos/{{sku}}.jpg",
            change="--photo-pattern",
        )
    return names


def _parse_map(text: str, option: str) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not (name and equals and column):
            raise UsageError(f"{part!r} is not FIELD=COLUMN", change=f"{option}, such as title=name,item_id=sku")
        mapping[name] = column
    return mapping


def _attribute_columns(text: str, columns: Sequence[str]) -> dict[str, str]:
    """``"colour,size=groesse,attr_*"`` to attribute names and their columns; a star's fixed part is not in the name."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        if "*" in part and part not in columns:
            matching = [column for column in columns if fnmatch.fnmatchcase(column, part)]
            if not matching:
                found_columns = ", ".join(columns)
                raise DataError(f"no column is called {part}", change=f"--attributes; the table has: {found_columns}")
            before, _, after = part.partition("*")
            found |= {column.removeprefix(before).removesuffix(after) or column: column for column in matching}
        else:
            name, equals, column = (piece.strip() for piece in part.partition("="))
            found[name] = column if equals else name
    return found


def _all_there(columns: ColumnMap, table: Table) -> None:
    missing = [column for column in columns.columns() if column not in table.columns]
    if not missing:
        return
    purpose = {column: name for name, several in columns.fields.items() for column in several}
    shown = [f"{column!r}" + (f" (for {purpose[column]})" if column in purpose else "") for column in missing]
    near = [match for column in missing for match in did_you_mean(column, table.columns)]
    raise DataError(
        f"{'a column is' if len(missing) == 1 else f'{len(missing)} columns are'} missing: {', '.join(shown)}",
        where=str(table.path),
        suggestions=list(dict.fromkeys(near)),
        change=f"--columns FIELD=COLUMN,...; the table has: {', '.join(table.columns)}",
    )


def _plain(cells: Mapping[str, Cell], column: str, where: str) -> str:
    cell = cells[column]
    if isinstance(cell, (list, dict)):
        raise DataError(f"the column {column} holds a list or object where a text is needed", where=where)
    return cell or ""


def _json_attributes(cell: Cell, column: str, where: str) -> dict[str, str]:
    try:
        value = json.loads(cell, parse_int=str, parse_float=str) if isinstance(cell, str) else cell
    except json.JSONDecodeError as error:
        what = f"the column {column} holds no JSON: {error.msg}"
        raise DataError(what, where=where, change="--attributes-json") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"the column {column} holds no JSON object", where=where, change="--attributes-json")
    return {str(name): _attribute_text(item) for name, item in value.items() if item is not None}


def _attribute_text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
