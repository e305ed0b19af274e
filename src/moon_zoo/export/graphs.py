"""One network to one file: ``torch.export``'s archive, or ONNX made from the same traced program.

Both carry the batch as a free axis unless a fixed size is asked for. Traces of where the code lay on this machine are taken
out: the exporters would write a stack trace with file paths beside every node.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import torch

from moon_zoo.errors import CheckpointError, UsageError
from moon_zoo.models.base import ExportPart

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Format to the ending of its files."""

OPSETS = (18, 23)
"""Lowest and highest ONNX opset that torch's exporter writes."""

MAX_BATCH = 1 << 20
TRACED_ROWS = 2
"""Not 1: torch.export takes a one for a constant."""

ONE_FILE_BYTES = 1 << 30
"""Weights beyond this go into a file beside the ONNX graph: protobuf ends at 2 GiB."""


def require_packages(formats: tuple[str, ...]) -> None:
    """Refuse ONNX where its packages are not installed.

    Raises:
        UsageError: One is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if util.find_spec(name) is None]
    if "onnx" in formats and missing:
        raise UsageError(
            f"exporting to ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            change='--format to torch; or run: pip install "moon-zoo[export]"',
        )


def trace(name: str, part: ExportPart, batch_size: int | None) -> torch.export.ExportedProgram:
    """The part's network as a program of tensor operations.

    Args:
        name: The part's name, for messages.
        part: The part.
        batch_size: Rows of every batch; None leaves them free.

    Raises:
        CheckpointError: The network does something that cannot be traced.
    """
    # A copy: in evaluation mode and without gradients, and without `torch.compile`, which copying leaves behind.
    network = copy.deepcopy(part.network).cpu().eval().requires_grad_(False)
    rows = TRACED_ROWS if batch_size is None else batch_size
    examples = [cycled(example, 0, rows).cpu() for example in part.inputs.values()]
    free = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    shapes: tuple[Any, ...] = (free,) * len(examples)
    # A network that takes any number of tensors has one argument, which holds them all.
    gathers = any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(network.forward).parameters.values())
    shapes = (shapes,) if gathers else shapes
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(
                network, tuple(examples), dynamic_shapes=None if batch_size is not None else shapes
            )
    except (RuntimeError, TypeError, ValueError) as error:  # also the parents of torch.export's own kinds
        raise CheckpointError(
            f"torch.export cannot follow the network of part {name}: {_gist(error)}",
            change="--batch-size to a fixed number, if the network needs one; or --parts to leave this part out",
        ) from error
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


def cycled(example: torch.Tensor, first: int, rows: int) -> torch.Tensor:
    """``rows`` rows of an example from row ``first`` on, from the top again after its end: ``(rows, ...)``."""
    return example[(first + torch.arange(rows)) % len(example)]


def save_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program as torch's archive."""
    with _quiet():
        torch.export.save(program, path)


def save_onnx(
    program: torch.export.ExportedProgram, part: ExportPart, path: Path, *, opset: int | None = None
) -> list[Path]:
    """Write a program as ONNX, checked by ``onnx.checker``.

    Args:
        program: What `trace` made.
        part: Names the inputs and the output.
        path: The file.
        opset: Version of ONNX's operators; None for the exporter's own choice.

    Returns:
        The files written: the graph, and its weights where they are too large for it.

    Raises:
        CheckpointError: An operation has no counterpart in ONNX, or not in this opset.
    """
    import onnx
    from torch.onnx import OnnxExporterError

    try:
        with _quiet():
            exported = torch.onnx.export(
                program, (), dynamo=True, input_names=list(part.inputs), opset_version=opset, verbose=False
            )
    except OnnxExporterError as error:
        raise CheckpointError(
            f"the network cannot be written as ONNX: {_gist(error)}", change="--opset; or --format to torch"
        ) from error
    if exported is None:
        raise RuntimeError("torch.onnx.export gave no program")
    _tidy(exported.model, part)
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    apart = size > ONE_FILE_BYTES
    with _quiet():
        exported.save(path, external_data=apart)
    written = {item.domain: item.version for item in onnx.load(path, load_external_data=False).opset_import}
    if opset is not None and written.get("") != opset:
        raise CheckpointError(
            f"the network cannot be written in ONNX opset {opset}, only in {written.get('')}", change="--opset"
        )
    onnx.checker.check_model(path, full_check=not apart)
    return [path, *sorted(path.parent.glob(f"{path.name}.data"))]


def _tidy(model: Any, part: ExportPart) -> None:
    """Names of our own for the output and the batch; no notes of the exporter's."""
    graph = model.graph
    output = graph.outputs[0]
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            # The exporter names values after operations (`embedding` is one) and does not mind two of a name.
            if value.name == part.output and value is not output:
                value.name = f"{part.output}_inside"
    output.name = part.output
    free = {str(size) for value in graph.inputs for size in value.shape[:1] if not isinstance(size, int)}
    for value in (*graph.inputs, *graph.outputs):
        value.shape = type(value.shape)(["batch" if str(size) in free else size for size in value.shape])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks, which a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


def _gist(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__
