"""Asking the next question: of many prompts at a time, and of one question and its answer with the knowledge looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moon_zoo.data.words import QUESTION_MARKS
from moon_zoo.knowledge.finding import Found, KnowledgeFinder
from moon_zoo.knowledge.recognition import Recognised
from moon_zoo.knowledge.selection import Selected
from moon_zoo.metrics.text import is_question
from moon_zoo.models.followup.inputs import FollowupInputs
from moon_zoo.models.followup.network import FollowupNetwork
from moon_zoo.nn.writing.generation import Writing

NO_QUESTION = "(no question)"
"""What people are shown where a model asks none."""

RETRY_TEMPERATURE = 0.8


@dataclass(frozen=True, slots=True)
class Asked:
    """A follow-up question and what is behind it.

    Args:
        follow_up: What is asked; None where the model wrote no question, whatever was tried.
        knowledge: The text that was given to the model; empty for none.
        concept: The concept it is about; empty for none.
        found: All that was looked up; None where nothing was.
    """

    follow_up: str | None
    knowledge: str = ""
    concept: str = ""
    found: Found | None = None

    def __str__(self) -> str:
        return self.follow_up if self.follow_up is not None else NO_QUESTION


def write_questions(
    network: FollowupNetwork,
    inputs: FollowupInputs,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    writing: Writing,
    *,
    retries: int = 2,
) -> list[str]:
    """Questions for prompts; those that came out as none are drawn again, a few times.

    Args:
        network: The model.
        inputs: Its inputs.
        prompt_ids: int64 ``(batch, length)``.
        prompt_mask: Bool, True on real tokens.
        writing: How.
        retries: How often one that is no question is drawn anew, with other seeds.

    Returns:
        A text for each prompt; empty where no question came.
    """
    tokenizer = inputs.tokenizer
    ends = [tokenizer.end_id, *tokenizer.asking_ids()]
    device = next(network.parameters()).device
    prompt_ids, prompt_mask = prompt_ids.to(device), prompt_mask.to(device)
    found = [""] * len(prompt_ids)
    left = list(range(len(prompt_ids)))
    for attempt in range(retries + 1):
        if not left:
            break
        how = writing
        if attempt > 0:  # the likeliest was none
            how = replace(
                writing, beams=1, temperature=writing.temperature or RETRY_TEMPERATURE, seed=writing.seed + attempt
            )
        rows = torch.tensor(left, device=device)
        ids = network.write(prompt_ids[rows], prompt_mask[rows], how, pad_id=tokenizer.pad_id, end_ids=ends)
        for row, one in zip(left, ids, strict=True):
            found[row] = one_question(tokenizer.decode(one))
        left = [row for row in left if not found[row]]
    return found


def one_question(text: str) -> str:
    """A text up to its first question mark, in one line; empty where it has none, or nothing but signs before it."""
    text = " ".join(text.split())
    marks = [text.index(mark) for mark in QUESTION_MARKS if mark in text]
    text = text[: min(marks) + 1] if marks else ""
    return text if is_question(text) and any(sign.isalnum() for sign in text) else ""


def asked(
    network: FollowupNetwork,
    inputs: FollowupInputs,
    texts: Sequence[Mapping[str, str]],
    writing: Writing,
    *,
    retries: int = 2,
    batch_size: int = 32,
) -> list[str]:
    """Questions for texts, those of similar length together.

    Args:
        network: The model.
        inputs: Its inputs.
        texts: Of each, ``question``, ``answer`` and ``knowledge``.
        writing: How.
        retries: See `write_questions`.
        batch_size: At a time.
    """
    order = sorted(range(len(texts)), key=lambda place: sum(map(len, texts[place].values())))
    found = [""] * len(texts)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        prompts = inputs.asked([texts[place] for place in places])
        for place, one in zip(
            places, write_questions(network, inputs, *prompts, writing, retries=retries), strict=True
        ):
            found[place] = one
    return found


def ask_in_steps(
    network: FollowupNetwork,
    inputs: FollowupInputs,
    question: str,
    answer: str,
    finder: KnowledgeFinder | None,
    writing: Writing,
    *,
    retries: int = 2,
) -> Iterator[Recognised | Selected | Found | Asked]:
    """One follow-up, step by step, each as soon as it is there: topic, graph, knowledge, question.

    Args:
        network: The model.
        inputs: Its inputs.
        question: What was asked.
        answer: What was answered.
        finder: Looks knowledge up; None asks without.
        writing: How.
        retries: See `write_questions`.
    """
    found: Found | None = None
    for step in finder.stages(question, answer) if finder is not None else ():
        found = step if isinstance(step, Found) else None
        yield step
    knowledge = found.fused.text if found is not None else ""
    texts = [{"question": question, "answer": answer, "knowledge": knowledge}]
    said = asked(network, inputs, texts, writing, retries=retries)[0]
    yield Asked(said or None, knowledge, found.fused.concept if found is not None else "", found)
