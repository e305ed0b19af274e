"""Answers to prompts, and how likely a model finds some beginnings of its next answer.

Prompts of similar length are answered together; a prompt is read once for all of its answers. What is drawn for an
answer follows from the seed, the prompt and the answer's number alone, so that the k-th answer to a prompt is the same
whatever is asked beside it, as far as sums of floating-point numbers in another order allow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from moon_zoo.data.conversations import Prompt
from moon_zoo.data.ids import stable_id
from moon_zoo.models.dream.inputs import DreamInputs
from moon_zoo.models.dream.network import DreamNetwork, prompts_of
from moon_zoo.nn.multimodal.completions import completion_log_probabilities
from moon_zoo.nn.multimodal.generation import evaluating, generate
from moon_zoo.nn.multimodal.sequence import Sequence as TokenSequence

MOST_OPTIONS = 64
"""Completions that are judged behind one reading of a prompt."""

MOST_ANSWERS = 256
"""Answers that are written at a time, where nobody says otherwise: of a small model half the time of 32 at a time."""


def answer(
    network: DreamNetwork,
    inputs: DreamInputs,
    prompts: Sequence[Prompt],
    *,
    samples: int = 1,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = MOST_ANSWERS,
) -> list[list[str]]:
    """Answers to prompts; see `moon_zoo.models.dream.module.Dream.answer`."""
    if samples < 1 or batch_size < 1:
        raise ValueError(f"samples and batch_size must be at least 1: {samples}, {batch_size}")
    drawn = samples if temperature > 0 else 1  # the likeliest answer is one
    device = next(network.parameters()).device
    found: list[list[str]] = [[] for _ in prompts]
    for numbers in _by_length(inputs, prompts, max(1, batch_size // drawn)):
        asked = [prompts[number] for number in numbers]
        chances = None
        if temperature > 0:
            rows = [chances_of(prompt, seed, sample, max_new_tokens) for prompt in asked for sample in range(drawn)]
            chances = torch.from_numpy(np.stack(rows)).to(device)
        texts = continued(
            network,
            inputs,
            _sequence(inputs, asked, device),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            samples=drawn,
            chances=chances,
        )
        for place, number in enumerate(numbers):
            found[number] = texts[place * drawn : (place + 1) * drawn] * (samples // drawn)
    return found


def continued(network: DreamNetwork, inputs: DreamInputs, prompts: TokenSequence, **options: object) -> list[str]:
    """Texts that continue prompts; what stands for images, and ids that the tokenizer does not know, are never written.

    Args:
        network: The assistant.
        inputs: Its inputs.
        prompts: Sequences that end where the assistant's turn begins.
        options: As for `moon_zoo.nn.multimodal.generation.generate`.
    """
    banned = inputs.tokenizer.unwritable(network.backbone.vocab_size)
    ids = generate(network.backbone, prompts, banned=banned, **options)  # type: ignore[arg-type]
    return [inputs.tokenizer.decode(row) for row in ids]


@torch.no_grad()
def option_log_probabilities(
    network: DreamNetwork,
    inputs: DreamInputs,
    prompts: Sequence[Prompt],
    options: Sequence[str],
    *,
    batch_size: int = 32,
) -> Tensor:
    """How likely each option is as the beginning of the next answer: float32 ``(prompts, options)``, on the CPU, in nats."""
    device = next(network.parameters()).device
    ids, mask = (one.to(device) for one in inputs.completions(options, ends=False))
    found = torch.zeros(len(prompts), len(options))
    with evaluating(network):
        for numbers in _by_length(inputs, prompts, batch_size):
            sequence = _sequence(inputs, [prompts[number] for number in numbers], device)
            rows = len(numbers)
            for start in range(0, len(options), MOST_OPTIONS):
                part, there = (one[start : start + MOST_OPTIONS].expand(rows, -1, -1) for one in (ids, mask))
                values = completion_log_probabilities(network.backbone, sequence, part, there)
                found[torch.tensor(numbers), start : start + MOST_OPTIONS] = values.float().cpu()
    return found


def chances_of(prompt: Prompt, seed: int, sample: int, count: int) -> np.ndarray:
    """The numbers in ``[0, 1)`` that one answer is drawn by: a longer answer's begin with a shorter one's.

    Args:
        prompt: What is asked: its key and its words count.
        seed: Of the draws.
        sample: Which of the prompt's answers.
        count: How many.
    """
    words = json.dumps([prompt.key, [turn.as_json() for turn in prompt.turns]], ensure_ascii=False)
    return np.random.default_rng([seed, sample, stable_id(words)]).random(count, dtype=np.float32)


def _by_length(inputs: DreamInputs, prompts: Sequence[Prompt], size: int) -> Iterator[list[int]]:
    """Numbers of prompts of similar length, at most ``size`` at a time."""
    lengths = [inputs.prompt_tokens(prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lengths.__getitem__)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _sequence(inputs: DreamInputs, prompts: Sequence[Prompt], device: torch.device) -> TokenSequence:
    return prompts_of({name: value.to(device) for name, value in inputs.asked(prompts).items()})
