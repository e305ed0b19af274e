"""One embedding of something that has a photo, a text, or both.

Sources: the normalised mean is ours. Tensor fusion is Zadeh et al. 2017, "Tensor Fusion Network", arXiv:1707.07250, section
4.2, as MIM uses it for items (arXiv:2502.00321): ``vec([photo; 1] (x) [text; 1])`` through one linear layer. Gated and concat
fusion are the common alternatives. All learned forms begin as the mean: so fusion can be added to towers that were trained
without, and what agreed before agrees still.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Fusion = Literal["mean", "tfn", "gated", "concat"]
"""How a photo's and a text's embedding become one."""

FUSIONS: tuple[str, ...] = get_args(Fusion)

_NOISE = 0.02  # the pixels of a tensor product are small (1 / dim on average), so this moves nothing at first


class MeanFusion(nn.Module):
    """The normalised mean of what is there; nothing to learn."""

    def forward(self, photo: Tensor, text: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """Fuse.

        Args:
            photo: Unit embeddings, ``(batch, dim)``; rows without a photo are ignored.
            text: The same for texts.
            has_photo: Bool, ``(batch,)``.
            has_text: Bool, ``(batch,)``.

        Returns:
            Unit embeddings ``(batch, dim)``, float32; zeros where neither is there.
        """
        return F.normalize(photo * has_photo[:, None] + text * has_text[:, None], dim=-1)


class TensorFusion(nn.Module):
    """Tensor fusion: every product of a photo's and a text's coordinate, and both by themselves.

    Args:
        dim: Of the embeddings. There are ``(dim + 1)^2 * dim`` weights: 2.1 M for 128.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear((dim + 1) ** 2, dim, bias=False)
        with torch.no_grad():
            weight = self.linear.weight.normal_(std=_NOISE).view(dim, dim + 1, dim + 1)
            weight[:, :dim, dim] += torch.eye(dim)
            weight[:, dim, :dim] += torch.eye(dim)

    def forward(self, photo: Tensor, text: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """As `MeanFusion.forward`; what is missing is zeros, so that the other's own coordinates are left."""
        photo, text = photo * has_photo[:, None], text * has_text[:, None]
        product = _with_one(photo)[:, :, None] * _with_one(text)[:, None, :]  # (batch, dim + 1, dim + 1)
        return _unit(self.linear(product.flatten(1)), has_photo | has_text)


class GatedFusion(nn.Module):
    """A gate per coordinate says how much of it comes from the photo and how much from the text.

    Args:
        dim: Of the embeddings.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, photo: Tensor, text: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """As `MeanFusion.forward`; what stands alone passes whole."""
        photo, text = photo * has_photo[:, None], text * has_text[:, None]
        gate = torch.sigmoid(self.gate(torch.cat([photo, text], dim=-1)))
        both = (has_photo & has_text)[:, None]
        mixed = torch.where(both, gate * photo + (1 - gate) * text, photo + text)
        return _unit(mixed, has_photo | has_text)


class ConcatFusion(nn.Module):
    """One linear layer over both embeddings and what there is.

    Args:
        dim: Of the embeddings.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim + 2, dim, bias=False)
        with torch.no_grad():
            self.linear.weight.normal_(std=_NOISE / dim**0.5)
            self.linear.weight[:, : 2 * dim] += torch.cat([torch.eye(dim), torch.eye(dim)], dim=1)

    def forward(self, photo: Tensor, text: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """As `MeanFusion.forward`."""
        flags = torch.stack([has_photo, has_text], dim=1).to(photo.dtype)  # (batch, 2)
        joined = torch.cat([photo * flags[:, :1], text * flags[:, 1:], flags], dim=-1)
        return _unit(self.linear(joined), has_photo | has_text)


def fusion_layer(kind: Fusion, dim: int) -> nn.Module:
    """The layer of a kind, for embeddings of size ``dim``.

    Raises:
        ValueError: There is no such kind.
    """
    if kind == "mean":
        return MeanFusion()
    layers = {"tfn": TensorFusion, "gated": GatedFusion, "concat": ConcatFusion}
    if kind not in layers:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, not {kind!r}")
    return layers[kind](dim)


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=-1)


def _unit(rows: Tensor, there: Tensor) -> Tensor:
    # In float32 under any precision, as the towers' own embeddings; zeros where there is nothing, not a learned constant.
    return F.normalize(rows.float() * there[:, None], dim=-1)
