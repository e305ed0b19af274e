"""Matryoshka embeddings: the first numbers of an embedding are an embedding themselves.

The loss is the weighted mean over prefix sizes, each prefix brought back to unit length. Source: Kusupati et al. 2022,
"Matryoshka Representation Learning", arXiv:2205.13147, equation 1 (there a sum with weights 1; a mean keeps the size of
the loss whatever the number of sizes). Used by MOON (arXiv:2511.11305), whose sizes are unpublished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.negatives import ExtraDocuments


def prefix(embeddings: Tensor, size: int) -> Tensor:
    """The first ``size`` numbers of embeddings, of unit length again.

    Args:
        embeddings: ``(..., dim)``.
        size: At least 1 and at most ``dim``.

    Raises:
        ValueError: There are not so many numbers.
    """
    if not 1 <= size <= embeddings.shape[-1]:
        raise ValueError(f"size must be between 1 and {embeddings.shape[-1]}, not {size}")
    if size == embeddings.shape[-1]:
        return embeddings  # of unit length as it is
    return F.normalize(embeddings[..., :size].float(), dim=-1).to(embeddings.dtype)


def matryoshka(
    loss: Callable[..., Tensor], sizes: Sequence[int], weights: Sequence[float] | None = None
) -> Callable[..., Tensor]:
    """A contrastive loss over several prefix sizes.

    Args:
        loss: ``loss(queries, documents, ..., **options) -> scalar``, as `info_nce`, `symmetric_info_nce`,
            `sigmoid_loss` and `circle_loss` are.
        sizes: Prefix sizes; the whole embedding is one only if its size is among them. Empty: the loss as it is.
        weights: One per size, above 0; they count in proportion to one another. None for equal ones.

    Returns:
        A loss with the same arguments; ``extra_documents`` and ``extra_queries`` (queues) are cut as well.

    Raises:
        ValueError: Sizes are repeated or below 1, or weights do not fit.
    """
    sizes = tuple(sizes)
    if not sizes:
        return loss
    if len(set(sizes)) < len(sizes) or min(sizes) < 1:
        raise ValueError(f"sizes must be different and at least 1: {list(sizes)}")
    shares = [1.0] * len(sizes) if weights is None else list(weights)
    if len(shares) != len(sizes) or min(shares) <= 0:
        raise ValueError(f"every size needs a weight above 0: {list(sizes)}, {shares}")

    def over_prefixes(queries: Tensor, documents: Tensor, *args: Any, **options: Any) -> Tensor:
        total = queries.new_zeros(())
        for size, share in zip(sizes, shares, strict=True):
            cut = {name: _cut(value, size) for name, value in options.items()}
            value = loss(prefix(queries, size), prefix(documents, size), *args, **cut)
            total = total + share / sum(shares) * value
        return total

    return over_prefixes


def _cut(value: Any, size: int) -> Any:
    """Options as they are, but queues cut to the prefix."""
    if isinstance(value, ExtraDocuments):
        return value._replace(embeddings=prefix(value.embeddings, size))
    return value
