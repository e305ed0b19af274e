"""Arguments of a model's constructor: noted when it is called, kept as plain values, and turned into a model again.

Lightning's own hyperparameters are not enough: they depend on a call in every constructor, and inside LightningCLI they
are what the recipe said for the class, mixed with keys of Lightning's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from moon_zoo.errors import CheckpointError, UsageError, ZooError, did_you_mean

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule

TRAINING_ONLY = ("optimizer", "lr_scheduler")
"""Callables of the constructor that a model for use does not need; a recipe gives them again."""


def bound(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a call of the constructor gives, by name; empty for a call that Python itself will refuse."""
    try:
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        given = signature.bind(None, *args, **kwargs).arguments
    except (TypeError, ValueError):
        return {}
    named = dict(list(given.items())[1:])  # without self
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return named


def plain(module: ZooModule, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument of the constructor as a plain value, defaults written out.

    Args:
        module: The model.
        given: What its constructor was called with.

    Raises:
        CheckpointError: One is an object that YAML cannot hold.
    """
    cls = type(module)
    known = defaults(cls)
    values = {}
    for name, value in {**known, **given}.items():
        if name in TRAINING_ONLY:
            continue
        try:
            values[name] = _plain(value)
        except TypeError:
            if name in known and known[name] is value:
                continue  # the same default is there when the model is built again
            raise CheckpointError(
                f"the argument {name} of {cls.__name__} is a {type(value).__name__}, which a checkpoint cannot hold: "
                "it keeps plain values",
                change=f"{cls.__name__}.init_args, to say by which plain values it can be built again",
            ) from None
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, type(None))):
        # also turns NumPy's and enums' subclasses of these into what YAML writes as they are
        return value if type(value) in (str, int, float, bool, type(None)) else _base(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    raise TypeError(type(value))


def _base(value: Any) -> Any:
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(type(key))
    return key


def defaults(cls: type[ZooModule]) -> dict[str, Any]:
    """Name to default of the constructor's arguments, those that go on to base classes through ``**kwargs`` included."""
    return dict(vars(_parser(cls).get_defaults()))


def build(cls: type[ZooModule], stored: Mapping[str, Any], given: Mapping[str, Any], where: str) -> ZooModule:
    """A model from a checkpoint's arguments.

    Args:
        cls: Its class.
        stored: Plain values, brought to the types of the signature.
        given: What the caller wants otherwise, as Python objects; they win.
        where: The checkpoint, for messages.

    Raises:
        CheckpointError: The class has no such argument, or refuses a value.
        UsageError: The class has no such argument as the caller gives.
    """
    from jsonargparse import ArgumentError

    parser = _parser(cls)
    known = set(vars(parser.get_defaults())) | set(TRAINING_ONLY)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(cls.__init__).parameters.values())
    for name in [] if open_ended else sorted(given.keys() - known):
        raise UsageError(
            f"{cls.__name__} has no argument {name!r}",
            suggestions=did_you_mean(name, known),
            change=f"the argument; {cls.__name__} knows {', '.join(sorted(known))}",
        )
    for name in [] if open_ended else sorted(stored.keys() - known):
        raise CheckpointError(
            f"this checkpoint of {cls.__name__} was built with {name!r}, an argument that the class no longer has",
            where=where,
            suggestions=did_you_mean(name, known),
            change="the installed version; or the class's migrations, to say what became of the argument",
        )
    wanted = {name: value for name, value in stored.items() if name not in given}
    try:
        parsed = dict(vars(parser.parse_object({name: value for name, value in wanted.items() if name in known})))
        values = {**{name: value for name, value in wanted.items() if name not in known}, **parsed, **given}
        return cls(**values)
    except ZooError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"{cls.__name__} cannot be built from the checkpoint's settings: {said}",
            where=where,
            change="the arguments given; or the checkpoint, by downloading or saving it again",
        ) from error


def _parser(cls: type[ZooModule]) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False, skip=set(TRAINING_ONLY), sub_configs=False)
    return parser
