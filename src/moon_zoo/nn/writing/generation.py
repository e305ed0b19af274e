"""Writing one question: beam search or draws with cached keys and values, no run of tokens twice, a question mark ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moon_zoo.errors import UsageError


@dataclass(frozen=True, slots=True)
class Writing:
    """How texts are written.

    Args:
        max_new_tokens: Longest text.
        beams: Beginnings kept at a time; 1 takes the likeliest token each time.
        temperature: Above 0 tokens are drawn, which needs ``beams`` 1; 0 for none.
        top_p: Draw only among the likeliest tokens that together have this probability.
        no_repeat: No run of so many tokens is written twice in a text; 0 for any.
        seed: Of the draws.
    """

    max_new_tokens: int = 48
    beams: int = 4
    temperature: float = 0.0
    top_p: float = 1.0
    no_repeat: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("max_new_tokens", self.max_new_tokens, 1), ("beams", self.beams, 1)):
            if value < least:
                raise UsageError(f"{name} is {value}, but must be at least {least}", change=name)
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.no_repeat < 0:
            raise UsageError(
                f"temperature {self.temperature}, top_p {self.top_p} and no_repeat {self.no_repeat} must be at least 0, "
                "in (0, 1] and at least 0",
                change="the one that is not",
            )
        if self.temperature > 0 and self.beams > 1:
            raise UsageError(
                f"{self.beams} beams and draws at temperature {self.temperature} do not go together",
                change="beams to 1, or temperature to 0",
            )


class NoRepeats:
    """Forbids tokens that would complete a run written before, in what is written alone.

    The library's own looks at the prompt as well, which for decoders would forbid to say what the knowledge says.

    Args:
        size: Of the runs.
        start: Where writing begins.
    """

    def __init__(self, size: int, start: int) -> None:
        self.size = size
        self.start = start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores ``(rows, vocabulary)`` with ``-inf`` for what is forbidden."""
        written = input_ids[:, self.start :].tolist()
        for row, tokens in enumerate(written):
            last = tokens[len(tokens) - self.size + 1 :]
            if len(tokens) < self.size:
                continue
            forbidden = [
                tokens[place + self.size - 1]
                for place in range(len(tokens) - self.size + 1)
                if tokens[place : place + self.size - 1] == last
            ]
            if forbidden:
                scores[row, forbidden] = float("-inf")
        return scores


@torch.no_grad()
def write(
    lm: Any,
    token_ids: Tensor,
    mask: Tensor,
    writing: Writing,
    *,
    pad_id: int,
    end_ids: Sequence[int],
    banned: Sequence[int] = (),
) -> list[list[int]]:
    """Go on from prompts.

    Args:
        lm: A model of `moon_zoo.nn.writing.lm.build_lm`.
        token_ids: Prompts, int64 ``(batch, length)``; pads may be anywhere.
        mask: Bool, True on real tokens.
        writing: How.
        pad_id: What fills.
        end_ids: Any of them ends a text.
        banned: Ids that are never written.

    Returns:
        Ids of each text, its end included where there is one.
    """
    if len(token_ids) == 0:
        return []
    seq2seq = bool(lm.config.is_encoder_decoder)
    token_ids, mask = _packed(token_ids, mask, pad_id, left=not seq2seq)
    start = 1 if seq2seq else token_ids.shape[1]
    options: dict[str, Any] = {
        "max_new_tokens": writing.max_new_tokens,
        "num_beams": writing.beams,
        "do_sample": writing.temperature > 0,
        "eos_token_id": list(end_ids),
        "pad_token_id": pad_id,
        "use_cache": True,
        "early_stopping": False,  # else a few short texts that end first would win over a likelier one that is still written
        "logits_processor": [NoRepeats(writing.no_repeat, start)] if writing.no_repeat > 0 else [],
        "suppress_tokens": list(banned) or None,
        # what a published model's own settings would add
        "max_length": None,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "forced_eos_token_id": None,
        "repetition_penalty": 1.0,
        "length_penalty": 1.0,
    }
    if writing.temperature > 0:
        options |= {"temperature": writing.temperature, "top_p": writing.top_p, "top_k": 0}
    else:
        options |= {
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 50,
        }  # the library's, which it wants where nothing is drawn
    was_training = lm.training
    lm.eval()
    devices = [token_ids.device] if token_ids.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(writing.seed)
            found = lm.generate(input_ids=token_ids, attention_mask=mask.long(), **options)
    finally:
        lm.train(was_training)
    return [_until(row, end_ids, pad_id) for row in found[:, start:].tolist()]


def _packed(token_ids: Tensor, mask: Tensor, pad_id: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Tokens moved to one end of their rows, cut to the longest; a row without any keeps one pad."""
    order = (mask if left else ~mask).to(torch.uint8).argsort(dim=1, stable=True)
    longest = max(int(mask.sum(1).max()), 1)
    order = order[:, -longest:] if left else order[:, :longest]
    token_ids, mask = token_ids.gather(1, order), mask.gather(1, order)
    token_ids = token_ids.masked_fill(~mask, pad_id)
    place = longest - 1 if left else 0
    mask = mask.clone()
    mask[:, place] |= ~mask.any(1)  # nothing to attend to is no number
    return token_ids, mask


def _until(row: list[int], end_ids: Sequence[int], pad_id: int) -> list[int]:
    ends = set(end_ids)
    for place, token in enumerate(row):
        if token in ends:
            return row[: place + 1]
    while row and row[-1] == pad_id:
        row = row[:-1]
    return row
