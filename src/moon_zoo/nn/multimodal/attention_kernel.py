"""Which of torch's attention kernels is used, where its own choice is a bad one.

On a CPU the backward pass of torch's flash kernel in bfloat16 takes six times its forward on sequences as short as ours: for 64
sequences of 60 tokens with 4 heads of 32, 36 ms against 6 ms; plain products of matrices take 8 and 8 (torch 2.15, one core).
Over some hundred tokens the flash kernel wins again, and in float32 it is never far behind.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

LONGEST = 256
"""Tokens up to which plain products are faster."""


def attention_kernel(hidden: Tensor, length: int) -> AbstractContextManager[object]:
    """A context for attention over ``length`` tokens; must enclose each recomputation of it too.

    Args:
        hidden: What enters the layer: its device counts, and its dtype where no autocast changes it.
        length: Tokens of a sequence.
    """
    return sdpa_kernel(SDPBackend.MATH) if plain_products_are_faster(hidden, length) else nullcontext()


def plain_products_are_faster(hidden: Tensor, length: int) -> bool:
    """Whether attention over ``length`` tokens is better done as products of matrices; arguments as `attention_kernel`'s."""
    if hidden.device.type != "cpu" or length > LONGEST or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
    return dtype != torch.float32
