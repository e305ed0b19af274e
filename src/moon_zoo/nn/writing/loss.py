"""The loss of texts that are to be written, in groups of like length, so that short ones are not padded to the longest.

A batch is what an optimiser's step sees, so its samples must be drawn at random; but nothing says that they must go through the
network side by side. Rows are sorted by length and cut into a few groups, each as long as its own longest: the loss and its
gradient are those of the whole batch, the order of an epoch is left alone, and most of the padding is never computed. Decoders
meet the vocabulary only where something is to be written; and as pads follow what is real, their causal mask needs no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.nn.gathering import sum_over_ranks, world_size

IGNORED: Final = -100
_STEP: Final = 8
"""Lengths are multiples of it, so that few different shapes occur."""
_SCALED_LOGITS: Final = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Settings of decoders that do more between hidden states and logits than one matrix."""


def writing_loss(lm: Any, batch: Mapping[str, Tensor], groups: int = 1) -> tuple[Tensor, Tensor]:
    """Cross entropy of the tokens that are to be written.

    Args:
        lm: A model of `moon_zoo.nn.writing.lm.build_lm`.
        batch: ``token_ids`` int64 and ``token_mask`` bool ``(batch, length)``, real tokens first: what an encoder reads, or a
            decoder reads and writes; ``labels`` int64 ``(batch, written)``, -100 where nothing is to be predicted: what is
            written, or for a decoder ``(batch, length)``, at the places of its tokens.
        groups: Into how many groups of like length the rows are cut.

    Returns:
        The loss, a scalar: averaged over ranks, as DDP averages gradients, it is the mean over all ranks' tokens. And three
        sums over all ranks, detached: of the tokens' losses in nats, of those that were the likeliest, of tokens.
    """
    seq2seq = bool(lm.config.is_encoder_decoder)
    total, right, count = [], [], []
    for part in _groups(batch, groups, seq2seq):
        logits, labels = (_seq2seq if seq2seq else _causal)(lm, *part)
        total.append(F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum"))
        right.append((logits.detach().argmax(-1) == labels).sum())
        count.append((labels != IGNORED).sum())
    loss = torch.stack(total).sum()
    sums = torch.stack([loss.detach(), torch.stack(right).sum().float(), torch.stack(count).sum().float()])
    sums = sum_over_ranks(sums)
    return loss * (world_size() / sums[2].clamp_min(1)), sums


def _groups(batch: Mapping[str, Tensor], groups: int, seq2seq: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    ids, mask, labels = batch["token_ids"], batch["token_mask"], batch["labels"]
    if groups <= 1 or len(ids) <= 1 or ids.device.type not in ("cpu", "cuda"):
        yield ids, mask, labels
        return
    wanted = labels != IGNORED
    # a decoder's labels stand among its tokens, so its tokens are all there is
    lengths = torch.stack([mask.sum(1), wanted.sum(1)] if seq2seq else [mask.sum(1)]).cpu()
    order = lengths.sum(0).argsort(stable=True)
    for rows in order.tensor_split(min(groups, len(order))):
        longest = [_even(int(one[rows].max())) for one in lengths]
        where = rows.to(ids.device)
        yield ids[where, : longest[0]], mask[where, : longest[0]], labels[where, : longest[-1]]


def _even(length: int) -> int:
    return -(-max(length, 1) // _STEP) * _STEP


def _seq2seq(lm: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    config = lm.config
    started = labels.new_full((len(labels), 1), config.decoder_start_token_id)
    before = torch.cat([started, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, config.pad_token_id)], dim=1)
    found = lm(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=before, use_cache=False).logits
    return found.flatten(0, 1), labels.flatten()


def _causal(lm: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    wanted = labels[:, 1:]
    base = lm.get_decoder() if hasattr(lm, "get_decoder") else None
    if base is None or base is lm or any(getattr(lm.config, name, None) is not None for name in _SCALED_LOGITS):
        found = lm(input_ids=ids, use_cache=False).logits[:, :-1]
        return found.flatten(0, 1), wanted.flatten()
    hidden = base(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    if ids.device.type in ("cpu", "cuda"):
        chosen = wanted != IGNORED
        hidden, wanted = hidden[chosen], wanted[chosen]
    else:
        hidden, wanted = hidden.flatten(0, 1), wanted.flatten()
    return lm.get_output_embeddings()(hidden), wanted
