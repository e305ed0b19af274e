"""FuxiCTR's DIN over a table, as its users run it: its loader, layers, training loop and metrics, and its own defaults.

The package's wheel holds the layers, not the folder ``model_zoo/DIN``; so the few lines that put its layers together are
written here, after that folder's description: target attention over the history, joined with the features' embeddings in
front of an MLP.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import DIN_Attention, FeatureEmbeddingDict, MLP_Block
from fuxictr.pytorch.models import BaseModel

from _clicks import HISTORY, NUM_ITEMS, NUM_USERS, Table

NUM_WORKERS = 3  # of its configuration's section Base


class DIN(BaseModel):
    """Put together from FuxiCTR's parts.

    Args:
        features: Its description of the columns.
        embedding_dim: Of every feature.
        hidden: Of the deep part.
        attention_hidden: Of the attention.
        options: What its base class asks for.
    """

    def __init__(
        self, features: FeatureMap, *, embedding_dim: int, hidden: list[int], attention_hidden: list[int], **options
    ) -> None:
        super().__init__(features, model_id="DIN", **options)
        self.embedding_layer = FeatureEmbeddingDict(features, embedding_dim)
        self.attention = DIN_Attention(embedding_dim, attention_units=attention_hidden, hidden_activations="Dice")
        self.deep = MLP_Block(
            input_dim=features.sum_emb_out_dim(),
            output_dim=1,
            hidden_units=hidden,
            hidden_activations="ReLU",
            output_activation=self.output_activation,
        )
        self.compile(options["optimizer"], options["loss"], options["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        columns = self.get_inputs(inputs)
        embedded = self.embedding_layer(columns)
        mask = columns["history"].long() != 0
        embedded["history"] = self.attention(embedded["item"], embedded["history"], mask)
        return {"y_pred": self.deep(self.embedding_layer.dict2tensor(embedded, flatten_emb=True))}


def save(table: Table, path: Path) -> None:
    """The table as its users keep it: one npz, ids from 1, 0 is padding at the front of histories."""
    history = np.zeros((len(table), HISTORY), dtype=np.int64)
    lengths = (table.histories >= 0).sum(1)
    at = np.arange(HISTORY) >= (HISTORY - lengths)[:, None]
    history[at] = table.histories[table.histories >= 0] + 1
    columns = {"user": table.users + 1, "item": table.items + 1, "category": table.categories + 1, "history": history}
    np.savez(path, **columns, click=table.clicks)


def features(folder: Path, embedding_dim: int) -> FeatureMap:
    """What its preprocessing would write into feature_map.json."""
    found = FeatureMap("clicks", str(folder))
    sizes = {"user": NUM_USERS + 1, "item": NUM_ITEMS + 1, "category": 12}
    described = {name: {"type": "categorical", "vocab_size": size} for name, size in sizes.items()}
    found.features = OrderedDict(described)
    found.features["item"]["padding_idx"] = 0
    found.features["history"] = {
        "type": "sequence",
        "vocab_size": NUM_ITEMS + 1,
        "max_len": HISTORY,
        "padding_idx": 0,
        "share_embedding": "item",
        "feature_encoder": None,
    }
    found.labels = ["click"]
    found.group_id = "user"
    found.default_emb_dim = embedding_dim
    found.num_fields = len(found.features)
    found.set_column_index()
    return found


class Runner:
    """One model and its loaders.

    Args:
        folder: Holds ``train.npz`` and ``test.npz``.
        batch_size: For training and evaluation.
        embedding_dim: Of every feature.
        hidden: Of the deep part.
        attention_hidden: Of the attention.
        learning_rate: Adam's.
        seed: Of initialisation and shuffling.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch_size: int,
        embedding_dim: int,
        hidden: tuple[int, ...],
        attention_hidden: tuple[int, ...],
        learning_rate: float,
        seed: int,
    ) -> None:
        logging.disable(logging.INFO)
        torch.manual_seed(seed)
        described = features(folder, embedding_dim)
        self.model = DIN(
            described,
            embedding_dim=embedding_dim,
            hidden=list(hidden),
            attention_hidden=list(attention_hidden),
            verbose=0,
            model_root=str(folder),
            metrics=["logloss", "AUC", "gAUC"],
            optimizer="adam",
            loss="binary_crossentropy",
            learning_rate=learning_rate,
        )
        files = {"train_data": str(folder / "train.npz"), "test_data": str(folder / "test.npz")}
        common = {"batch_size": batch_size, "num_workers": NUM_WORKERS, "data_format": "npz"}
        self.train_data, _ = RankDataLoader(described, stage="train", shuffle=True, **files, **common)
        self.test_data = RankDataLoader(described, stage="test", **files, **common)
        self.model._eval_steps = 1 << 60  # evaluated when we ask
        self.model._total_steps = 0
        self.model._max_gradient_norm = 10.0
        self.model._stop_training = False

    def train_epoch(self) -> float:
        """Seconds of one epoch of its training loop."""
        start = time.perf_counter()
        self.model.train_epoch(self.train_data)
        return time.perf_counter() - start

    def evaluate(self, group: bool) -> tuple[float, dict[str, float]]:
        """Seconds of its evaluation, with GAUC or without, and its figures."""
        metrics = ["logloss", "AUC"] + (["gAUC"] if group else [])
        start = time.perf_counter()
        found = self.model.evaluate(self.test_data, metrics=metrics)
        return time.perf_counter() - start, {name: float(value) for name, value in found.items()}
