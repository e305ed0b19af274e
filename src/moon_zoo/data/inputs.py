"""The contract between a model and the data layer: samples to tensors, tensors to batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from moon_zoo.data import transport


@dataclass(frozen=True, slots=True)
class Draw:
    """How one sample is to be turned into tensors.

    Args:
        training: Whether to augment.
        generator: Seeded from (seed, epoch, position), so a sample's augmentation does not depend on which worker or
            rank draws it. None outside training.
    """

    training: bool = False
    generator: torch.Generator | None = None


@runtime_checkable
class Inputs(Protocol):
    """What a model's ``inputs`` offers."""

    def fit(self, samples: Iterable[Any], manifest: Any) -> None:
        """Learn what must come from training data (tokenizer, vocabularies), once; a no-op when nothing is missing."""
        ...

    def sample(self, sample: Any, draw: Draw) -> dict[str, Tensor]:
        """One sample (a dataclass of `moon_zoo.data.kinds`) to tensors of static shape, without a batch axis."""
        ...

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Several results of `sample` to one batch; plain stacking unless a model needs more."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `fit` learned, as plain values (strings, numbers, lists, dicts)."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


def stack(samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack equal-shaped tensors key by key: ``(...)`` to ``(batch, ...)``.

    Photos keep the channels-last memory that decoding leaves them in (their shape is ``(batch, 3, height, width)`` all
    the same): turning it around costs a tenth of decoding, and convolutions like it as it is.
    """
    return {name: _stack([sample[name] for sample in samples]) for name in samples[0]}


def _stack(tensors: list[Tensor]) -> Tensor:
    if tensors[0].dim() == 3 and any(tensor.stride(0) == 1 and tensor.shape[0] > 1 for tensor in tensors):
        return _stack_plain([tensor.permute(1, 2, 0) for tensor in tensors]).permute(0, 3, 1, 2)
    return _stack_plain(tensors)


def _stack_plain(tensors: list[Tensor]) -> Tensor:
    out = transport.empty((len(tensors), *tensors[0].shape), tensors[0].dtype)
    return torch.stack(tensors, out=out)
