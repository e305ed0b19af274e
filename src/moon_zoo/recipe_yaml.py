"""YAML with a memory: every value of a recipe knows the file and line it was written at.

The YAML is PyYAML's safe kind (1.1), except that ``1e-3`` is a number, a date stays a text, and a dictionary may carry the
tag ``!replace``. A key that stands twice, any other tag, keys that are no text and aliases without end are refused with
their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moon_zoo.errors import RecipeError

if TYPE_CHECKING:
    import yaml

MAX_NODES = 100_000
"""A recipe's values at most, aliases counted each time: a few nested aliases could otherwise fill the memory."""

REPLACE = "!replace"
"""The tag of a dictionary that takes the place of the one below it instead of merging with it."""

Key = str | int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and line, or an option of the command line."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, line {self.line}"


@dataclass(slots=True)
class Node:
    """A value of a recipe with its origin: a dictionary or list of nodes, or a scalar.

    Args:
        value: ``dict[str, Node]``, ``list[Node]`` or a scalar.
        origin: Where it was written.
        text: What was typed, for values of the command line: a title may look like a number.
        replaces: A dictionary written as ``!replace {...}``.
    """

    value: Any
    origin: Origin
    text: str | None = None
    replaces: bool = False

    def plain(self) -> Any:
        """The value without origins."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def get(self, *path: Key) -> Node | None:
        """The node at ``path``, or None."""
        node: Node = self
        for key in path:
            children = node.value
            in_list = isinstance(children, list) and isinstance(key, int) and key < len(children)
            if not in_list and not (isinstance(children, dict) and key in children):
                return None
            node = children[key]
        return node

    def walk(self, path: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], Node]]:
        """Every node below this one with its path, this one first."""
        yield path, self
        children: Iterable[tuple[Key, Node]] = ()
        if isinstance(self.value, dict):
            children = self.value.items()
        elif isinstance(self.value, list):
            children = enumerate(self.value)
        for key, child in children:
            yield from child.walk((*path, key))


def parse(text: str, file: str) -> Node:
    """YAML text to nodes with their lines.

    Raises:
        RecipeError: It is no YAML, holds a key twice, or a tag that would build an object.
    """
    import yaml

    try:
        loader = _loader_class()(text)
        try:
            document = loader.get_single_node()
            if document is None:
                return Node({}, Origin(file, 1))
            return _Reader(loader, file).node(document, ())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        context = getattr(error, "context", None)
        raise RecipeError(
            f"this is no YAML: {problem}" + (f" ({context})" if context else ""),
            where=str(Origin(file, mark.line + 1 if mark is not None else None)),
            change="the indentation, colon or quote there or on the line before",
        ) from None


_EXPONENT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _loader_class() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, with ``1e-3`` as a number and dates as strings."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(*_EXPONENT)
    return Loader


class _Reader:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self.loader = loader
        self.file = file
        self.count = 0

    def node(self, source: Any, above: tuple[int, ...], line: int | None = None) -> Node:
        import yaml

        origin = Origin(self.file, (source.start_mark.line if line is None else line) + 1)
        self.count += 1
        if self.count > MAX_NODES or id(source) in above:
            raise RecipeError(
                f"aliases make more than {MAX_NODES:,} values", where=str(origin), change="the aliases (*)"
            )
        above = (*above, id(source))
        if isinstance(source, yaml.MappingNode):
            replaces = source.tag == REPLACE
            if not replaces:
                self._refuse_tag(source, "map", origin)
            return Node(self._mapping(source, above), origin, replaces=replaces)
        if source.tag == REPLACE:
            raise RecipeError(
                f"{REPLACE} stands before something that is no dictionary",
                where=str(origin),
                change=f"{REPLACE}; leave it out, since lists and single values are replaced anyway",
            )
        if isinstance(source, yaml.SequenceNode):
            self._refuse_tag(source, "seq", origin)
            return Node([self.node(child, above) for child in source.value], origin)
        return Node(self.loader.construct_object(source), origin)

    def _mapping(self, source: Any, above: tuple[int, ...]) -> dict[str, Node]:
        self._refuse_duplicates(source)
        self.loader.flatten_mapping(source)  # resolves `<<: *anchor`; what is inherited so comes first
        result = {}
        for key_node, value_node in source.value:
            key = self.loader.construct_object(key_node)
            if not isinstance(key, str):
                raise RecipeError(
                    f"the key {key!r} is not a text",
                    where=str(Origin(self.file, key_node.start_mark.line + 1)),
                    change="the key; put it in quotes if it is meant so",
                )
            result[key] = self.node(value_node, above, key_node.start_mark.line)
        return result

    def _refuse_duplicates(self, source: Any) -> None:
        lines: dict[str, int] = {}
        for key_node, _ in source.value:
            line = key_node.start_mark.line + 1
            if key_node.value in lines and key_node.tag != "tag:yaml.org,2002:merge":
                raise RecipeError(
                    f"the key {key_node.value!r} stands twice in one place, on lines {lines[key_node.value]} and {line}",
                    where=str(Origin(self.file, line)),
                    change="one of the two; only the last would count",
                )
            if isinstance(key_node.value, str):
                lines[key_node.value] = line

    def _refuse_tag(self, source: Any, kind: str, origin: Origin) -> None:
        if source.tag != f"tag:yaml.org,2002:{kind}":
            raise RecipeError(
                f"the tag {source.tag.replace('tag:yaml.org,2002:', '!!')!r} is not allowed in recipes: they hold plain values",
                where=str(origin),
                change="the tag; an object is written as class_path and init_args",
            )


def dump(values: dict[str, Any]) -> str:
    """Plain values as YAML that `parse` reads back as they are, keys in their order."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes a text such as ``1e3``, which our loader would take for a number."""

    Dumper.add_implicit_resolver(*_EXPONENT)
    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
