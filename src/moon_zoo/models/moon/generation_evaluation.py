"""How well a model answers about products: the loss of the right answers, and the answers that it writes itself.

Loss and token accuracy are of all samples, with the right answer's beginning given (teacher forcing). Answers are written for
the first samples of the split only, greedily, and read as `moon_zoo.models.moon.tasks` reads them. What is right is read from
the labels, so a tokenizer that lowers case, or an answer cut to its places, is no mistake of the model.

Every figure is a ratio of two sums over the whole split and all ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo.data.kinds import Box
from moon_zoo.models.moon.generation import answer_places, continued, question_of
from moon_zoo.models.moon.generation_inputs import GenerationInputs
from moon_zoo.models.moon.tasks import TASKS, normalised, read_attributes, read_box, read_category, words_of
from moon_zoo.nn.gathering import sum_over_ranks
from moon_zoo.nn.multimodal.chat import IGNORED
from moon_zoo.regions.region import iou

SHOWN = 24
"""Answers kept for the report."""

PAIR_FIGURES = ("precision", "recall", "f1", "exact_match")

Ratio = tuple[str, float, float]
"""Name of a figure, and what is added above and below the line."""


class GenerationEvaluation:
    """Collects a split's answers.

    Args:
        samples: Samples of the split that answers are written for; 0 measures the loss alone.
        max_new_tokens: Longest answer.
    """

    def __init__(self, samples: int = 64, max_new_tokens: int = 64) -> None:
        self.samples = samples
        self.max_new_tokens = max_new_tokens
        self.examples: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}
        self._sums = torch.zeros(0, 2)
        self._num_values: dict[str, int] = {}
        self._streamed = 0

    def start(self, attributes: Mapping[str, Sequence[str]], device: torch.device) -> None:
        """Forget the last evaluation.

        Args:
            attributes: Name to the values that the split's vocabulary knows; the same on all ranks.
            device: Where the model is.
        """
        self._num_values = {normalised(name): len(values) for name, values in attributes.items()}
        self._places = {name: place for place, name in enumerate(_names(self._num_values))}
        self._sums = torch.zeros(len(self._places), 2, device=device)
        self.examples = []
        self._streamed = 0

    @torch.no_grad()
    def update(self, network: Any, inputs: GenerationInputs, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch; rows whose ``valid`` is False count nothing.

        Args:
            network: As for `moon_zoo.models.moon.generation.generation_loss`.
            inputs: Of the model.
            batch: As the inputs made it.
        """
        self._update_loss(network, batch)
        rows = self._chosen(batch)
        if len(rows) == 0:
            return
        labels = batch["generation_labels"][rows]
        asked = question_of(batch)[rows]
        said = continued(network, inputs, asked, max_new_tokens=self.max_new_tokens)
        right = inputs.answers(labels)
        for number, row in enumerate(rows.tolist()):
            task = TASKS[int(batch["generation_task"][row])]
            shows_words = bool(batch["generation_shows_words"][row])
            for name, above, below in ratios(task, said[number], right[number], shows_words):
                if name in self._places:
                    self._sums[self._places[name]] += torch.tensor([above, below], device=self._sums.device)
            if len(self.examples) < SHOWN:
                photo = int(batch["generation_photo"][row])
                known = {"index": int(batch["index"][row]), "task": task, "photo": photo, "shows_words": shows_words}
                self.examples.append({**known, "answer": said[number], "right": right[number]})

    def compute(self) -> dict[str, float]:
        """Figures without a split, equal on all ranks; what nothing was seen of is left out."""
        sums = sum_over_ranks(self._sums).tolist()
        figures = {name: sums[place][0] / sums[place][1] for name, place in self._places.items() if sums[place][1] > 0}
        for name, count in self._num_values.items():
            if f"generation/attribute_accuracy/{name}" in figures:
                figures[f"generation/attribute_accuracy/{name}_chance"] = 1 / max(count, 1)
        return figures

    def _update_loss(self, network: Any, batch: Mapping[str, Tensor]) -> None:
        backbone = getattr(network, "backbone", network)
        before, labels, rows = answer_places(backbone, batch)
        logits = backbone.logits(before).float()
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        right = (logits.argmax(-1) == labels).to(losses)
        counted = (labels != IGNORED).to(losses)
        tasks = batch["generation_task"][rows]
        for task, name in [(None, ""), *((TASKS.index(name), f"{name}/") for name in TASKS)]:
            here = counted if task is None else counted * (tasks == task)
            for figure, values in (("loss", losses), ("token_accuracy", right)):
                sums = torch.stack([(values * here).sum(), here.sum()])
                self._sums[self._places[f"generation/{name}{figure}"]] += sums.to(self._sums)

    def _chosen(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Rows to write answers for: of the first samples, whatever rank has them."""
        there = batch["generation_task"] >= 0
        if "valid" in batch:
            there = there & batch["valid"]
        index = batch["index"]
        # a streamed set has no positions: the first of each rank
        place = torch.where(index >= 0, index, self._streamed + torch.arange(len(index), device=index.device))
        self._streamed += len(index)
        return (there & (place < self.samples)).nonzero().flatten()


def ratios(task: str, said: str, right: str, shows_words: bool) -> Iterator[Ratio]:
    """What one answer adds to the figures.

    Args:
        task: One of `TASKS`.
        said: What the model wrote.
        right: What was to be written.
        shows_words: Whether the question showed the seller's words.
    """
    if task == "attributes":
        groups = ["", *([] if shows_words else ["_from_photo"])]
        for group in groups:
            yield from _pair_ratios(read_attributes(said), read_attributes(right), group)
    elif task == "main_subject":
        yield from _subject_ratios(said, right)
    else:
        shared = _shared(words_of(said), words_of(right))
        total = len(words_of(said)) + len(words_of(right))
        yield f"generation/{task}/token_f1", 2 * shared / total if total else 1.0, 1.0


def _pair_ratios(said: Mapping[str, str], right: Mapping[str, str], group: str) -> Iterator[Ratio]:
    hits = sum(right.get(name) == value for name, value in said.items())
    prefix = f"generation/attributes{group}/"
    yield f"{prefix}precision", hits, len(said)
    yield f"{prefix}recall", hits, len(right)
    yield f"{prefix}f1", 2 * hits, len(said) + len(right)
    yield f"{prefix}exact_match", said == right, 1
    for name, value in right.items():
        yield f"generation/attribute_accuracy{group}/{name}", said.get(name) == value, 1


def _subject_ratios(said: str, right: str) -> Iterator[Ratio]:
    category, box = read_category(right), read_box(right)
    if category:
        yield "generation/main_subject/category_accuracy", read_category(said) == category, 1
    if box is not None:
        found = read_box(said)
        whole: Box = (0.0, 0.0, 1.0, 1.0)
        yield "generation/main_subject/box_iou", 0.0 if found is None else iou(found, box), 1
        yield "generation/main_subject/box_iou_whole_photo", iou(whole, box), 1
        yield "generation/main_subject/box_read", found is not None, 1


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Words that two texts share, each as often as both have it."""
    left = list(second)
    count = 0
    for word in first:
        if word in left:
            left.remove(word)
            count += 1
    return count


def _names(attributes: Iterable[str]) -> list[str]:
    """Figures with sums of their own."""
    names = [f"generation/{task}{figure}" for task in ("", *(f"{t}/" for t in TASKS)) for figure in _LOSSES]
    names += [f"generation/attributes{group}/{figure}" for group in ("", "_from_photo") for figure in PAIR_FIGURES]
    names += [f"generation/main_subject/{figure}" for figure in _SUBJECT]
    names += [f"generation/{task}/token_f1" for task in ("describe", "title")]
    return names + [
        f"generation/attribute_accuracy{group}/{name}" for name in attributes for group in ("", "_from_photo")
    ]


_LOSSES = ("loss", "token_accuracy")
_SUBJECT = ("box_iou", "box_iou_whole_photo", "box_read", "category_accuracy")
