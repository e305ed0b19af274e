"""Losses of preference optimisation: which of two answers to a prompt is the better.

All take what a policy and a reference make of both answers, as sums of the log-probabilities of their tokens, and give one
number per pair. ``h = (log pi(chosen) - log pi(rejected)) - (log ref(chosen) - log ref(rejected))`` is how much more than the
reference the policy prefers the chosen one; ``beta h`` is the *margin* of implicit rewards.

Source: DPO: Rafailov et al. 2023, arXiv:2305.18290, equation 7; with label smoothing: Mitchell 2023, "A note on DPO with noisy
preferences" (cDPO). IPO: Azar et al. 2023, arXiv:2310.12036, equation 17. MPO: Wang et al. 2024, arXiv:2411.10442, section 3.2;
its part about quality is BCO: Jung et al. 2024, arXiv:2404.04656. The anchor on chosen answers: Pang et al. 2024,
arXiv:2404.19733.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["dpo", "ipo", "mpo"]

MPO_WEIGHTS: Final = {"preference": 0.8, "quality": 0.2, "generation": 1.0}
"""Of the terms of MPO, as its authors chose them."""


@dataclass(frozen=True)
class PairLogProbabilities:
    """What policy and reference make of pairs of answers; every tensor is ``(pairs,)``, in nats.

    Args:
        chosen: Log-probability of the better answer under the policy, summed over its tokens.
        rejected: That of the worse one.
        reference_chosen: Of the better one under the reference; no gradient.
        reference_rejected: Of the worse one under it.
        chosen_tokens: How many tokens the better answer has, its end included; at least 1.
        rejected_tokens: How many the worse one has.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """``h``: 0 where the policy is the reference."""
        return (self.chosen - self.rejected) - (self.reference_chosen - self.reference_rejected)

    def rewards(self, beta: float) -> tuple[Tensor, Tensor]:
        """Implicit rewards of the chosen and the rejected answers, ``beta log(pi / ref)``."""
        return beta * (self.chosen - self.reference_chosen), beta * (self.rejected - self.reference_rejected)

    def per_token(self) -> PairLogProbabilities:
        """The same as means over the answers' tokens."""
        return PairLogProbabilities(
            self.chosen / self.chosen_tokens,
            self.rejected / self.rejected_tokens,
            self.reference_chosen / self.chosen_tokens,
            self.reference_rejected / self.rejected_tokens,
            self.chosen_tokens,
            self.rejected_tokens,
        )


def dpo(pairs: PairLogProbabilities, beta: float, *, label_smoothing: float = 0.0) -> Tensor:
    """``-(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)``.

    Args:
        pairs: Of a batch.
        beta: How strongly the policy is held to the reference, above 0.
        label_smoothing: e: how often the judge is believed to be wrong, in ``[0, 0.5)``.

    Returns:
        ``(pairs,)``.
    """
    margin = beta * pairs.log_ratio
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def ipo(pairs: PairLogProbabilities, beta: float) -> Tensor:
    """``(h - 1 / (2 beta))^2``, with log-probabilities averaged over tokens, as its authors advise for unequal lengths.

    The preference is pushed to a margin and no further, where DPO's grows without end on pairs that are certain.

    Args:
        pairs: Of a batch, as sums; means are taken here.
        beta: As for `dpo`.

    Returns:
        ``(pairs,)``.
    """
    return (pairs.per_token().log_ratio - 1 / (2 * beta)).square()


def quality(pairs: PairLogProbabilities, beta: float, shift: Tensor) -> Tensor:
    """BCO: whether each answer is good by itself, ``-log sigmoid(r(chosen) - d) - log sigmoid(d - r(rejected))``.

    Args:
        pairs: Of a batch.
        beta: As for `dpo`.
        shift: d, the mean of past rewards of both kinds, a scalar without gradient.

    Returns:
        ``(pairs,)``.
    """
    chosen, rejected = pairs.rewards(beta)
    return -F.logsigmoid(chosen - shift) - F.logsigmoid(shift - rejected)


def anchor(pairs: PairLogProbabilities) -> Tensor:
    """Mean cross entropy of the chosen answer's tokens: it is to become likelier, not only the rejected one less likely."""
    return -pairs.chosen / pairs.chosen_tokens


def mpo(pairs: PairLogProbabilities, beta: float, shift: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """``0.8 dpo + 0.2 quality + 1.0 anchor``; see `MPO_WEIGHTS`.

    Args:
        pairs: Of a batch.
        beta: As for `dpo`.
        shift: As for `quality`.
        label_smoothing: As for `dpo`.

    Returns:
        ``(pairs,)``.
    """
    return (
        MPO_WEIGHTS["preference"] * dpo(pairs, beta, label_smoothing=label_smoothing)
        + MPO_WEIGHTS["quality"] * quality(pairs, beta, shift)
        + MPO_WEIGHTS["generation"] * anchor(pairs)
    )


def comparable(chosen_tokens: Tensor, rejected_tokens: Tensor, longest: float | None) -> Tensor:
    """Pairs that are learned from: both answers have tokens, and neither is much longer than the other.

    Of a pair whose one answer is far longer, length is what would be learned.

    Args:
        chosen_tokens: ``(pairs,)``.
        rejected_tokens: ``(pairs,)``.
        longest: Greatest ratio of the longer to the shorter, 3 for ratios in ``[1/3, 3]``; None for any.

    Returns:
        Bool ``(pairs,)``.
    """
    shorter = torch.minimum(chosen_tokens, rejected_tokens)
    longer = torch.maximum(chosen_tokens, rejected_tokens)
    there = shorter > 0
    return there if longest is None else there & (longer <= longest * shorter)
