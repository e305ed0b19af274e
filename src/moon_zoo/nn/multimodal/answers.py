"""The loss of next-token prediction over answers, which stand in the last places of their sequences.

What is asked, the photos and the pads are not predicted, so only the answers' places meet the vocabulary: the logits of all
else would be most of the memory. The loss is the mean over the answers' tokens of all ranks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks, world_size
from moon_zoo.nn.multimodal.chat import IGNORED
from moon_zoo.nn.multimodal.sequence import Sequence


def answer_places(backbone: Any, sequence: Sequence, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states before each token of the answers, and those tokens.

    Args:
        backbone: A `moon_zoo.nn.multimodal.backbone.MultimodalLM`.
        sequence: Questions and answers.
        labels: int64 ``(batch, answer)``: what is to be predicted at the sequence's last places; -100 where nothing is.

    Returns:
        ``(tokens, hidden_size)``, the int64 labels ``(tokens,)``, and each one's row of the batch, int64 ``(tokens,)``. On
        devices that want static shapes all places are kept, with the label -100 where there is nothing to predict.
    """
    answer = labels.shape[1]
    if labels.device.type == "cpu":
        sequence, labels = _without_pads(sequence, labels)
        answer = labels.shape[1] - 1
    hidden = backbone(sequence, "causal")
    before, labels = hidden[:, -answer - 1 : -1], labels[:, -answer:]  # (batch, answer, ...): each place tells the next
    rows = torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)
    if labels.device.type in ("cpu", "cuda"):
        wanted = labels != IGNORED
        return before[wanted], labels[wanted], rows[wanted]
    return before.flatten(0, 1), labels.flatten(), rows.flatten()


def answer_loss(backbone: Any, sequence: Sequence, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of the answers' tokens under a causal mask.

    Args:
        backbone: As for `answer_places`.
        sequence: As for `answer_places`.
        labels: As for `answer_places`.

    Returns:
        The loss, a scalar: averaged over ranks, as DDP averages gradients, it is the mean over all ranks' tokens, whatever
        each rank's share of them. And three sums over all ranks, detached: of the tokens' losses in nats, of those that were
        the likeliest, of tokens.
    """
    hidden, labels, _ = answer_places(backbone, sequence, labels)
    logits = backbone.logits(hidden)
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    right = (logits.argmax(-1) == labels).sum()
    sums = sum_over_ranks(torch.stack([total.detach().float(), right.float(), (labels != IGNORED).sum().float()]))
    return total * (world_size() / sums[2].clamp_min(1)), sums


def _without_pads(sequence: Sequence, labels: Tensor) -> tuple[Sequence, Tensor]:
    """Every row's tokens moved to its beginning, cut to the longest row; for devices where shapes may change at will.

    Args:
        sequence: Of ``length`` places.
        labels: Of its last places.

    Returns:
        The sequence, and labels of all its places.
    """
    labels = F.pad(labels, (sequence.mask.shape[1] - labels.shape[1], 0), value=IGNORED)
    longest = max(int(sequence.mask.sum(1).max()), 2)
    order = (~sequence.mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    packed = replace(
        sequence,
        token_ids=sequence.token_ids.gather(1, order),
        mask=sequence.mask.gather(1, order),
        token_type=sequence.token_type.gather(1, order),
    )
    return packed, labels.gather(1, order)
