"""Contrastive batches larger than memory: encode in micro-batches, take the loss over all, encode again.

Source: Gao, Zhang, Han, Callan 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv:2101.06983 (GradCache). The gradient equals that of the whole batch; the cost is a second forward pass.

Where we differ: the second pass is the *backward of an ordinary autograd node* whose inputs are the encoder's
parameters. The node's output is the embeddings of the whole batch, and everything after it (gathering, losses,
scaling) is a plain graph. So one ``loss.backward()`` does all of it, and automatic optimisation, gradient scaling,
clipping, accumulation and logging need not know. It also suits DDP's reducer, which expects every parameter's hook to
fire exactly once between two forwards. Calling ``backward`` per micro-batch would fire it once per micro-batch, and
``no_sync`` cannot mend that from inside, as it takes effect when the wrapped module's forward ends, which is after
ours. Here each parameter gets one gradient, summed over micro-batches, in one piece, and no ``no_sync`` is needed.
What is lost is the overlap of communication with the last micro-batch's backward. Not for FSDP, whose hooks shard the
gradients of every backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states

MicroBatch = TypeVar("MicroBatch")
Encode = Callable[[MicroBatch], dict[str, Tensor]]


def cached_embeddings(
    encode: Encode[MicroBatch], micro_batches: Sequence[MicroBatch], parameters: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Encode micro-batch by micro-batch; one ``backward`` through the result encodes each again for its gradient.

    Args:
        encode: From a micro-batch to named tensors. It runs twice per micro-batch, the second time with the random
            state of the first, so that dropout falls on the same places. It must not log, and batch norm would see a
            batch twice. Tensors with a batch axis are joined along it. Scalars (an auxiliary loss that depends on the
            batch, such as a router's load balance) are averaged over micro-batches and get their gradient in the
            second pass.
        micro_batches: What ``encode`` takes, one after another. Sizes may differ.
        parameters: All parameters that ``encode`` uses. Others may be among them. One left out gets no gradient.

    Returns:
        Named tensors of the whole batch, with gradient to ``parameters``.
    """
    if len(micro_batches) == 0:
        raise ValueError("there are no micro-batches to encode")
    trained = tuple(parameter for parameter in parameters if parameter.requires_grad)
    if not (trained and torch.is_grad_enabled()):
        return _join([encode(micro_batch) for micro_batch in micro_batches])
    replay = _Replay(encode, micro_batches)
    outputs = _TwoPasses.apply(replay, *trained)
    return dict(zip(replay.names, outputs))


def grad_cached(
    encode: Encode[MicroBatch],
    micro_batches: Sequence[MicroBatch],
    loss_fn: Callable[[dict[str, Tensor]], Tensor],
    parameters: Iterable[Tensor],
) -> Tensor:
    """The loss of a batch that is encoded in micro-batches; its ``backward`` makes the second pass.

    Args:
        encode: See `cached_embeddings`.
        micro_batches: See `cached_embeddings`.
        loss_fn: From the whole batch's named tensors to a scalar. It runs once, and may use parameters of its own.
        parameters: All parameters that ``encode`` uses.

    Returns:
        The loss, a scalar.
    """
    return loss_fn(cached_embeddings(encode, micro_batches, parameters))


def split_batch(batch: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """A batch of equal-length tensors as micro-batches of ``size`` rows (the last may be smaller), as views."""
    if size < 1:
        raise ValueError(f"the size of a micro-batch must be at least 1, not {size}")
    rows = len(next(iter(batch.values())))
    return [{name: value[start : start + size] for name, value in batch.items()} for start in range(0, rows, size)]


@dataclass
class _RandomState:
    """State of the CPU's and the used accelerators' generators, taken before a micro-batch's first pass."""

    cpu: Tensor
    devices: list[int]
    states: list[Tensor]

    @classmethod
    def now(cls, *tensors: Any) -> _RandomState:
        devices, states = get_device_states(*tensors)
        return cls(torch.get_rng_state(), devices, states)

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.devices:
            set_device_states(self.devices, self.states)


@dataclass
class _Replay:
    """What the second pass needs from the first."""

    encode: Encode[Any]
    micro_batches: Sequence[Any]
    names: list[str] = field(default_factory=list)
    random_states: list[_RandomState] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    scalars: frozenset[str] = frozenset()
    contexts: list[Callable[[], Any]] = field(default_factory=list)

    def first_pass(self) -> dict[str, Tensor]:
        parts = []
        for micro_batch in self.micro_batches:
            self.random_states.append(_RandomState.now(*_tensors(micro_batch)))
            parts.append(self.encode(micro_batch))
        self.names = list(parts[0])
        self.scalars = frozenset(name for name, value in parts[0].items() if value.ndim == 0)
        self.sizes = [_rows(part) for part in parts]
        self.contexts = _autocast_contexts(_device_types(parts[0]))
        return _join(parts)

    def second_pass(self, gradients: dict[str, Tensor | None], parameters: tuple[Tensor, ...]) -> list[Tensor | None]:
        sums = _Sums(len(parameters))
        start = 0
        for number, micro_batch in enumerate(self.micro_batches):
            self.random_states[number].restore()
            with torch.enable_grad(), ExitStack() as stack:
                for context in self.contexts:
                    stack.enter_context(context())
                outputs = self.encode(micro_batch)
            stop = start + self.sizes[number]
            pairs = [
                (outputs[name], self._share(name, gradient, start, stop))
                for name, gradient in gradients.items()
                if gradient is not None and outputs[name].requires_grad
            ]
            start = stop
            if pairs:
                found = torch.autograd.grad(
                    [output for output, _ in pairs], parameters, [share for _, share in pairs], allow_unused=True
                )
                sums.add(found)
                del found
            del outputs, pairs  # else they would live until the next micro-batch is encoded
        return sums.values

    def _share(self, name: str, gradient: Tensor, start: int, stop: int) -> Tensor:
        if name in self.scalars:
            return gradient / len(self.micro_batches)
        return gradient[start:stop]


class _TwoPasses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, replay: _Replay, *parameters: Tensor) -> tuple[Tensor, ...]:
        joined = replay.first_pass()
        ctx.replay = replay
        # Parameters changed in place between the passes would make the second differ from the first: autograd checks
        # that.
        ctx.save_for_backward(*parameters)
        ctx.set_materialize_grads(False)
        constants = [value for value in joined.values() if not value.is_floating_point()]
        ctx.mark_non_differentiable(*constants)
        return tuple(joined.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        replay: _Replay = ctx.replay
        named = dict(zip(replay.names, gradients))
        before = _RandomState.now(*(gradient for gradient in gradients if gradient is not None))
        try:
            sums = replay.second_pass(named, ctx.saved_tensors)
        finally:
            before.restore()
        return (None, *sums)


def _join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {
        name: torch.stack([part[name] for part in parts]).mean(0)
        if value.ndim == 0
        else torch.cat([part[name] for part in parts])
        for name, value in parts[0].items()
    }


def _rows(part: dict[str, Tensor]) -> int:
    sizes = {len(value) for value in part.values() if value.ndim > 0}
    if len(sizes) > 1:
        raise ValueError(f"encode returned tensors of different batch sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else 0


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _device_types(part: dict[str, Tensor]) -> list[str]:
    kinds = {value.device.type for value in part.values()} | {"cpu"}
    return sorted(kinds - {"meta"})  # which has no autocast of its own


def _autocast_contexts(device_types: list[str]) -> list[Callable[[], Any]]:
    """Backward runs outside the autocast region of the forward: the second pass has to enter it again."""

    def entered(device_type: str, enabled: bool, dtype: torch.dtype) -> Callable[[], Any]:
        return lambda: torch.autocast(device_type, enabled=enabled, dtype=dtype)

    return [
        entered(device_type, torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type))
        for device_type in device_types
    ]


class _Sums:
    """Gradients added up over micro-batches, holding no more than the sums and what is being added."""

    def __init__(self, count: int) -> None:
        self.values: list[Tensor | None] = [None] * count
        self._own = [False] * count

    def add(self, parts: Sequence[Tensor | None]) -> None:
        for place, part in enumerate(parts):
            total = self.values[place]
            if part is None or total is None:
                self.values[place] = total if part is None else part
            elif self._own[place]:
                total.add_(part)
            else:
                # A gradient as it came may be an expanded view, or be shared by two parameters: not in place.
                self.values[place], self._own[place] = total + part, True
