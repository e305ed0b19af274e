"""SA-TA: target attention by ids that content similarity corrects.

Source: MUSE, arXiv:2512.07216: the logits of attention are ``g1 a + g2 R + g3 (a * R)`` of the ids' attention ``a`` and the
similarity ``R = cosine / temperature``, with learned ``g1, g2, g3`` and temperature; then softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moon_zoo.nn.heads import LogitScale


class SimilarityAwareLogits(nn.Module):
    """Attention logits of ids and content similarities to the logits of both.

    Args:
        temperature: Where the learned temperature of similarities starts.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.scale = LogitScale(temperature)
        self.mix = nn.Parameter(torch.tensor([1.0, 1.0, 0.0]))  # starts as the plain sum of both

    def forward(self, logits: Tensor, similarity: Tensor) -> Tensor:
        """``(batch, length)`` each, and the result."""
        similar = similarity * self.scale()
        return self.mix[0] * logits + self.mix[1] * similar + self.mix[2] * (logits * similar)
