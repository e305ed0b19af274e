"""Checkpoint folders: a model as plain values and tensors, which loads the same anywhere, without pickle and without network.

A folder holds ``config.yaml`` (class, version and arguments), ``model.safetensors``, ``inputs.json`` (tokenizer,
vocabularies), and where there are any ``metrics.json``, ``README.md`` and folders with what the constructor reads, such as
``text_tower/config.json``. Paths in ``config.yaml`` into the folder begin with ``{checkpoint}/``.

Only a class that is registered, already imported, or asked for by the caller is ever built: the class path in a checkpoint
is somebody else's word, and importing a module runs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_zoo import recipe_yaml
from moon_zoo.data.publishing import Publication
from moon_zoo.errors import CheckpointError, DataError, ZooError
from moon_zoo.hub.names import CARD, CONFIG, WEIGHTS
from moon_zoo.models.checkpoint_config import DTYPES, HERE, CheckpointConfig, broken, read_config, replaced
from moon_zoo.models.known_classes import base_class, class_path, find_class, writer_class
from moon_zoo.models.migrations import Stored, migrate, steps

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule
    from moon_zoo.models.weights import Dtype

INPUTS, METRICS = "inputs.json", "metrics.json"
"""Files of a folder, beside `CONFIG`, `WEIGHTS` and `CARD`, which hubs know too."""

UNNAMED = "the checkpoint"
"""Where a fault of a Lightning checkpoint is: its content comes without the file's name, which only the caller knows."""


# Writing -----------------------------------------------------------------------------------------------------------------


def save(
    module: ZooModule,
    folder: str | os.PathLike[str],
    *,
    dtype: Dtype = "float32",
    metrics: Mapping[str, float] | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``module`` as a checkpoint folder, complete or not at all.

    Args:
        module: The model.
        folder: The folder to be.
        dtype: What floating weights are stored as: ``float32``, ``float16`` or ``bfloat16``; float32 again when loaded.
        metrics: Figures for ``metrics.json``.
        card: Text of ``README.md``; a few lines on how to load it where it is None.
        overwrite: Whether a checkpoint folder that is there already is replaced.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder is taken; an argument is no plain value; a weight is too large for ``dtype``.
    """
    from moon_zoo import __version__
    from moon_zoo.models import weights

    if dtype not in DTYPES:
        raise CheckpointError(f"weights cannot be stored as {dtype!r}", change=f"dtype to one of {', '.join(DTYPES)}")
    try:
        with Publication(folder, overwrite, replaces=is_checkpoint, kind="checkpoint") as publication:
            work = publication.folder
            init_args = module.init_args()
            # a subclass may have settled an argument itself and not take it any more
            init_args |= {name: value for name, value in module.write_parts(work).items() if name in init_args}
            config = CheckpointConfig(
                class_path(type(module)), module.checkpoint_version, init_args, dtype, __version__
            )
            _check_sealed(init_args, type(module), str(folder))
            weights.write(module, work / WEIGHTS, dtype)
            _write_json(work / INPUTS, module.inputs.state_dict())
            if metrics is not None:
                _write_json(work / METRICS, dict(metrics))
            (work / CARD).write_text(card if card is not None else _card(module, config), "utf-8")
            (work / CONFIG).write_text(_config_text(config), "utf-8")
    except DataError as error:
        raise CheckpointError(error.what, where=error.where, change=error.change) from error
    return Path(folder)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint of ours."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def _config_text(config: CheckpointConfig) -> str:
    values = asdict(config)
    keys = ("format", "moon_zoo", "class_path", "class_version", "dtype", "init_args")
    return recipe_yaml.dump({key: values[key] for key in keys})


def _write_json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} cannot be written: {error}", change="what goes into it, to plain values"
        ) from error
    path.write_text(text + "\n", "utf-8")


def _card(module: ZooModule, config: CheckpointConfig) -> str:
    name = type(module).__name__
    size = sum(parameter.numel() for parameter in module.parameters())
    return (
        f"# {name}\n\n{size / 1e6:.2f} M parameters, stored as {config.dtype} by moon-zoo {config.moon_zoo}.\n\n"
        '```python\nfrom moon_zoo import ZooModule\n\nmodule = ZooModule.from_pretrained("path/of/this/folder")\n```\n'
    )


def _check_sealed(init_args: Mapping[str, Any], cls: type[ZooModule], where: str) -> None:
    problem = cls.unsealed(init_args)
    if problem is not None:
        raise CheckpointError(
            f"this checkpoint of {cls.__name__} would read from elsewhere: {problem}",
            where=where,
            change="the checkpoint: save it again with save_pretrained, which puts everything inside",
        )


# Loading -----------------------------------------------------------------------------------------------------------------


def load(
    source: str | os.PathLike[str],
    cls: type[ZooModule] | None = None,
    *,
    allow_missing: bool = False,
    **init_args: Any,
) -> ZooModule:
    """A model from a checkpoint folder, a run's folder, a ``.ckpt`` file, a name on a hub or a hub's URL.

    Args:
        source: Anything that `moon_zoo.hub.resolve.resolve` takes.
        cls: The class wanted; None for whatever the checkpoint holds.
        allow_missing: Whether weights that the checkpoint lacks keep their initial values.
        init_args: Arguments of the constructor that are to be other than stored.

    Returns:
        The model in evaluation mode, on the CPU, in float32.

    Raises:
        CheckpointError: It is no checkpoint, of another class or newer version, or its weights are not the model's.
    """
    from moon_zoo.models import arguments

    stored = read(_resolved(source))
    target, settings = recipe_of(stored, cls)
    module = arguments.build(target, settings, init_args, stored.where)
    _fill(module.float(), stored, allow_missing)
    return module.eval()


def recipe_of(stored: Stored, cls: type[ZooModule] | None = None) -> tuple[type[ZooModule], dict[str, Any]]:
    """The class to build for a checkpoint and its constructor's arguments, as the class is today.

    Args:
        stored: What `read` gave.
        cls: The class wanted; None for whatever the checkpoint holds.

    Raises:
        CheckpointError: It is of another class or newer version, or its settings lead out of it.
    """
    asked = base_class() if cls is None else cls
    if stored.class_path is None and asked is base_class():
        raise CheckpointError(
            f"{stored.where} does not say which class it is of",
            where=stored.where,
            change="the call: from_pretrained of the class that was trained; or --config to its recipe",
        )
    target = asked if stored.class_path is None else find_class(stored.class_path, asked, stored.where)
    settings = migrate(replace(stored, weights={}), writer_class(stored.class_path, target)).init_args or {}
    if stored.folder is not None:
        _check_sealed(settings, target, stored.where)
        settings = replaced(settings, HERE, str(stored.folder.absolute()))
    return target, settings


def load_into(module: ZooModule, source: str | os.PathLike[str], *, allow_missing: bool = False) -> None:
    """Weights and inputs of a checkpoint into a model that is there already; its settings stay as they are.

    Args:
        module: The model.
        source: As for `load`.
        allow_missing: Whether weights that the checkpoint lacks keep their present values.

    Raises:
        CheckpointError: As for `load`.
    """
    stored = read(_resolved(source))
    _require_class(module, stored)
    _fill(module, stored, allow_missing)


def require(module: ZooModule, stored: Stored, *, allow_missing: bool = False) -> None:
    """Raise what would keep a checkpoint from being loaded into ``module``, and load no weights.

    Raises:
        CheckpointError: As for `load`.
    """
    from moon_zoo.models import weights

    _require_class(module, stored)
    today = migrate(stored, writer_class(stored.class_path, type(module)))
    _restore_inputs(module, today)
    weights.require(module, module.fitted_weights(today.weights), stored.where, allow_missing=allow_missing)


def _require_class(module: ZooModule, stored: Stored) -> None:
    """Refuse a checkpoint folder of a class that the module's is not; a ``.ckpt`` is judged by its weights alone."""
    cls = type(module)
    if stored.folder is not None and stored.class_path not in [class_path(base) for base in cls.__mro__]:
        raise CheckpointError(
            f"this checkpoint is of {stored.class_path}, not of {class_path(cls)}",
            where=stored.where,
            change="the checkpoint; or the recipe's model.class_path, to that class",
        )


def _fill(module: ZooModule, stored: Stored, allow_missing: bool) -> None:
    from moon_zoo.models import weights

    stored = migrate(stored, writer_class(stored.class_path, type(module)))
    _restore_inputs(module, stored)
    weights.load(module, module.fitted_weights(stored.weights), stored.where, allow_missing=allow_missing)


def _restore_inputs(module: ZooModule, stored: Stored) -> None:
    """What the inputs learned, and then what is made of it: weights need a place to go."""
    if stored.inputs is not None:
        try:
            module.inputs.load_state_dict(stored.inputs)
        except ZooError:
            raise
        except Exception as error:  # the state is somebody's JSON: any kind of error may come of it
            raise CheckpointError(
                f"the inputs of this checkpoint cannot be restored: {type(error).__name__}: {error}",
                where=stored.where,
                change="the checkpoint: download or save it again",
            ) from error
    module.build()


def _resolved(source: str | os.PathLike[str]) -> Path:
    from moon_zoo.hub.resolve import resolve

    return resolve(source)


def read(path: Path) -> Stored:
    """What a checkpoint folder or a ``.ckpt`` file holds.

    Raises:
        CheckpointError: It is broken, or neither of the two.
    """
    from moon_zoo.models import weights

    return _read_folder(path) if path.is_dir() else stored_in(weights.read_ckpt(path), str(path))


def _read_folder(folder: Path) -> Stored:
    from moon_zoo.models import weights

    config = read_config(folder)
    inputs = folder / INPUTS
    try:
        state = json.loads(inputs.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise broken(inputs, str(error)) from error
    if not isinstance(state, dict):
        raise broken(inputs, f"it holds a {type(state).__name__}, not an object")
    return Stored(
        class_path=config.class_path,
        class_version=config.class_version,
        moon_zoo=config.moon_zoo,
        weights=weights.read(folder / WEIGHTS),
        inputs=state,
        init_args=config.init_args,
        where=str(folder),
        folder=folder,
    )


def stored_in(content: Mapping[str, Any], where: str) -> Stored:
    """The same of a Lightning checkpoint's content, with or without what `ZooModule.on_save_checkpoint` adds."""
    noted = content.get("moon_zoo") or {}
    hyper = content.get("hyper_parameters") or {}
    plain = {name: value for name, value in hyper.items() if not name.startswith("_")}
    return Stored(
        class_path=noted.get("class_path", hyper.get("_class_path")),
        class_version=noted.get("class_version", 1),
        moon_zoo=noted.get("version", "0.1.0 or older"),
        weights=content["state_dict"],
        inputs=content.get("inputs"),
        init_args=noted.get("init_args", plain),
        where=where,
    )


# Lightning's checkpoints ---------------------------------------------------------------------------------------------------


def notes(module: ZooModule) -> dict[str, Any]:
    """What a ``.ckpt`` file keeps beside Lightning's own, so that it loads by itself and migrates."""
    from moon_zoo import __version__

    noted = {
        "version": __version__,
        "class_path": class_path(type(module)),
        "class_version": module.checkpoint_version,
    }
    with suppress(CheckpointError):  # settings that are no plain values must not end a training
        noted["init_args"] = module.init_args()
    return noted


def adapt(content: dict[str, Any], module: ZooModule) -> None:
    """Bring a Lightning checkpoint's content, in place, to what ``module``'s class is today, and its inputs into the module.

    Raises:
        CheckpointError: It is of a newer version, or its weights are not the module's.
    """
    from moon_zoo.models import weights

    if "state_dict" not in content:
        return  # sharded: the strategy reads the weights
    stored = stored_in(content, UNNAMED)
    cls = writer_class(stored.class_path, type(module))
    for migration in steps(stored.class_version, stored.moon_zoo, UNNAMED, cls):
        for key in ("state_dict", "current_model_state"):  # the second is weight averaging's
            if key in content:
                content[key] = migration.rename(content[key])
        if "inputs" in content and migration.inputs is not None:
            content["inputs"] = migration.inputs(dict(content["inputs"]))
    if "inputs" in content:
        module.inputs.load_state_dict(content["inputs"])
    module.build()
    if module.strict_loading:
        weights.require(module, content["state_dict"], UNNAMED)
