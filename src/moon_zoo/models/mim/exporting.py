"""The click network with its content table inside: what `moon-zoo export` writes.

Whoever runs it without the zoo turns raw values into ids by ``vocabularies.json`` and items into rows of the content table by
``content_items.json``; a value that is not listed is 1, padding is 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from moon_zoo.data.impressions.schema import FIRST, OUT_OF_VOCABULARY, Schema
from moon_zoo.errors import CheckpointError
from moon_zoo.models.base import ExportPart
from moon_zoo.models.mim.content import needed
from moon_zoo.models.mim.network import MimNetwork

if TYPE_CHECKING:
    from moon_zoo.models.mim.module import Mim

VOCABULARIES, ITEMS = "vocabularies.json", "content_items.json"
DRAWN_ROWS = 8


class ClickNetwork(nn.Module):
    """The network as a function of plain tensors, in a fixed order.

    Args:
        network: The model's.
        names: Names in a batch of the tensors that it takes.
        content: The content table; None for a network without content.
    """

    content: Tensor | None

    def __init__(self, network: MimNetwork, names: Sequence[str], content: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)
        self.register_buffer("content", content)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Tensors in the order of ``names`` to click probabilities, float32 ``(batch, 1)``."""
        return self.network(dict(zip(self.names, tensors)), self.content).sigmoid().unsqueeze(1)


def export_parts(module: Mim) -> dict[str, ExportPart]:
    """``click``: the network with its content table.

    Raises:
        CheckpointError: The model was neither trained nor loaded.
    """
    network, inputs = module.network, module.inputs
    if network is None:
        raise CheckpointError(
            "this model knows no columns yet: it was neither trained nor loaded", change="the checkpoint"
        )
    content = None
    if network.needs_content:
        if inputs.table is None:
            raise needed(network.behaviour)
        content = torch.from_numpy(inputs.table.vectors()) if module.content is None else module.content
    drawn = _drawn(inputs.learned, inputs.sizes, inputs.max_history, 0 if content is None else len(content))
    drawn = _asked_for(network, drawn, content)
    vocabularies = {name: one.values[: inputs.known[name]] for name, one in inputs.vocabularies.items()}
    files = {VOCABULARIES: json.dumps(vocabularies, ensure_ascii=False) + "\n"}
    if content is not None and inputs.table is not None:
        files[ITEMS] = json.dumps(inputs.table.item_ids.to_pylist(), ensure_ascii=False) + "\n"
    names = {name: name.replace("/", ".") for name in drawn}
    return {
        "click": ExportPart(
            network=ClickNetwork(network, tuple(drawn), content),
            inputs={names[name]: tensor for name, tensor in drawn.items()},
            output="probability",
            contract={names[name]: one for name, one in _contract(inputs.learned, drawn).items()},
            files=files,
            batch_names={plain: name for name, plain in names.items()},
            note=f"Ids: place in {VOCABULARIES} + {FIRST}, {OUT_OF_VOCABULARY} for what is not listed, 0 for padding. "
            "Histories: oldest first from the left; of longer ones the newest.",
        )
    }


def _drawn(schema: Schema, sizes: dict[str, int], length: int, content_rows: int) -> dict[str, Tensor]:
    """Rows of any ids, with histories of all lengths; also unknown ids, items without embeddings, missing numbers."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.linspace(0, length, DRAWN_ROWS).long()
    mask = torch.arange(length) < lengths[:, None]  # (rows, length)
    tensors: dict[str, Tensor] = {}
    single = {one.name for one in schema.categorical}

    def ids(column: str, size: int) -> Tensor:
        shape = (DRAWN_ROWS,) if column in single else (DRAWN_ROWS, length)
        found = torch.randint(OUT_OF_VOCABULARY, max(size, FIRST), shape, generator=draw, dtype=torch.int32)
        return found if column in single else found * mask

    for column in schema.id_columns:
        tensors[f"id/{column}"] = ids(column, sizes[schema.vocabulary_of(column)])
    for sequence in schema.sequences:
        tensors[f"mask/{sequence.name}"] = mask.clone()
    for column in schema.content_columns if content_rows else ():
        tensors[f"content/{column}"] = ids(column, content_rows)
    if schema.numeric:
        missing = torch.rand((DRAWN_ROWS, len(schema.numeric)), generator=draw) < 0.25
        tensors["numeric"] = torch.randn(missing.shape, generator=draw) * ~missing
        tensors["numeric_missing"] = missing
    return tensors


class _Asked(dict[str, Tensor]):
    """A batch that notes what is read of it."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        super().__init__(batch)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)


def _asked_for(network: MimNetwork, drawn: dict[str, Tensor], content: Tensor | None) -> dict[str, Tensor]:
    """Those tensors that the network reads: without histories, say, where its behaviour layer is ``none``."""
    asked, training = _Asked(drawn), network.training
    with torch.no_grad():
        network.eval()(asked, content)
    network.train(training)
    return {name: tensor for name, tensor in drawn.items() if name in asked.names}


def _contract(schema: Schema, drawn: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    contract: dict[str, dict[str, Any]] = {}
    for name in drawn:
        kind, _, column = name.partition("/")
        if kind == "id":
            contract[name] = {"kind": "ids", "column": column, "vocabulary": schema.vocabulary_of(column)}
        elif kind == "content":
            contract[name] = {"kind": "content_rows", "column": column, "items": ITEMS}
        elif kind == "mask":
            contract[name] = {"kind": "mask", "of": column, "meaning": "True on entries, False on padding"}
    numbers = [{"column": one.name, "mean": one.mean, "std": one.std} for one in schema.numeric]
    if numbers:
        contract["numeric"] = {
            "kind": "numbers",
            "columns": numbers,
            "meaning": "(value - mean) / std, 0 where missing",
        }
        contract["numeric_missing"] = {"kind": "missing", "of": "numeric", "meaning": "True where a number is missing"}
    return contract
