"""Memory of a training step, counted on torch's meta device: every storage is followed from birth to death, none exists.

A step on the meta device does all of a step's shape work (forward, loss, backward, optimiser) without numbers, so a model of
any size is taken through it on any machine. What is counted is what tensors take. An allocator's rounding and fragments,
workspaces of kernels (cuBLAS keeps some tens of MB) and the driver's own context (about half a GB on CUDA) come on top.

Mixed precision is imitated, since autocast knows no meta device: products of matrices, convolutions and attention get their
arguments in 16 bits, as `torch.autocast` would give them, and each weight's copy is made once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

IN_16_BITS: dict[Any, tuple[str, ...]] = {
    F: ("linear", "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention", "grouped_mm"),
    torch: ("matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"),
    Tensor: ("matmul", "__matmul__", "__rmatmul__", "mm", "bmm"),
}
"""What autocast runs in 16 bits, as far as the zoo's models call it."""

IN_32_BITS: dict[Any, tuple[str, ...]] = {
    F: ("layer_norm", "softmax", "log_softmax", "cross_entropy", "normalize"),
    torch: ("softmax", "log_softmax"),
}
"""What autocast keeps in float32."""


class LiveMemory(TorchDispatchMode):
    """Follows storages: how much is alive, and how much was at most.

    Attributes:
        current: Bytes alive.
        peak: The most there was since the start or `reset_peak`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and note what it made."""
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            # A value is asked for where there is none: "not all" and "one" take the general way, of masks that leave some out.
            return False if args[0].dtype == torch.bool else 1 if not args[0].is_floating_point() else 1.0
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.note, made)
        return made

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor's storage, once however many tensors look at it, until it dies."""
        if tensor.layout is not torch.strided:
            return tensor
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self._known.add(key)
            self.current += size
            self.peak = max(self.peak, self.current)
            weakref.finalize(storage, self._died, key, size)
        return tensor

    def reset_peak(self) -> None:
        """Look for the peak from here on."""
        self.peak = self.current

    def _died(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.current -= size


class LikeAutocast:
    """While entered, functions get their arguments in the types that autocast would give them.

    The functions themselves are wrapped, for the time of a step: torch's own modes for this do not reach what a backward pass
    computes again.

    Args:
        dtype: ``torch.bfloat16`` or ``torch.float16``.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._copies: dict[tuple[int, bool], Tensor] = {}
        self._own = ExitStack()

    def __enter__(self) -> Self:
        for functions, cast in ((IN_16_BITS, self._narrow), (IN_32_BITS, _widen)):
            for place, names in functions.items():
                for name in names:
                    self._wrap(place, name, cast)
        return self

    def __exit__(self, *error: object) -> None:
        self._own.close()
        self.forget()

    def forget(self) -> None:
        """Drop the weights' copies, as autocast does when its block ends."""
        self._copies.clear()

    def _wrap(self, place: Any, name: str, cast: Callable[[Tensor], Tensor]) -> None:
        function = getattr(place, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = tree_map_only(Tensor, cast, (args, kwargs))
            return function(*args, **kwargs)

        if name in vars(place):
            self._own.callback(setattr, place, name, function)
        else:  # inherited from a class that cannot be changed
            self._own.callback(delattr, place, name)
        setattr(place, name, wrapped)

    def _narrow(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        if not isinstance(tensor, nn.Parameter):
            return tensor.to(self.dtype)
        key = id(tensor), torch.is_grad_enabled()  # as autocast's cache of weights
        if key not in self._copies:
            self._copies[key] = tensor.to(self.dtype)
        return self._copies[key]


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, each storage once."""
    found = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(found.values())


def measure_step(
    tensors: Iterable[Tensor], step: Callable[[], Tensor], *, autocast: torch.dtype | None = None
) -> tuple[int, int]:
    """Take a step forward and backward.

    Args:
        tensors: What is there before: weights, buffers and the batch, on the meta device.
        step: Gives the loss, with gradient.
        autocast: 16-bit type of mixed precision; None without.

    Returns:
        Bytes beyond those of ``tensors``: what is kept after the forward pass, and the most there is at any moment of the step,
        gradients included.
    """
    live = LiveMemory()
    before = list(tensors)
    for tensor in before:
        live.note(tensor)
    start = live.current
    casting = LikeAutocast(autocast) if autocast is not None else None
    with live, casting if casting is not None else nullcontext():
        loss = step()
        if casting is not None:
            casting.forget()
        kept = live.current - start
        loss.backward()
    return kept, live.peak - start


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes that an optimiser keeps between steps: it takes one on the meta device, with gradients of the weights' shapes."""
    for group in optimizer.param_groups:
        group |= {
            name: False for name in ("fused", "foreach") if name in group
        }  # kernels of devices, with the same states
        for parameter in group["params"]:
            parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    optimizer.zero_grad(set_to_none=True)
    return size_of(states)
