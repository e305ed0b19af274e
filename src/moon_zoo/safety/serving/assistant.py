"""An assistant behind a server: evaluated, or observed with, like a model of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from moon_zoo.data.conversations import Prompt
from moon_zoo.errors import UsageError
from moon_zoo.safety.serving.chat import ChatServer, Refused, Unavailable


class ServedAssistant:
    """Answers by asking a server; see `moon_zoo.safety.assistant.Assistant`.

    Args:
        server: Where, and which model.
        concurrency: Requests under way at once.
    """

    def __init__(self, server: ChatServer, *, concurrency: int = 8) -> None:
        self._server = server
        self._concurrency = concurrency

    def fingerprint(self) -> str:
        """The server's address and model, hashed; whatever is served there may change without notice."""
        identity = f"{self._server.url}\n{self._server.model}"
        return f"{self._server.model}@{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

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
        """See `Assistant`.

        Raises:
            UsageError: The server is down, or does not take a prompt.
        """

        def one(place: tuple[int, int]) -> str:
            prompt, sample = prompts[place[0]], place[1]
            settings = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
            try:
                # Numbers of samples make seeds of their own, so that draws differ and a cache tells them apart.
                return self._server.complete(prompt, **settings, seed=seed * 1009 + sample).text
            except (Unavailable, Refused) as error:
                raise UsageError(
                    f"the assistant gives no answer: {error}", where=prompt.key or self._server.url, change="the server"
                ) from error

        places = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]
        texts = self._server.each(one, places, concurrency=self._concurrency)
        return [texts[start : start + samples] for start in range(0, len(texts), samples)]

    def option_log_probabilities(self, prompts: Sequence[Prompt], options: Sequence[str]) -> Any:
        """Not to be had of a server: chat completions score no given texts.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "a server gives no log probabilities of given answers",
            where=self._server.url,
            change="the judge to HttpJudge, or verification by answers instead of logits",
        )
