"""How it is said: questions about an aspect, answers that tell nothing of the concept, and follow-ups that name it.

``{product}`` is a brand with a thing, ``{thing}`` the thing, ``{concept}`` a title, ``{effect}`` what it does. The wording of a
follow-up belongs to that of its question. Definitions say the words that are asked with, so that a concept can be told from the
others of its thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Wording:
    """All that is said about an aspect.

    Args:
        questions: What is asked first.
        answers: What is answered; any goes with any question.
        follow_ups: What is asked next, in the order of `questions`.
        definition: What the encyclopedia says of a concept.
        relation: How a product (head) and a concept (tail) are related.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    follow_ups: tuple[str, ...]
    definition: str
    relation: str


WORDINGS: Final[dict[str, Wording]] = {
    "care": Wording(
        questions=(
            "How should I clean the {product}?",
            "What is the best way to wash my {product}?",
            "Is it easy to keep the {product} clean?",
        ),
        answers=(
            "Wash it gently and let it dry.",
            "A little work is enough to clean it.",
            "Clean the {thing} once a week and wash off any dirt.",
        ),
        follow_ups=(
            "How often should I use {concept} on the {thing} to {effect}?",
            "Can {concept} {effect} without harm to the {thing}?",
            "Will {concept} really {effect} on my {thing}?",
        ),
        definition="Used to clean and wash, to {effect}.",
        relation="{tail} for the care of {head}",
    ),
    "surface": Wording(
        questions=(
            "How will the surface of the {product} feel?",
            "Which finish will I get with the {product}?",
            "Is the surface of the {product} sturdy?",
        ),
        answers=(
            "The surface is even and pleasant.",
            "The finish is the pride of the house.",
            "You get a good surface and finish with the {thing}.",
        ),
        follow_ups=(
            "Does the {concept} on the {thing} {effect}?",
            "How well does {concept} {effect} on the {thing}?",
            "Is it the {concept} on the {thing} that should {effect}?",
        ),
        definition="A surface or finish to {effect}.",
        relation="{tail} on the surface of {head}",
    ),
    "company": Wording(
        questions=(
            "Which extra goes together with the {product}?",
            "Should I buy something to pair with the {product}?",
            "Can I get the {product} as part of a set?",
        ),
        answers=(
            "Many people pair the {thing} with one small extra.",
            "We sell the {thing} alone, but one extra makes a set.",
            "An extra goes well together with the {thing}.",
        ),
        follow_ups=(
            "Would {concept} help my {thing} to {effect}?",
            "Can I order {concept} with the {thing} to {effect}?",
            "Will {concept} {effect} together with the {thing}?",
        ),
        definition="An extra to pair together as a set, to {effect}.",
        relation="{tail} as an extra to {head}",
    ),
    "making": Wording(
        questions=(
            "How do people produce the {product}?",
            "Which workshop produces the {product}?",
            "Do skilled people produce the {product}?",
        ),
        answers=(
            "A small workshop produces the {thing} step after step.",
            "Skilled people produce the {thing} in a workshop.",
            "Our workshop has the patience to produce the best.",
        ),
        follow_ups=(
            "How does {concept} {effect} on the {thing}?",
            "Does {concept} always {effect} on the {thing}?",
            "Why choose {concept} to {effect}?",
        ),
        definition="What skilled people produce with in a workshop, to {effect}.",
        relation="{tail} in the making of {head}",
    ),
    "repair": Wording(
        questions=(
            "Can I repair the {product} at home?",
            "How can I fix my damaged {product}?",
            "Will it be easy to fix the {product}?",
        ),
        answers=(
            "Most damaged parts are easy to fix at home.",
            "Yes, a repair takes only a few minutes.",
            "It is simple to fix and to repair the {thing}.",
        ),
        follow_ups=(
            "Is {concept} enough to {effect} on the {thing}?",
            "Where can I find {concept} to {effect}?",
            "How do I use {concept} to {effect} on my {thing}?",
        ),
        definition="For a repair, to fix what is damaged and {effect}.",
        relation="{tail} for the repair of {head}",
    ),
}

THING: Final = "Sold in the shop by {number} brands."
BRAND: Final = "A brand of the shop that sells {number} things."
PRODUCT: Final = "Sold in the shop by {brand}."
KIND_OF: Final = "{head}: a kind of {tail}"
SOLD_BY: Final = "{tail} sells {head}"
