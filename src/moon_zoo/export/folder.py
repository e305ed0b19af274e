"""An exported folder: networks, tokenizer, `contract.json` and a README, there complete and checked or not at all."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor

from moon_zoo import __version__
from moon_zoo.data.ids import file_sha256
from moon_zoo.data.publishing import Publication
from moon_zoo.errors import CheckpointError, UsageError, did_you_mean
from moon_zoo.export import graphs, parity
from moon_zoo.export.readme import readme
from moon_zoo.models.base import ExportPart, ZooModule
from moon_zoo.models.pretrained import class_path

CONTRACT = "contract.json"
README = "README.md"
TOLERANCE = 1e-4
"""Largest difference allowed between outputs: float32 sums in another order stay well below it for unit vectors."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a model is exported.

    Args:
        formats: Of `graphs.FORMATS`.
        parts: Names of the model's parts; None for all.
        tolerance: Largest difference of an output from the model's.
        batch_size: Rows of every batch; None leaves them free.
        opset: ONNX opset; None for the exporter's own choice.
    """

    formats: tuple[str, ...] = ("onnx", "torch")
    parts: tuple[str, ...] | None = None
    tolerance: float = TOLERANCE
    batch_size: int | None = None
    opset: int | None = None


def check_options(options: ExportOptions) -> None:
    """Refuse what can be refused before the model is loaded.

    Raises:
        UsageError: A format, number or package is wrong or missing.
    """
    for name in options.formats:
        if name not in graphs.FORMATS:
            known = ", ".join(graphs.FORMATS)
            raise UsageError(
                f"unknown format {name!r}; known: {known}",
                suggestions=did_you_mean(name, graphs.FORMATS),
                change="--format",
            )
    if not options.tolerance > 0:
        raise UsageError(f"the tolerance must be above 0, got {options.tolerance:g}", change="--tolerance")
    if options.batch_size is not None and not 1 <= options.batch_size <= graphs.MAX_BATCH:
        raise UsageError(
            f"the batch size must be 1 to {graphs.MAX_BATCH:,}, got {options.batch_size:,}", change="--batch-size"
        )
    low, high = graphs.OPSETS
    if options.opset is not None and not low <= options.opset <= high:
        raise UsageError(f"torch's exporter writes opsets {low} to {high}, not {options.opset}", change="--opset")
    graphs.require_packages(options.formats)


def chosen_parts(module: ZooModule, names: Sequence[str] | None) -> dict[str, ExportPart]:
    """The parts to export.

    Raises:
        CheckpointError: The model has none.
        UsageError: It has none of that name.
    """
    parts = module.export_parts()
    if not parts:
        raise CheckpointError(f"{type(module).__name__} has no networks to export", change="the checkpoint")
    for name in names or ():
        if name not in parts:
            raise UsageError(
                f"{type(module).__name__} has no part {name!r}; it has {', '.join(parts)}",
                suggestions=did_you_mean(name, parts),
                change="--parts",
            )
    return {name: part for name, part in parts.items() if names is None or name in names}


def export(
    module: ZooModule,
    folder: Path,
    options: ExportOptions = ExportOptions(),
    *,
    source: str = "",
    real: Iterable[Mapping[str, Tensor]] = (),
) -> dict[str, Any]:
    """Write a model's parts into a new folder, after each file gave the model's own outputs.

    Args:
        module: The model, trained or loaded; it is put into evaluation mode, on the CPU.
        folder: The folder to be; must not exist, or be empty.
        options: Formats, parts, tolerance, batch, opset.
        source: What the model is called, for the contract.
        real: Batches of the model's inputs, compared besides the drawn rows.

    Returns:
        What `contract.json` holds.

    Raises:
        UsageError: An option is wrong, or the folder is taken.
        CheckpointError: A network cannot be exported, or its file gives other outputs. Nothing is left behind.
    """
    check_options(options)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists already; nothing was written", change="--to to a new folder")
    module = module.eval().cpu()
    batches = list(real)
    with Publication(folder) as publication:
        parts = {
            name: _write_part(name, part, publication.folder, options, batches)
            for name, part in chosen_parts(module, options.parts).items()
        }
        contract = {
            "format": 1,
            "model": _model(module, source),
            "tolerance": options.tolerance,
            "parts": parts,
            "made_with": versions(options.formats),
        }
        text = json.dumps(contract, indent=2, ensure_ascii=False) + "\n"
        (publication.folder / CONTRACT).write_text(text, "utf-8")
        (publication.folder / README).write_text(readme(contract, folder.name), "utf-8")
    return contract


def _write_part(
    name: str, part: ExportPart, folder: Path, options: ExportOptions, real: Sequence[Mapping[str, Tensor]]
) -> dict[str, Any]:
    program = graphs.trace(name, part, options.batch_size)
    files: dict[str, Any] = {}
    comparable = real if part.batch_names.keys() >= part.inputs.keys() else ()
    for format_name in options.formats:
        path = folder / f"{name}{graphs.FORMATS[format_name]}"
        if format_name == "onnx":
            written = graphs.save_onnx(program, part, path, opset=options.opset)
            run = parity.onnx_runner(path, part)
        else:
            graphs.save_torch(program, path)
            written, run = [path], parity.torch_runner(path)
        measured = parity.measure(part, run, options.batch_size, comparable)
        parity.require_close(measured, options.tolerance, path.name)
        files[format_name] = {"file": path.name, **_size_and_hash(path), "parity": measured.plain()}
        if format_name == "onnx":
            files[format_name]["opset"] = _opset(path)
        if written[1:]:
            files[format_name]["weights"] = {extra.name: _size_and_hash(extra) for extra in written[1:]}
    for file, text in part.files.items():
        (folder / file).write_text(text, "utf-8")
    return {
        "files": files,
        "batch": options.batch_size,
        "inputs": [
            {"name": argument, **_shape(example, options.batch_size), **part.contract.get(argument, {})}
            for argument, example in part.inputs.items()
        ],
        "output": {"name": part.output, **_output_shape(part, options.batch_size)},
        "beside": {file: _size_and_hash(folder / file) for file in part.files},
        "note": part.note,
    }


def _model(module: ZooModule, source: str) -> dict[str, Any]:
    return {
        "source": source,
        "class_path": class_path(type(module)),
        "fingerprint": module.fingerprint(),
    }


def _shape(example: Tensor, batch_size: int | None) -> dict[str, Any]:
    first: int | str = "batch" if batch_size is None else batch_size
    return {"dtype": str(example.dtype).removeprefix("torch."), "shape": [first, *example.shape[1:]]}


def _output_shape(part: ExportPart, batch_size: int | None) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        return _shape(part.network(*[example[:1] for example in part.inputs.values()]), batch_size)


def _opset(path: Path) -> int:
    import onnx

    return next(item.version for item in onnx.load(path, load_external_data=False).opset_import if not item.domain)


def _size_and_hash(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def versions(formats: Sequence[str]) -> dict[str, str]:
    """Versions of what made the files."""
    names = ["torch", *(["onnx", "onnxscript", "onnxruntime"] if "onnx" in formats else [])]
    found = {name: metadata.version(name) for name in names}
    return {"moon_zoo": __version__, "python": platform.python_version(), **found}
