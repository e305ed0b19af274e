"""The further task of fine-tuning: to say what is risky about a prompt, in the words in which one is asked for it later.

Source: DREAM, arXiv:2504.18053, section 3.1. The question is the joint one of `moon_zoo.safety.wordings`, and the answer what
`moon_zoo.safety.observations` reads back, so what is learned here is what `moon_zoo.safety.disentangling` asks for.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from moon_zoo.data.conversations import Observation, Prompt
from moon_zoo.safety.observations import format_observations
from moon_zoo.safety.wordings import Wordings

WordingsName = Literal["short", "full"]


def observing_prompt(prompt: Prompt, wordings: WordingsName) -> Prompt:
    """The question for the risks of a prompt, image and text together."""
    return _wordings(wordings).ask("joint", prompt)


def observations_text(observations: tuple[Observation, ...]) -> str:
    """How it is to be answered."""
    return format_observations(observations)


@cache
def _wordings(name: str) -> Wordings:
    return Wordings(name)
