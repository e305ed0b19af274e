"""MAKE's first step as part of another model: a network over content alone, trained before, whose findings are features.

Source: SimTier and MAKE, arXiv:2407.19467, section 4.2: content needs several epochs, ids overfit after one; so a network of
content embeddings is trained by itself, and its attention output, hidden layers and logit are handed to the model of ids.

The second step holds the first's weights among its own. A checkpoint folder says in ``make/make.json`` how to build it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from moon_zoo.data.impressions.schema import Schema
from moon_zoo.errors import CheckpointError
from moon_zoo.hub.resolve import resolve
from moon_zoo.models import pretrained
from moon_zoo.models.mim.network import MimNetwork

FOLDER, FILE = "make", "make.json"
OPTION = "model.init_args.make"
_PREFIX = "network."


@dataclass(frozen=True)
class FirstStep:
    """What a trained first step is.

    Args:
        settings: Of its network, as `moon_zoo.models.mim.module.NETWORK_SETTINGS` names them.
        schema: Its columns, as plain values.
        content: What it remembers of its content table.
        weights: Of its network; None where they are among those of the model that it is part of.
        source: For messages.
    """

    settings: dict[str, Any]
    schema: dict[str, Any]
    content: dict[str, Any]
    weights: dict[str, Tensor] | None
    source: str

    @classmethod
    def read(cls, source: str | os.PathLike[str], names: tuple[str, ...]) -> Self:
        """A first step from its own checkpoint or run, or from the folder of the model that it is part of.

        Args:
            source: A checkpoint, or a folder with `FILE`.
            names: The settings of a network.

        Raises:
            CheckpointError: It is no such checkpoint.
        """
        text = os.fspath(source)
        file = Path(source) / FILE
        if file.is_file():
            try:
                values = json.loads(file.read_text("utf-8"))
                return cls(
                    **{key: dict(values[key]) for key in ("settings", "schema", "content")}, weights=None, source=text
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise _unusable(text, f"{FILE} cannot be read: {error}") from error
        stored = pretrained.read(resolve(source))
        settings, inputs = stored.init_args or {}, stored.inputs or {}
        if not str(stored.class_path).endswith(".Mim") or inputs.get("schema") is None:
            raise _unusable(text, f"it is a checkpoint of {stored.class_path}, not of mim")
        if settings.get("use_ids", True):
            raise _unusable(text, "it was trained with ids; the first step is one of content alone (use_ids: false)")
        if inputs.get("content") is None:
            raise _unusable(text, "it was trained without content embeddings")
        weights = {
            name.removeprefix(_PREFIX): value for name, value in stored.weights.items() if name.startswith(_PREFIX)
        }
        kept = {name: settings[name] for name in names if name in settings}
        return cls(kept, dict(inputs["schema"]), dict(inputs["content"]), weights, text)

    def write(self, folder: Path) -> None:
        """Write what builds the network again into a checkpoint folder."""
        (folder / FOLDER).mkdir()
        values = {"settings": self.settings, "schema": self.schema, "content": self.content}
        (folder / FOLDER / FILE).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def network(self, schema: Schema, content: Mapping[str, Any]) -> MimNetwork:
        """The network, with its weights where they are known here.

        Args:
            schema: Columns of the model that it is to be part of.
            content: What that model remembers of its content table.

        Raises:
            CheckpointError: It was trained on other columns or other embeddings.
        """
        if Schema.from_json(self.schema) != schema:
            raise _unusable(
                self.source, "it was trained on another set: its columns, or their means and deviations, differ"
            )
        if self.content["fingerprint"] != content["fingerprint"]:
            raise _unusable(self.source, "it was trained with other content embeddings")
        network = MimNetwork(schema, {}, **self.settings, content_dim=content["dim"])
        if self.weights is not None:
            try:
                network.load_state_dict({name: value.float() for name, value in self.weights.items()})
            except RuntimeError as error:
                raise _unusable(self.source, " ".join(str(error).split())[:300]) from error
        return network


def _unusable(source: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{source} cannot be MAKE's first step: {reason}",
        where=f"{OPTION} = {source}",
        change=f"{OPTION}, to a run of `moon-zoo fit --config mim/make_content` on the same data and embeddings",
    )
