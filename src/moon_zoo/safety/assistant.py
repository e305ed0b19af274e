"""What answers: a model of ours, a server, a rule. All that observing, judging and evaluating know of a model is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from moon_zoo.data.conversations import Prompt


@runtime_checkable
class Assistant(Protocol):
    """Anything that answers prompts."""

    def answer(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[str]]:
        """Answers to prompts.

        Args:
            prompts: What is asked, with its image where there is one.
            samples: Answers per prompt.
            max_new_tokens: Most tokens of an answer.
            temperature: Divides logits before drawing; 0 takes the likeliest token each time.
            top_p: Draw from the likeliest tokens whose probabilities add up to this.
            seed: Of the draws. An answer depends on its prompt, its number and the seed, not on its neighbours.

        Returns:
            For each prompt its ``samples`` answers.
        """

    def option_log_probabilities(self, prompts: Sequence[Prompt], options: Sequence[str]) -> Any:
        """How likely each option is as the beginning of the answer.

        Args:
            prompts: What is asked.
            options: Beginnings of an answer, none of them the beginning of another.

        Returns:
            Natural logarithms, a tensor or array ``(num_prompts, num_options)``.
        """

    def fingerprint(self) -> str:
        """What tells this model from any other: a hash of weights and inputs, or a server's address and model."""
