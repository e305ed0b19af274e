"""Two towers, image and text, one projection each, compared by cosine.

Source: the dual-flow baseline that MOON argues against (arXiv:2508.11999, introduction and figure 1), which is CLIP's shape
(Radford et al. 2021, arXiv:2103.00020). A product with both photo and text is one embedding through `moon_zoo.nn.fusion`: by
default the normalised mean of the two, ours, since the baseline itself sees one image and one text at a time.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.errors import RecipeError
from moon_zoo.nn.fusion import Fusion, fusion_layer
from moon_zoo.nn.heads import ProjectionHead


class DualFlowNetwork(nn.Module):
    """Photos and texts to unit embeddings of one space.

    Args:
        image_tower: Photos ``(batch, 3, height, width)`` to features; has ``dim``.
        text_tower: Token ids and mask ``(batch, tokens)`` to features; has ``dim``.
        embedding_dim: Size of the shared space.
        head: Kind of projection: ``linear``, ``mlp``, or ``identity`` for a pair whose towers already agree.
        fusion: How a photo and a text become one embedding; see `moon_zoo.nn.fusion`.
    """

    def __init__(
        self,
        image_tower: nn.Module,
        text_tower: nn.Module,
        *,
        embedding_dim: int,
        head: str = "linear",
        fusion: Fusion = "mean",
    ) -> None:
        super().__init__()
        self.image_tower = image_tower
        self.text_tower = text_tower
        self.image_head = _head(head, image_tower, embedding_dim)
        self.text_head = _head(head, text_tower, embedding_dim)
        self.fusion = fusion_layer(fusion, embedding_dim)

    def encode_photo(self, photos: Tensor) -> Tensor:
        """Unit embeddings of photos ``(batch, 3, height, width)`` in ``[0, 255]``: ``(batch, dim)``."""
        return self.image_head(self.image_tower(photos))

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Unit embeddings of texts, ids and mask ``(batch, tokens)``: ``(batch, dim)``."""
        return self.text_head(self.text_tower(token_ids, token_mask))


class UnitLength(nn.Module):
    """No projection, only the normalisation, for towers that already end in one space (SigLIP's)."""

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, dim)`` to float32 of length 1."""
        return F.normalize(features.float(), dim=-1)


def _head(kind: str, tower: nn.Module, embedding_dim: int) -> nn.Module:
    tower_dim = int(tower.dim)  # type: ignore[arg-type]
    if kind == "identity":
        if tower_dim != embedding_dim:
            raise RecipeError(
                f"the head identity needs towers of embedding_dim {embedding_dim}, but one gives {tower_dim}",
                change="model.init_args.head to linear, or model.init_args.embedding_dim",
            )
        return UnitLength()
    return ProjectionHead(tower_dim, embedding_dim, hidden_dim=tower_dim if kind == "mlp" else None)
