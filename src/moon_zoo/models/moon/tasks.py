"""What a product model learns to write, and how its answers are read again: description, attributes, title, main subject.

Source: the generative pretraining of MOON's paradigm, arXiv:2511.11305, section on pretraining: next-token prediction on
describing the photo, extracting attributes, writing the title and finding the main subject. Wordings and forms of answers
are ours: attributes are ``name: value; name: value`` in alphabetical order; the main subject is Qwen's grounding object,
``{"bbox_2d": [left, top, right, bottom], "label": "mug"}``, in thousandths of the photo's sides.

Readers of answers never raise: whatever a model says becomes a dict, a box or None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from moon_zoo.data.kinds import Box, Product
from moon_zoo.models.moon.prompts import Segments, choose, fill, first_fitting
from moon_zoo.regions.parsing import parse_box

TASKS: Final = ("describe", "attributes", "title", "main_subject")
"""In the order of their numbers in a batch."""

_LABEL = re.compile(r"\"label\"\s*:\s*\"([^\"}]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked about a product.

    Args:
        task: One of `TASKS`.
        prompt: The question, by token type.
        answer: What should be answered; empty where the product does not tell.
        shows_words: Whether the question says anything that the seller wrote.
    """

    task: str
    prompt: Segments
    answer: str
    shows_words: bool


def possible(task: str, product: Product) -> bool:
    """Whether a product tells what a task asks for, and shows or says enough to ask."""
    if not product.photos and not (product.title or product.attributes or product.category):
        return False
    if task == "describe":
        return bool(description(product))
    if task == "attributes":
        return bool(product.attributes) and bool(product.photos or product.title)
    if task == "title":
        return bool(product.title)
    return bool(product.category) or any(box is not None for box in product.core_boxes)


def ask(
    task: str,
    product: Product,
    *,
    words: bool,
    box: Box | None = None,
    locate: bool = True,
    only: str | None = None,
    wording: float = 0.0,
) -> Question:
    """The question of a task about a product, and its answer.

    Args:
        task: One of `TASKS`.
        product: The product; what it lacks is not asked with.
        words: Whether the seller's words are shown beside the photos. The title of `main_subject` always is, as is
            everything of a product without photos.
        box: Where the product is in the photo shown, None where unknown.
        locate: Whether `main_subject` asks where the product is, or only what it is.
        only: The one attribute that `attributes` asks for; None for all.
        wording: In ``[0, 1)``: which of the wordings.
    """
    shown = words or not product.photos or task == "main_subject"
    fields = _fields(task, product) if shown else {}
    name = "category" if task == "main_subject" and not locate else task
    shows_words = any(fields.values())
    if only is not None:
        product = replace(product, attributes={only: product.attributes[only]})
        name, fields = "attribute", {**fields, "name": _plain(only)}
    prompt = fill(choose(name, fields, wording), fields)
    return Question(task, prompt, _answer(task, product, box if locate else None), shows_words)


def _fields(task: str, product: Product) -> dict[str, str]:
    if task == "title":
        return {"category": _leaf(product), "attributes": attribute_text(product.attributes)}
    return {"title": _one_line(product.title)}


def _answer(task: str, product: Product, box: Box | None) -> str:
    if task == "describe":
        return description(product)
    if task == "attributes":
        return attribute_text(product.attributes)
    if task == "title":
        return _one_line(product.title)
    return _leaf(product) if box is None else box_text(box, _leaf(product))


# Answers as text -------------------------------------------------------------------------------------------------------


def description(product: Product) -> str:
    """The product's own description, else a sentence of its category, attributes and title; empty where it tells nothing."""
    if product.description.strip():
        return _one_line(product.description)
    facts = [f"{_one_line(name)} {_one_line(value)}" for name, value in sorted(product.attributes.items()) if value]
    joined = " and ".join([*([", ".join(facts[:-1])] if len(facts) > 1 else []), *facts[-1:]])
    fields = {"category": _leaf(product), "facts": joined, "title": _one_line(product.title)}
    return first_fitting("description", fields) or fields["title"] or fields["category"]


def attribute_text(attributes: Mapping[str, str]) -> str:
    """``name: value; name: value`` in alphabetical order; separators inside of names and values become commas."""
    pairs = ((_plain(name), _plain(value)) for name, value in sorted(attributes.items()))
    return "; ".join(f"{name}: {value}" for name, value in pairs if name and value)


def box_text(box: Box, label: str = "", step: int = 10) -> str:
    """A box as the answer of `main_subject`.

    Args:
        box: Fractions of the photo's sides.
        label: The category's name; left out where empty.
        step: Corners are rounded to this many thousandths: a small photo shows no finer.
    """
    corners = [min(1000, max(0, step * round(1000 * corner / step))) for corner in box]
    answer: dict[str, object] = {"bbox_2d": corners}
    if label:
        answer["label"] = label
    return json.dumps(answer, ensure_ascii=False)


# Answers read again ------------------------------------------------------------------------------------------------------


def read_attributes(answer: str) -> dict[str, str]:
    """Attributes that an answer names, names and values in lower case without spaces beside marks; the first of each name."""
    found: dict[str, str] = {}
    for pair in re.split(r"[;\n]", answer):
        name, colon, value = pair.partition(":")
        name, value = normalised(name), normalised(value)
        if colon and name and value:
            found.setdefault(name, value)
    return found


def read_box(answer: str) -> Box | None:
    """The box that an answer of `main_subject` names; None where it names none."""
    return parse_box(answer, scale="thousandths").box


def read_category(answer: str) -> str:
    """The category that an answer of `main_subject` names, in lower case; empty where it names none."""
    label = _LABEL.search(re.sub(r"\s*\"\s*", '"', answer))  # a tokenizer may put spaces beside quotes
    if label is not None:
        return normalised(label.group(1))
    return "" if "{" in answer or "[" in answer else normalised(answer)


def normalised(text: str) -> str:
    """Lower case, single spaces, none beside marks: equal for texts that differ by a tokenizer's spaces alone."""
    text = " ".join(text.lower().split())
    return re.sub(r"\s*([^\w\s])\s*", r"\1", text)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, marks left out."""
    return re.findall(r"\w+", text.lower())


def _leaf(product: Product) -> str:
    return _one_line(product.category[-1]) if product.category else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    return _one_line(text.replace(";", ",").replace(":", ",")).strip(" ,")
