"""The loss of a batch of pairs, over all ranks, and the figures that tell whether preference training goes well.

Sums of pairs are kept, not means, so that figures of a split are exact whatever its batches and ranks.

``kl`` is the mean of ``log ref(y) - log pi(y)`` over both answers: for answers that the reference itself wrote, as
those of a round are, it estimates KL(reference || policy) without bias, in nats per answer; for answers from elsewhere
it only tells how far the policy has moved away from them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moon_zoo.errors import RecipeError
from moon_zoo.nn.gathering import sum_over_ranks, world_size
from moon_zoo.nn.preference import LossName, PairLogProbabilities, anchor, comparable, dpo, ipo, mpo

PAIR_SUMS = (
    "valid",
    "pairs",
    "loss",
    "margin",
    "accuracy",
    "kl",
    "chosen_reward",
    "rejected_reward",
    "chosen_log_probability",
    "rejected_log_probability",
    "chosen_tokens",
    "rejected_tokens",
)
"""What is summed over the pairs that are learned from; ``valid`` are all, ``pairs`` those."""

WITH_REFERENCE = ("loss", "margin", "accuracy", "kl", "chosen_reward", "rejected_reward")
"""Those that need the reference."""


class PreferenceObjective(nn.Module):
    """Which of two answers is to become likelier.

    Args:
        loss: ``dpo``, ``ipo`` or ``mpo``; see `moon_zoo.nn.preference`.
        beta: How strongly the policy is held to the reference.
        label_smoothing: How often the judge is believed to be wrong; not for ``ipo``.
        nll_anchor: Weight of the chosen answers' own cross entropy per token.
        length_filter: Pairs are left out whose longer answer has more than so many times the tokens of the shorter; None for
            none.

    Raises:
        RecipeError: A number out of its range.
    """

    reward_sums: Tensor

    def __init__(
        self,
        loss: LossName = "dpo",
        *,
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        nll_anchor: float = 0.0,
        length_filter: float | None = 3.0,
    ) -> None:
        super().__init__()
        for name, fits, wanted in (
            ("beta", beta > 0, "above 0"),
            ("label_smoothing", 0 <= label_smoothing < 0.5, "at least 0 and below 0.5"),
            ("nll_anchor", nll_anchor >= 0, "at least 0"),
            ("length_filter", length_filter is None or length_filter >= 1, "at least 1, or null"),
        ):
            if not fits:
                raise RecipeError(f"{name} must be {wanted}", change=f"model.init_args.{name}")
        if loss == "ipo" and label_smoothing > 0:
            raise RecipeError("ipo knows no label smoothing", change="model.init_args.label_smoothing, to 0")
        self.loss = loss
        self.beta = beta
        self.label_smoothing = label_smoothing
        self.nll_anchor = nll_anchor
        self.length_filter = length_filter
        self.register_buffer("reward_sums", torch.zeros(2))
        """Sum and number of all rewards so far, from which the shift of MPO's quality term is taken."""

    def forward(self, policy: Tensor, reference: Tensor | None, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and sums of a batch.

        Args:
            policy: Log-probabilities of chosen and rejected answers, ``(pairs, 2)``.
            reference: The same of the reference, without gradient; None where they are not known.
            mask: Bool ``(pairs, 2, tokens)``, True on real tokens.
            valid: Bool ``(pairs,)``, False on rows that only fill the batch.

        Returns:
            The loss: averaged over ranks, as DDP averages gradients, it is the mean over all ranks' pairs that are
            learned from; 0 without a reference. And the `PAIR_SUMS` of this rank, detached float64 (float32 off CPU and
            CUDA).
        """
        policy = policy.float()
        tokens = mask.sum(-1)
        kept = comparable(tokens[:, 0], tokens[:, 1], self.length_filter) & valid
        known = policy.detach() if reference is None else reference.float()
        lengths = tokens.clamp(min=1)
        pairs = PairLogProbabilities(policy[:, 0], policy[:, 1], known[:, 0], known[:, 1], lengths[:, 0], lengths[:, 1])
        each = self._loss(pairs)
        if self.nll_anchor > 0:
            each = each + self.nll_anchor * anchor(pairs)
        each = torch.where(kept, each, 0.0)
        total = sum_over_ranks(kept.sum().float()).clamp(min=1)
        return each.sum() * (world_size() / total), self._sums(pairs, each, kept, valid, tokens)

    @torch.no_grad()
    def remember(self, sums: Tensor) -> None:
        """Take a training batch's rewards, summed over ranks, into what MPO's shift is the mean of."""
        place = {name: number for number, name in enumerate(PAIR_SUMS)}
        rewards = sums[place["chosen_reward"]] + sums[place["rejected_reward"]]
        self.reward_sums += torch.stack([rewards, 2 * sums[place["pairs"]]]).to(self.reward_sums)

    def _loss(self, pairs: PairLogProbabilities) -> Tensor:
        if self.loss == "ipo":
            return ipo(pairs, self.beta)
        if self.loss == "mpo":
            shift = self.reward_sums[0] / self.reward_sums[1].clamp(min=1)
            return mpo(pairs, self.beta, shift.clone(), label_smoothing=self.label_smoothing)
        return dpo(pairs, self.beta, label_smoothing=self.label_smoothing)

    @torch.no_grad()
    def _sums(self, pairs: PairLogProbabilities, each: Tensor, kept: Tensor, valid: Tensor, tokens: Tensor) -> Tensor:
        ratio = pairs.log_ratio
        chosen, rejected = pairs.rewards(self.beta)
        moved = (pairs.reference_chosen - pairs.chosen + pairs.reference_rejected - pairs.rejected) / 2
        columns = {
            "pairs": torch.ones_like(ratio),
            "loss": each,
            "margin": self.beta * ratio,
            "accuracy": (ratio > 0).float() + 0.5 * (ratio == 0).float(),
            "kl": moved,
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "chosen_log_probability": pairs.chosen,
            "rejected_log_probability": pairs.rejected,
            "chosen_tokens": tokens[:, 0],
            "rejected_tokens": tokens[:, 1],
        }
        exact = torch.float64 if ratio.device.type in ("cpu", "cuda") else torch.float32
        found = [valid.sum().to(exact)]
        found += [torch.where(kept, columns[name].to(exact), 0.0).sum() for name in PAIR_SUMS[1:]]
        return torch.stack(found)


def pair_figures(sums: Tensor, *, with_reference: bool = True) -> dict[str, Tensor]:
    """Figures of sums over all ranks: ``loss`` and ``preference/...``; of nothing where no pair is learned from.

    Args:
        sums: `PAIR_SUMS`.
        with_reference: False leaves out what needs the reference.
    """
    found = dict(zip(PAIR_SUMS, sums.unbind(), strict=True))
    valid, pairs = found.pop("valid"), found.pop("pairs")
    figures = {
        name if name == "loss" else f"preference/{name}": value / pairs.clamp(min=1)
        for name, value in found.items()
        if with_reference or name not in WITH_REFERENCE
    }
    figures["preference/dropped"] = (valid - pairs) / valid.clamp(min=1)
    figures["preference/pairs"] = pairs
    return figures
