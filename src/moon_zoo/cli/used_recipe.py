"""A run's settings without those that are defaults: what mattered, short enough to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moon_zoo import registry
from moon_zoo.cli import structure
from moon_zoo.cli.training import TRAINER_DEFAULTS

WITHOUT_EFFECT = {
    "train", "val", "test", "predict", "gallery", "batch_size", "eval_batch_size", "num_workers", "seed", "window_shards",
    "cache_bytes", "streamed_length",
}  # fmt: skip
"""Settings of data modules that choose other splits, speed or order, none of which changes what a test counts."""


def without_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's plain values, every default left out that its class has by itself."""
    from lightning.pytorch import Trainer

    known = {name: parameter.default for name, parameter in structure.parameters(Trainer).items()}
    trainer = {
        name: _shortened(value)
        for name, value in (values.get("trainer") or {}).items()
        if not _equal(value, TRAINER_DEFAULTS.get(name, known.get(name)))
    }
    kept = {"seed_everything": values.get("seed_everything"), "model": values["model"], "data": values["data"]}
    return {name: _shortened(value) for name, value in kept.items() if value is not None} | {"trainer": trainer}


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(child) for child in value]
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {key: _shortened(child) for key, child in value.items()}
    known = structure.parameters(structure.import_class(value["class_path"]))
    given = {
        name: _shortened(child)
        for name, child in (value.get("init_args") or {}).items()
        if name not in known or not _equal(child, known[name].default)
    }
    return {"class_path": _short_name(value["class_path"])} | ({"init_args": given} if given else {})


def _short_name(class_path: str) -> str:
    """The registered name of a class, where it has one."""
    for group in ("models", "data"):
        for entry in registry.entries(group).values():
            if entry.class_path == class_path:
                return entry.name
    return class_path


def _equal(value: Any, default: Any) -> bool:
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value == default)


def data_words(data: Mapping[str, Any], verb: str) -> list[str]:
    """Options that give ``test`` or ``validate`` the run's data: ``--data shop --data.num_products 500``.

    Args:
        data: The recipe's ``data``.
        verb: Whose data is wanted.
    """
    short = _shortened(dict(data))
    given = data.get("init_args") or {}
    words = ["--data", short["class_path"]] if short["class_path"] != "shards" else []
    for split in ("test" if verb == "test" else "val", "gallery"):
        if given.get(split) is not None:
            words += [f"--data.{split}", str(given[split])]
    for name, value in (short.get("init_args") or {}).items():
        if name not in WITHOUT_EFFECT:
            words += [f"--data.{name}", _word(value)]
    return words


def _word(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
