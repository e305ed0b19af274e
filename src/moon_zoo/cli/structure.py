"""The structure of a recipe against the classes it names: every unknown key, wrong class and wrong value at once.

jsonargparse stops at the first mistake and prints its whole usage; here the merged recipe is walked, each ``class_path`` is
imported, its ``init_args`` are compared with the constructor's signature, and each plain value is parsed by jsonargparse on its
own. What belongs to another class is told to which.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from moon_zoo import recipes, registry
from moon_zoo.errors import Faults, RecipeError, ZooError, did_you_mean
from moon_zoo.recipe_yaml import Key, Node
from moon_zoo.recipes import CLASS_KEYS, Recipe

TOP_KEYS = ("model", "data", "trainer", "seed_everything")

Path = tuple[Key, ...]


def require_sound(recipe: Recipe) -> None:
    """Raise what `faults` finds: the fault itself when it is one, all together otherwise."""
    found = list(faults(recipe))
    if len(found) == 1:
        raise found[0]
    if found:
        raise Faults(found)


def faults(recipe: Recipe) -> Iterator[ZooError]:
    """Every mistake in the recipe's structure, in the order of its keys."""
    tree = recipe.tree
    if tree.get("align") is not None:
        yield _fault(
            "the recipe is one of an alignment", ("align",), tree.get("align"), "the verb: moon-zoo align --config it"
        )
        return
    for key, node in tree.value.items():
        if key not in TOP_KEYS:
            yield _fault(f"unknown key {key!r}", (key,), node, "the key", did_you_mean(key, TOP_KEYS))
    for key in ("model", "data"):
        if tree.get(key) is None:
            yield RecipeError(
                f"the recipe has no {key}",
                where=", ".join(map(recipes.shown, recipe.files)) or "the command line",
                change=f"--config to a recipe with a {key}; `moon-zoo list recipes` shows some",
            )
    yield from _Walk(recipe).run()


def _fault(
    what: str, path: Path, node: Node | None, change: str | None, suggestions: Sequence[str] = ()
) -> RecipeError:
    origin = f"  ({node.origin})" if node is not None else ""
    return RecipeError(what, where=f"{dotted(path)}{origin}", change=change, suggestions=suggestions)


def dotted(path: Path) -> str:
    """A path as options write it: ``model.init_args.temperature``."""
    return ".".join(map(str, path))


class _Walk:
    """Compares a recipe with the classes it names."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.classes: dict[Path, type | Any] = {}

    def run(self) -> Iterator[ZooError]:
        from moon_zoo.data.datamodule import ShardDataModule
        from moon_zoo.models.base import ZooModule

        # all classes first: an argument may belong to one that stands further down
        broken = list(self._resolve())
        yield from broken
        for key, base in (("model", ZooModule), ("data", ShardDataModule)):
            node = self.recipe.tree.get(key)
            if node is not None:
                yield from self._object((key,), node, base)
        trainer = self.recipe.tree.get("trainer")
        if trainer is not None:
            from lightning.pytorch import Trainer

            yield from self._arguments(("trainer",), trainer, Trainer, "trainer")
        seed = self.recipe.tree.get("seed_everything")
        if seed is not None:
            yield from self._value(("seed_everything",), seed, bool | int)

    def _resolve(self) -> Iterator[ZooError]:
        for path, node in self.recipe.tree.walk():
            if not isinstance(node.value, dict) or "class_path" not in node.value:
                continue
            named = node.value["class_path"]
            if not isinstance(named.value, str):
                yield _fault(f"class_path is {named.plain()!r}", (*path, "class_path"), named, "class_path to a class")
                continue
            try:
                self.classes[path] = import_class(named.value)
            except NoClassError as error:
                group = recipes.NAMED_CLASSES.get(str(path[0])) if len(path) == 1 else None
                names = list(registry.entries(group)) if group is not None else []
                close = (*did_you_mean(named.value, names), *error.suggestions)
                known = f"class_path; registered: {', '.join(names)}" if names else "class_path"
                yield _fault(str(error), (*path, "class_path"), named, known, close)
            except Exception as error:
                entry = registry.foreign(named.value)
                if entry is None:
                    raise  # a fault of the user's own module, or of ours: the traceback is what helps
                broken = entry.broken(error)
                yield _fault(f"{broken.what}, at {broken.where}", (*path, "class_path"), named, str(broken.change))

    def _object(self, path: Path, node: Node, base: type | None = None) -> Iterator[ZooError]:
        """A dictionary with class_path, and what is below it."""
        if not isinstance(node.value, dict):
            yield _fault(f"a class_path with init_args is expected, not {node.plain()!r}", path, node, dotted(path))
            return
        for key, child in node.value.items():
            if key not in CLASS_KEYS:
                yield self._stray_key(path, key, child)
        if "class_path" not in node.value:
            yield _fault(
                "no class_path is given", path, node, f"{dotted(path)}.class_path to a class or registered name"
            )
            return
        target = self.classes.get(path)
        if target is None:
            return
        if base is not None and not (isinstance(target, type) and issubclass(target, base)):
            wanted = (
                ", ".join(registry.entries(recipes.NAMED_CLASSES[str(path[0])]))
                if path[0] in recipes.NAMED_CLASSES
                else ""
            )
            yield _fault(
                f"{_name(target)} is no {base.__name__}",
                (*path, "class_path"),
                node.value["class_path"],
                f"class_path{f'; registered: {wanted}' if wanted else ''}",
            )
            return
        arguments = node.value.get("init_args")
        if arguments is not None:
            yield from self._arguments((*path, "init_args"), arguments, target, _name(target))
        yield from self._missing(path, node, target, _given_later(path))

    def _stray_key(self, path: Path, key: str, child: Node) -> RecipeError:
        target = self.classes.get(path)
        if target is not None and key in parameters(target):
            return _fault(
                f"{key!r} stands beside class_path, it belongs under init_args", (*path, key), child, "its indentation"
            )
        return _fault(f"unknown key {key!r}", (*path, key), child, "the key", did_you_mean(key, CLASS_KEYS))

    def _arguments(self, path: Path, node: Node, target: Any, name: str) -> Iterator[ZooError]:
        if node.value is None:
            return
        if not isinstance(node.value, dict):
            yield _fault(f"arguments of {name} are expected, not {node.plain()!r}", path, node, dotted(path))
            return
        known = parameters(target)
        for key, child in node.value.items():
            if key not in known:
                yield self._unknown_argument((*path, key), key, child, target, name, known)
            else:
                yield from self._value((*path, key), child, known[key].annotation)

    def _unknown_argument(
        self, path: Path, key: str, child: Node, target: Any, name: str, known: dict[str, inspect.Parameter]
    ) -> RecipeError:
        close = did_you_mean(key, known)
        owner = None if close and _near(key, close[0]) else self._owner(key, target)
        if owner is not None:
            return _fault(
                f"{name} has no option {key!r}: it belongs to {owner}",
                path,
                child,
                f"{dotted(path)}: move or remove it",
            )
        return _fault(
            f"{name} has no option {key!r}",
            path,
            child,
            f"the key; {name} knows {', '.join(sorted(known))}" if not close else "the key",
            close,
        )

    def _owner(self, key: str, target: Any) -> str | None:
        """Another class that has the option: one of this recipe, the trainer, or a registered one."""
        for path, other in self.classes.items():
            if other is not target and key in parameters(other):
                return f"{_name(other)} ({dotted(path)})"
        from lightning.pytorch import Trainer

        if target is not Trainer and key in parameters(Trainer):
            return "trainer"
        for group in ("models", "data"):
            for entry in registry.entries(group).values():
                try:
                    other = import_class(entry.class_path)
                except NoClassError:
                    continue
                if other is not target and key in parameters(other):
                    return f"{_name(other)} ({group[:-1] if group == 'models' else group} {entry.name!r})"
        return None

    def _missing(self, path: Path, node: Node, target: Any, given_later: int) -> Iterator[ZooError]:
        given = node.get("init_args")
        have = set(given.value) if given is not None and isinstance(given.value, dict) else set()
        extra = node.get("dict_kwargs")
        have |= set(extra.value) if extra is not None and isinstance(extra.value, dict) else set()
        required = [name for name, one in parameters(target).items() if one.default is inspect.Parameter.empty]
        for name in required[given_later:]:
            if name not in have:
                yield _fault(
                    f"{_name(target)} needs {name!r}",
                    (*path, "init_args", name),
                    node,
                    f"{dotted(path)}.init_args.{name} to a value",
                )

    def _value(self, path: Path, node: Node, annotation: Any) -> Iterator[ZooError]:
        """A value against its annotation; objects are walked, plain values parsed."""
        if isinstance(node.value, dict) and "class_path" in node.value:
            yield from self._object(path, node)
            return
        if isinstance(node.value, list) and any(_is_object(child) for child in node.value):
            for number, child in enumerate(node.value):
                if _is_object(child):
                    yield from self._object((*path, number), child)
            return
        if annotation in (inspect.Parameter.empty, Any):
            return
        problem = parse_problem(node.plain(), annotation)
        if problem is not None and node.text is not None and parse_problem(node.text, annotation) is None:
            node.value = node.text  # a title such as 1e3, typed on the command line, is meant as text
            return
        if problem is not None:
            choices = [
                str(one) for one in typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal
            ]
            close = did_you_mean(str(node.value), choices)
            yield _fault(f"{path[-1]} is {node.plain()!r}; expected: {problem}", path, node, dotted(path), close)


def _is_object(node: Node) -> bool:
    return isinstance(node.value, dict) and "class_path" in node.value


def _given_later(path: Path) -> int:
    """How many leading arguments someone else gives: an optimiser gets its parameters, a scheduler its optimiser."""
    return 1 if path[-1] in ("optimizer", "lr_scheduler") else 0


def _near(one: str, other: str) -> bool:
    import difflib

    return difflib.SequenceMatcher(None, one, other).ratio() > 0.75


def _name(target: Any) -> str:
    return getattr(target, "__qualname__", str(target))


class NoClassError(Exception):
    """A dotted path that names no class, with names like it."""

    def __init__(self, what: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.suggestions = tuple(suggestions)


def import_class(class_path: str) -> Any:
    """The class or function that a dotted path names.

    Raises:
        NoClassError: There is none; with names like it. An import that fails inside an existing module is raised as it is.
    """
    module_name, _, name = class_path.rpartition(".")
    if not module_name:
        raise NoClassError(f"there is no class {class_path!r}: a dotted path or a registered name is expected")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, something that it imports is not
        # `package.Class.method`, or a module that does not exist
        raise NoClassError(f"there is no module {error.name!r}", _near_modules(error.name)) from None
    except ValueError as error:
        raise NoClassError(f"{class_path!r} is no dotted path: {error}") from None
    if not hasattr(module, name):
        close = did_you_mean(name, [one for one in dir(module) if isinstance(getattr(module, one, None), type)])
        raise NoClassError(f"{module_name} has no class {name!r}", [f"{module_name}.{one}" for one in close])
    return getattr(module, name)


def _near_modules(name: str) -> list[str]:
    parent, _, last = name.rpartition(".")
    if not parent:
        return []
    try:
        package = importlib.import_module(parent)
    except ImportError:
        return []
    import pkgutil

    found = [info.name for info in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return [f"{parent}.{one}" for one in did_you_mean(last, found)]


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    """What a class's constructor or a function takes, with resolved annotations; ``**kwargs`` as its base classes'."""
    found: dict[str, inspect.Parameter] = {}
    owners = target.__mro__ if isinstance(target, type) else (target,)
    for owner in owners:
        function = owner.__dict__.get("__init__") if isinstance(owner, type) else owner
        if function is None or function is object.__init__:
            continue
        try:
            signature = inspect.signature(function)
            hints = typing.get_type_hints(function)
        except (ValueError, TypeError, NameError):
            signature, hints = inspect.signature(function), {}
        own = [one for one in signature.parameters.values() if one.name != "self" or not isinstance(owner, type)]
        for one in own:
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                found.setdefault(one.name, one.replace(annotation=hints.get(one.name, inspect.Parameter.empty)))
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            break
    return found


def parse_problem(value: Any, annotation: Any) -> str | None:
    """What is expected instead of ``value``, None where it suits the annotation."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--it", type=annotation)
    except (ValueError, TypeError):
        return None  # an annotation jsonargparse cannot check
    try:
        parser.parse_object({"it": value})
    except (ArgumentError, TypeError, ValueError, KeyError, ImportError):
        return type_words(annotation)
    return None


def type_words(annotation: Any) -> str:
    """An annotation as people say it: ``whole number or null``, ``'cosine' or 'constant'``."""
    return " or ".join(dict.fromkeys(_type_words(annotation)))


def _type_words(annotation: Any) -> Iterator[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    if origin is typing.Literal:
        yield from map(repr, arguments)
    elif origin in (typing.Union, types.UnionType):
        for one in arguments:
            yield from _type_words(one)
    elif annotation in names:
        yield names[annotation]
    elif origin in (list, tuple, collections.abc.Sequence) and arguments:
        yield f"list of {' or '.join(dict.fromkeys(type_words(one) for one in arguments if one is not Ellipsis))}"
    elif origin in (dict, collections.abc.Mapping) and len(arguments) == 2:
        yield f"dictionary of {type_words(arguments[1])}"
    else:
        yield getattr(annotation, "__name__", str(annotation))
