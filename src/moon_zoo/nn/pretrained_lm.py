"""Language models of transformers by name: from a configuration alone, or with weights, of safetensors only and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from moon_zoo.errors import CheckpointError, RecipeError, gist

OPTIONS: Final = "model.init_args.backbone_options"


def from_config(build: Callable[..., Any], config: Any, how: Mapping[str, Any]) -> Any:
    """A model of random weights.

    Args:
        build: Of the model's class: takes a configuration.
        config: It.
        how: ``attn_implementation`` and ``dtype``.

    Raises:
        RecipeError: There is no such model.
    """
    try:
        return build(config, **how)
    except (ValueError, ImportError, KeyError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise RecipeError(
            f"a backbone of these numbers cannot be built: {type(error).__name__}: {gist(error)}", change=OPTIONS
        ) from error


def from_weights(kind: Any, name: str, config: Any, how: Mapping[str, Any]) -> Any:
    """A model with the weights of a hub or a folder; code that comes with them is never run.

    Args:
        kind: The model's class, or one of transformers' that find it.
        name: Hub name or folder.
        config: What is built.
        how: ``attn_implementation`` and ``dtype``.

    Raises:
        CheckpointError: It cannot be loaded, or a weight is not there or of another size.
    """
    from safetensors import SafetensorError

    safe = {"use_safetensors": True, "trust_remote_code": False}
    # what does not fit is refused below, in words
    wanted = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with quietly():
            lm, found = kind.from_pretrained(name, config=config, **wanted, **how, **safe)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise cannot_load(name, error) from error
    faults = {
        "are of other sizes than its configuration": sorted(key[0] for key in found["mismatched_keys"]),
        "are not there": sorted(found["missing_keys"]),
    }
    for fault, names in faults.items():
        if names:
            raise CheckpointError(
                f"{len(names)} of the backbone's weights {fault}, such as {names[0]}",
                where=name,
                change=f"{OPTIONS}, to the sizes that were trained",
            )
    return lm


def cannot_load(name: str, error: Exception) -> CheckpointError:
    """What to say of a model that cannot be loaded."""
    change = (
        "model.init_args.backbone to a folder that holds config.json and model.safetensors, or to null for a tiny one"
    )
    is_folder = Path(name).exists()
    if not is_folder and (name.startswith(("/", ".", "~")) or name.count("/") > 1):
        return CheckpointError(f"there is no folder {name}", where="model.init_args.backbone", change=change)
    kind = "folder" if is_folder else "hub name"
    return CheckpointError(f"the backbone {name} ({kind}) cannot be loaded: {gist(error)}", change=change)


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' reports and bars, which say at length what our messages say."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
