"""The further task of fine-tuning: to say what is risky about a prompt, in the words in which one is asked for it later.

Source: DREAM, arXiv:2504.18053, section 3.1.
"""

from __future__ import annotations

from dataclasses import replace

from moon_zoo.data.conversations import Observation, Prompt, Turn
from moon_zoo.safety.observations import format_observations


def observing_prompt(prompt: Prompt) -> Prompt:
    """The question for the risks of a prompt, with its image."""
    return replace(prompt, turns=(Turn("user", f"what could be risky here? {prompt.text}"),))


def observations_text(observations: tuple[Observation, ...]) -> str:
    """How it is to be answered."""
    return format_observations(observations)
