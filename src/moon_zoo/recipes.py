"""Recipes: finding them by name, inheriting with ``base:``, merging several.

A recipe is a YAML file with the keys ``model``, ``data``, ``trainer`` and ``seed_everything``, as LightningCLI reads
them, and ``base``: one or more recipes to start from. Three rules of merging:

- dictionaries merge key by key, anything else (lists too) is replaced by the later recipe, and so is a dictionary that the
  later recipe writes as ``!replace {...}``;
- where a later recipe names another ``class_path``, the former class's ``init_args`` are dropped;
- short names of the registry (``class_path: dual_flow``, or just ``model: dual_flow``) stand for the full path.

Every value remembers where it was written (`moon_zoo.recipe_yaml`), for messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from moon_zoo import registry
from moon_zoo.errors import RecipeError, UsageError, did_you_mean
from moon_zoo.recipe_yaml import Key, Node, Origin, parse

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
"""Keys of a dictionary that stands for an object."""

NAMED_CLASSES = {"model": "models", "data": "data"}
"""Top-level key to the registry group whose short names it accepts."""


@dataclass(slots=True)
class Recipe:
    """A merged recipe.

    Args:
        name: The shipped name or the file's stem, of the recipe named first.
        tree: Its values with their origins; ``base`` is gone.
        files: Every file that went in, bases first.
    """

    name: str
    tree: Node
    files: list[Path] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        """Plain values, as LightningCLI takes them."""
        return self.tree.plain()

    def origin(self, *path: Key) -> str | None:
        """Where ``path`` was written, for messages; that of its nearest parent when it was not."""
        for length in range(len(path), 0, -1):
            node = self.tree.get(*path[:length])
            if node is not None:
                return str(node.origin)
        return None


# finding ---------------------------------------------------------------------------------------------------------------


def own_root() -> Path:
    """The folder of the recipes that ship with this package: the checkout's, or the copy inside the wheel."""
    package = Path(__file__).parent
    shipped = package / "_shipped" / "recipes"
    return shipped if shipped.is_dir() else package.parents[1] / "recipes"


def roots() -> dict[str, Path]:
    """Prefix to folder: our own recipes have no prefix, those of another package its entry point's name.

    The entry point (group ``moon_zoo.recipes``) names a package whose folder holds the YAML files: ``acme = acme.recipes``, or
    ``acme = acme:recipes`` for a folder that is no package. Its recipes are then called ``acme/...``. Nothing is imported, so
    a package that cannot be imported still lists its recipes.
    """
    found = {"": own_root()}
    for point in metadata.entry_points(group="moon_zoo.recipes"):
        package, _, folder = point.value.partition(":")
        place = registry.locate(package.strip())
        if place is not None and place.is_dir():
            found.setdefault(point.name, place / folder.strip())
    return found


def shipped() -> dict[str, Path]:
    """Every recipe known by name, sorted."""
    found = {}
    for prefix, root in roots().items():
        for path in root.rglob("*.yaml"):
            name = path.relative_to(root).with_suffix("").as_posix()
            found[f"{prefix}/{name}" if prefix else name] = path
    return dict(sorted(found.items()))


def find(name: str, *, beside: Path | None = None, where: str | None = None) -> Path:
    """The file of a recipe given by path or shipped name.

    Args:
        name: A path, or a name such as ``dual_flow/quickstart``, with or without ``.yaml``.
        beside: A folder that relative paths may also start from (that of the recipe which names this one as its base).
        where: What named it, for the message.

    Raises:
        UsageError: There is no such file and no such name.
    """
    for candidate in ((beside or Path()) / name, (beside or Path()) / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    known = shipped()
    key = name.removesuffix(".yaml")
    if key in known:
        return known[key]
    folder = (beside or Path()) / Path(name).parent
    neighbours = [str(Path(name).parent / path.name) for path in folder.glob("*.yaml")] if folder.is_dir() else []
    raise UsageError(
        f"no recipe {name!r}: neither a file nor a shipped name",
        where=where,
        suggestions=suggestions(name, [*known, *neighbours]),
        change="--config to a path or a name; `moon-zoo list recipes` lists the names"
        if where is None
        else "base to a path or a name",
    )


def suggestions(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Names like ``name``, or whose last part is like its last part (``gpu`` for ``accelerators/gpu``)."""
    known = list(known)
    endings = did_you_mean(name.rpartition("/")[2], [other.rpartition("/")[2] for other in known])
    return did_you_mean(name, known) or tuple(other for other in known if other.rpartition("/")[2] in endings)


def name_of(path: Path) -> str:
    """The shipped name of a recipe file, else its stem."""
    target = path.resolve()
    for prefix, root in roots().items():
        if target.is_relative_to(root.resolve()):
            inside = target.relative_to(root.resolve()).with_suffix("").as_posix()
            return f"{prefix}/{inside}" if prefix else inside
    return path.stem


def header(path: Path) -> str:
    """The comment a recipe opens with, without its number signs."""
    lines = []
    for line in read_text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").removeprefix(" "))
    return "\n".join(lines)


# reading ---------------------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """A recipe's text.

    Raises:
        RecipeError: It cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"the recipe is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}",
            where=shown(path),
            change="the file's encoding; save it as UTF-8",
        ) from None
    except OSError as error:
        raise RecipeError(f"the recipe cannot be read: {error.strerror}", where=shown(path)) from None


def shown(path: Path) -> str:
    """A recipe's path as messages show it: short, whatever the working directory."""
    target = path.resolve()
    own = own_root().resolve()
    if target.is_relative_to(own):
        return str(Path("recipes", target.relative_to(own)))
    here = Path.cwd()
    return str(target.relative_to(here)) if target.is_relative_to(here) else str(path)


# inheriting and merging ------------------------------------------------------------------------------------------------


def load(names: Sequence[str] | str) -> Recipe:
    """The recipe made of ``names``, later ones over earlier ones.

    Args:
        names: Paths or shipped names.

    Raises:
        RecipeError: A recipe is unreadable, or is its own base.
        UsageError: A name is unknown.
    """
    names = [names] if isinstance(names, str) else list(names)
    files: list[Path] = []
    tree = Node({}, Origin("no recipe"))
    for name in names:
        tree = merge(tree, _load_file(find(name), files, ()))
    return Recipe(name_of(find(names[0])) if names else "unnamed", tree, files)


def _load_file(path: Path, files: list[Path], above: tuple[Path, ...]) -> Node:
    target = path.resolve()
    if target in above:
        ring = " -> ".join(shown(one) for one in (*above[above.index(target) :], target))
        raise RecipeError(f"recipes are each other's base: {ring}", where=shown(path), change="base in one of them")
    tree = parse(read_text(path), shown(path))
    if not isinstance(tree.value, dict):
        raise RecipeError(
            f"a recipe holds keys such as model and data, this file holds a {type(tree.value).__name__}",
            where=shown(path),
        )
    expand_names(tree)
    merged = Node({}, tree.origin)
    for base in bases(tree):
        base_path = find(base.value, beside=path.parent, where=str(base.origin))
        merged = merge(merged, _load_file(base_path, files, (*above, target)))
    tree.value.pop("base", None)
    files.append(path)
    return merge(merged, tree)


def bases(tree: Node) -> list[Node]:
    """The names under ``base``, of a recipe read but not merged yet."""
    node = tree.get("base")
    if node is None:
        return []
    named = node.value if isinstance(node.value, list) else [node]
    for one in named:
        if not isinstance(one.value, str):
            raise RecipeError(
                f"base names a recipe or a list of recipes, not {one.plain()!r}", where=str(one.origin), change="base"
            )
    return named


def merge(base: Node, over: Node) -> Node:
    """``over`` on top of ``base``; see the module's rules."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or over.replaces:
        return over
    merged = dict(base.value)
    if _class_path(over) is not None and _class_path(base) is not None and _class_path(over) != _class_path(base):
        merged.pop("init_args", None)
        merged.pop("dict_kwargs", None)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    # what a recipe replaced stays replaced when that recipe lies over yet another
    return Node(merged, over.origin, replaces=base.replaces)


def _class_path(node: Node) -> Any:
    child = node.value.get("class_path")
    return None if child is None else child.value


def expand_names(tree: Node) -> None:
    """Registry names in ``model`` and ``data`` become full class paths, in place."""
    for key, group in NAMED_CLASSES.items():
        node = tree.get(key)
        if node is not None and isinstance(node.value, str):
            node.value = {"class_path": Node(node.value, node.origin)}
        named = tree.get(key, "class_path")
        if named is not None and isinstance(named.value, str) and "." not in named.value:
            known = registry.entries(group)
            if named.value in known:
                named.value = known[named.value].class_path


# the command line's overrides ------------------------------------------------------------------------------------------


def override(tree: Node, option: str, text: str) -> Node:
    """``tree`` with one option of the command line applied.

    Args:
        tree: A merged recipe.
        option: A dotted key without its dashes. ``init_args`` may be left out: ``model.temperature`` is
            ``model.init_args.temperature``.
        text: The value as typed, read as YAML.
    """
    origin = Origin(f"--{option} on the command line")
    value = parse(text, origin.file) if text.strip() and _is_yaml(text) else Node(text, origin)
    for _, child in value.walk():
        child.origin = origin
    value.text = text
    path: list[Key] = []
    node: Node | None = tree
    for word in option.split("."):
        if _stands_for_object(node, tuple(path)) and word not in CLASS_KEYS:
            path.append("init_args")
            node = node.get("init_args") if node is not None else None
        key: Key = int(word) if word.isdigit() and node is not None and isinstance(node.value, list) else word
        path.append(key)
        node = node.get(key) if node is not None else None
    over = _at(tree, path, value, origin)
    expand_names(over)
    return merge(tree, over)


def _is_yaml(text: str) -> bool:
    try:
        parse(text, "")
    except RecipeError:
        return False
    return True


def _stands_for_object(node: Node | None, path: tuple[Key, ...]) -> bool:
    if path in (("model",), ("data",)):
        return True
    return node is not None and isinstance(node.value, dict) and "class_path" in node.value


def _at(tree: Node, path: Sequence[Key], value: Node, origin: Origin) -> Node:
    """``value`` wrapped so that merging it over ``tree`` changes what is at ``path`` alone (lists are copied)."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    child = tree.get(key) or Node({}, origin)
    if isinstance(key, int):
        items = list(tree.value)
        if key >= len(items):
            raise UsageError(f"there are {len(items)} entries, none numbered {key}", where=str(origin))
        items[key] = merge(items[key], _at(child, rest, value, origin))
        return Node(items, origin)
    return Node({key: _at(child, rest, value, origin)}, origin)


def load_recipe(*names: str) -> dict[str, Any]:
    """The plain values of recipes given by path or shipped name, later ones over earlier ones.

    Example:
        >>> load_recipe("accelerators/cpu")["trainer"]["accelerator"]
        'cpu'
    """
    return load(names).values
