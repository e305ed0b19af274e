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
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from moon_zoo import recipe_yaml, registry
from moon_zoo.data.publishing import Publication
from moon_zoo.errors import CheckpointError, DataError, RecipeError, ZooError
from moon_zoo.hub.names import CARD, CONFIG, WEIGHTS
from moon_zoo.models.migrations import Stored, migrate, steps

if TYPE_CHECKING:
    from moon_zoo.models.base import ZooModule
    from moon_zoo.models.weights import Dtype

INPUTS, METRICS = "inputs.json", "metrics.json"
"""Files of a folder, beside `CONFIG`, `WEIGHTS` and `CARD`, which hubs know too."""

FORMAT = 1
"""Version of the folder's layout; a class's own changes are counted by its ``checkpoint_version``."""

DTYPES = ("float32", "float16", "bfloat16")

UNNAMED = "the checkpoint"
"""Where a fault of a Lightning checkpoint is: its content comes without the file's name, which only the caller knows."""

HERE = "{checkpoint}"
"""Stands for the folder itself at the start of a path in ``init_args``."""


@dataclass(frozen=True)
class CheckpointConfig:
    """What ``config.yaml`` of a checkpoint folder says.

    Args:
        class_path: Dotted path of the model's class.
        class_version: The class's ``checkpoint_version`` when it was written.
        init_args: Arguments of the constructor, plain values; paths into the folder begin with ``{checkpoint}/``.
        dtype: Type the floating weights are stored as.
        moon_zoo: Version of the package that wrote it.
        format: Version of the folder's layout.
    """

    class_path: str
    class_version: int
    init_args: dict[str, Any]
    dtype: str
    moon_zoo: str
    format: int = FORMAT


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


def class_path(cls: type) -> str:
    """The dotted path of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


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


# Reading the configuration -----------------------------------------------------------------------------------------------


def read_config(folder: str | os.PathLike[str]) -> CheckpointConfig:
    """What a checkpoint folder says about itself; needs no torch.

    Raises:
        CheckpointError: It is no checkpoint folder, is broken, or of a newer format.
    """
    path = Path(folder) / CONFIG
    try:
        values = recipe_yaml.parse(path.read_text("utf-8"), str(path)).plain()
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no checkpoint folder: it has no {CONFIG}", where=str(folder), change="the path"
        ) from None
    except RecipeError as error:
        raise _broken(path, error.what) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from error
    problem = _config_problem(values)
    if problem is not None:
        raise _broken(path, problem)
    if values["format"] > FORMAT:
        raise CheckpointError(
            f"this checkpoint has format {values['format']}, this installation reads formats up to {FORMAT}",
            where=str(path),
            change=f"the installed package, to a newer one: the checkpoint was written with moon-zoo {values['moon_zoo']}",
        )
    return CheckpointConfig(**{name: values[name] for name in CheckpointConfig.__dataclass_fields__})


def _broken(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} of this checkpoint cannot be used: {problem}",
        where=str(path),
        change="the checkpoint: download or save it again",
    )


def _config_problem(values: Any) -> str | None:
    wanted = {"format": int, "moon_zoo": str, "class_path": str, "class_version": int, "dtype": str, "init_args": dict}
    if not isinstance(values, dict):
        return f"it holds a {type(values).__name__}, not keys"
    for name, kind in wanted.items():
        if name not in values:
            return f"it has no {name}"
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            return f"{name} is {values[name]!r}"
    if values["dtype"] not in DTYPES:
        return f"dtype is {values['dtype']!r}, not one of {', '.join(DTYPES)}"
    for place, value in _walk(values["init_args"]):
        if "class_path" in place:
            # jsonargparse would import what it names
            return f"init_args.{place} names a class; checkpoints hold plain values"
        if isinstance(value, str) and HERE in value and (not value.startswith(f"{HERE}/") or ".." in Path(value).parts):
            return f"init_args.{place} is {value!r}, which leads out of the checkpoint"
    return None


def _walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    yield place, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _walk(child, f"{place}.{key}" if place else str(key))


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(child, old, new) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(child, old, new) for child in value]
    return value.replace(old, new, 1) if isinstance(value, str) and value.startswith(old) else value


def _check_sealed(init_args: Mapping[str, Any], cls: type[ZooModule], where: str) -> None:
    problem = cls.unsealed(init_args)
    if problem is not None:
        raise CheckpointError(
            f"this checkpoint of {cls.__name__} would read from elsewhere: {problem}",
            where=where,
            change="the checkpoint: save it again with save_pretrained, which puts everything inside",
        )


# Classes -----------------------------------------------------------------------------------------------------------------


def find_class(path: str, cls: type[ZooModule], where: str) -> type[ZooModule]:
    """The class to build for a checkpoint of the class at ``path``.

    Args:
        path: The dotted path that the checkpoint names.
        cls: What the caller asked for: `ZooModule` for whatever it is, or a class that must suit.
        where: The checkpoint, for messages.

    Returns:
        ``cls`` where it is the stored class or a subclass of it; else the stored class, if it is a subclass of ``cls``.

    Raises:
        CheckpointError: It is another class, or one that would have to be imported on the checkpoint's word.
    """
    if path in map(class_path, cls.__mro__):
        return cls
    found = _known_class(path)
    if found is None:
        raise CheckpointError(
            f"this checkpoint is of {path}, which is neither registered nor imported"
            + ("" if cls is _base() else f", and {cls.__name__} is no subclass of it"),
            where=where,
            change=f"the program: import {path.rpartition('.')[0]} first; or install the package that registers it "
            "(entry points moon_zoo.models). It is not imported on a checkpoint's word, since importing runs code",
        )
    if not issubclass(found, cls):
        raise CheckpointError(
            f"this checkpoint is of {path}, not of {class_path(cls)}",
            where=where,
            change=f"the checkpoint; or load it with {found.__name__}.from_pretrained",
        )
    return found


def _known_class(path: str) -> type[ZooModule] | None:
    """A registered or imported model class at ``path``; None where there is none yet."""
    package = path.partition(".")[0]
    entries = registry.entries("models").values()
    # A package may register a class under a shorter path than that of the module which defines it.
    for entry in sorted(entries, key=lambda entry: entry.class_path != path):
        if entry.class_path.partition(".")[0] == package and (entry.class_path == path or package != "moon_zoo"):
            loaded = entry.load()
            if path in (entry.class_path, class_path(loaded)):
                return cast("type[ZooModule]", loaded)
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, _base()) else None


def writer_class(path: str | None, cls: type[ZooModule]) -> type[ZooModule]:
    """The class among the bases of ``cls`` that wrote a checkpoint: its versions are the ones that count."""
    bases = [base for base in cls.__mro__ if issubclass(base, _base())]
    return next((base for base in bases if class_path(base) == path), cls)


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
    asked = _base() if cls is None else cls
    if stored.class_path is None and asked is _base():
        raise CheckpointError(
            f"{stored.where} does not say which class it is of",
            where=stored.where,
            change="the call: from_pretrained of the class that was trained; or --config to its recipe",
        )
    target = asked if stored.class_path is None else find_class(stored.class_path, asked, stored.where)
    settings = migrate(replace(stored, weights={}), writer_class(stored.class_path, target)).init_args or {}
    if stored.folder is not None:
        _check_sealed(settings, target, stored.where)
        settings = _replaced(settings, HERE, str(stored.folder.absolute()))
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
    """Raise what would keep a checkpoint from being loaded into ``module``, and load nothing.

    Raises:
        CheckpointError: As for `load`.
    """
    from moon_zoo.models import weights

    _require_class(module, stored)
    today = migrate(stored, writer_class(stored.class_path, type(module)))
    weights.require(module, today.weights, stored.where, allow_missing=allow_missing)


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
    weights.load(module, stored.weights, stored.where, allow_missing=allow_missing)
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
        raise _broken(inputs, str(error)) from error
    if not isinstance(state, dict):
        raise _broken(inputs, f"it holds a {type(state).__name__}, not an object")
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


def _base() -> type[ZooModule]:
    from moon_zoo.models.base import ZooModule

    return ZooModule


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
    """Bring a Lightning checkpoint's content, in place, to what ``module``'s class is today.

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
    if module.strict_loading:
        weights.require(module, content["state_dict"], UNNAMED)
