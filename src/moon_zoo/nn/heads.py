"""What stands between towers and contrastive losses: masked pooling, projection heads, the learnable temperature."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are there.

    Args:
        tokens: ``(batch, tokens, dim)``.
        mask: True (or 1) on real tokens, ``(batch, tokens)``. A row of padding alone gives zeros.

    Returns:
        ``(batch, dim)``, in the dtype of ``tokens``; summed in float32.
    """
    # where, not a product: a NaN or infinity in the padding must not get through as 0 * inf.
    kept = torch.where(mask.bool().unsqueeze(-1), tokens, tokens.new_zeros(()))
    count = mask.sum(dim=1, dtype=torch.float32).clamp_min(1.0).unsqueeze(-1)  # (batch, 1)
    return (kept.sum(dim=1, dtype=torch.float32) / count).to(tokens.dtype)


class ProjectionHead(nn.Module):
    """Features to unit-length embeddings.

    Args:
        in_dim: Size of the features.
        out_dim: Size of the embeddings.
        hidden_dim: Width of a hidden layer with GELU; None for one linear layer.
        dropout: Probability of dropping a feature before the last layer.
        bias: Whether the last layer has a bias. CLIP's has none: a bias moves all embeddings towards one another.
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden_dim: int | None = None, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden_dim is not None:
            layers += [nn.Linear(in_dim, hidden_dim), nn.GELU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(in_dim if hidden_dim is None else hidden_dim, out_dim, bias=bias))
        self.layers = nn.Sequential(*layers)
        self.out_dim = out_dim

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, in_dim)`` to float32 embeddings of length 1, ``(batch, out_dim)``.

        Normalised in float32 under any precision: bf16 keeps 8 bits, and lengths would be off by up to 0.4 %.
        """
        return F.normalize(self.layers(features).float(), dim=-1)


class LogitScale(nn.Module):
    """The learnable temperature: cosines are multiplied by ``1 / temperature`` before a contrastive loss.

    Source: Radford et al. 2021, "CLIP", arXiv:2103.00020, section 2.3: learned as a logarithm, starting at 0.07 and
    kept from falling under 0.01.

    Args:
        temperature: Where it starts.
        min_temperature: Its lower bound; lower ones make training unstable.
        learnable: False keeps it where it starts.
    """

    def __init__(self, temperature: float = 0.07, *, min_temperature: float = 0.01, learnable: bool = True) -> None:
        super().__init__()
        if not 0 < min_temperature <= temperature:
            raise ValueError(
                f"temperature must be at least min_temperature, and both above 0: {temperature}, {min_temperature}"
            )
        self.max_log_scale = -math.log(min_temperature)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learnable)

    def forward(self) -> Tensor:
        """The factor for cosines, a scalar of at most ``1 / min_temperature``."""
        # The parameter itself is held back: clamping a copy would give it no gradient beyond the bound, and it would
        # stay there. Through `data`, as two passes of one step (GradCache) must not take this for a change between
        # them.
        if not self.training:
            return self.log_scale.clamp(max=self.max_log_scale).exp()  # exported networks change no parameter
        self.log_scale.data.clamp_(max=self.max_log_scale)
        return self.log_scale.exp()

    @property
    def temperature(self) -> Tensor:
        """The temperature itself, for logging."""
        return self.log_scale.detach().neg().exp()


class LogitBias(nn.Module):
    """The learnable bias of the sigmoid loss.

    Source: Zhai et al. 2023, "SigLIP", arXiv:2303.15343, section 3.2: nearly all pairs are negatives, so training
    starts from a bias of -10, at which the first steps need not correct them all.
    """

    def __init__(self, bias: float = -10.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self) -> Tensor:
        """The bias, a scalar."""
        # Times one: losses get a result of this module, so that hooks on its forward see every use of the parameter.
        return self.bias * 1.0
