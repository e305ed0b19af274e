"""Multimodal risk disentanglement (MRD): a model looks for what is risky in a prompt before anything is answered.

Source: arXiv:2504.18053, section 3.1: observations of the image alone and of the text alone, and of both together, each
verified by asking whether it may cause the harm it is said to; an empty set means that there is no risk. At inference the
model answers in a second call, with the observations as context. Our prompts and our third state: what cannot be read is
unparsed and never taken for "no risk".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from moon_zoo.data.conversations import CATEGORIES, Observation, Prompt
from moon_zoo.errors import UsageError, did_you_mean
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.observations import parse_observations
from moon_zoo.safety.wordings import Wordings, with_observations

Pass = Literal["joint", "image", "text"]
PASSES: tuple[Pass, ...] = get_args(Pass)
VerifyBy = Literal["answer", "logits"]


@dataclass(frozen=True, slots=True)
class Disentangled:
    """What was seen in a prompt.

    Args:
        observations: The risks that stand; none where every pass was read and nothing stands; None where that cannot be said.
        passes: For each pass that was made what it saw, before verification; None where it could not be read.
        dismissed: What a pass saw and the verifier denied.
        unparsed: Answers, of passes and of the verifier, that could not be read. An observation that the verifier says
            nothing readable about stands.
        asked: Answers in all.
    """

    observations: tuple[Observation, ...] | None
    passes: dict[str, tuple[Observation, ...] | None] = field(default_factory=dict)
    dismissed: tuple[Observation, ...] = ()
    unparsed: int = 0
    asked: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "observations": _plain(self.observations),
            "passes": {name: _plain(seen) for name, seen in self.passes.items()},
            "dismissed": _plain(self.dismissed),
            "unparsed": self.unparsed,
            "asked": self.asked,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Disentangled:
        """The inverse of `as_json`."""
        return cls(
            _observed(values["observations"]),
            {name: _observed(seen) for name, seen in values["passes"].items()},
            _observed(values["dismissed"]) or (),
            values["unparsed"],
            values["asked"],
        )


class Disentangler:
    """Looks for risks with an assistant.

    Args:
        assistant: The model that looks.
        passes: What is looked at: ``image`` alone, ``text`` alone, ``joint`` for both together. A prompt without an image gets
            no pass of the image, and in the others is what it is.
        verify: Whether each observation is asked about once more and dropped where the answer is no.
        verify_by: ``answer``: yes or no is generated and read. ``logits``: the likelier of both; never unparsed.
        prompts: Set of prompts: ``full``, ``short``, or a folder of one's own.
        max_new_tokens: Of a pass; a list that is cut off is unparsed.

    Raises:
        UsageError: A setting means nothing.
    """

    def __init__(
        self,
        assistant: Assistant,
        *,
        passes: Sequence[str] = ("image", "text"),
        verify: bool = True,
        verify_by: VerifyBy = "answer",
        prompts: str = "full",
        max_new_tokens: int = 256,
    ) -> None:
        unknown = [name for name in passes if name not in PASSES]
        if unknown or not passes:
            raise UsageError(
                f"unknown pass {unknown[0]!r}" if unknown else "no pass is to be made",
                suggestions=did_you_mean(unknown[0], PASSES) if unknown else (),
                change=f"passes, to one or more of {', '.join(PASSES)}",
            )
        if verify_by not in get_args(VerifyBy):
            raise UsageError(f"verify_by is {verify_by!r}", change="verify_by, to answer or logits")
        self._assistant = assistant
        self._passes = tuple(name for name in PASSES if name in passes)
        self._verify = verify
        self._verify_by = verify_by
        self.wordings = Wordings(prompts)
        self._max_new_tokens = max_new_tokens

    def identity(self) -> dict[str, Any]:
        """What the observations depend on, as plain values."""
        wordings = [*self._passes, *(["verify"] if self._verify else [])]
        return {
            "model": self._assistant.fingerprint(),
            "passes": list(self._passes),
            "verify": self._verify_by if self._verify else "",
            "max_new_tokens": self._max_new_tokens,
            "prompts": self.wordings.hashes(wordings),
        }

    def observe(self, prompts: Sequence[Prompt]) -> list[Disentangled]:
        """What is risky in each prompt."""
        found = [Disentangled(None) for _ in prompts]
        for name in self._passes:
            places = [place for place, prompt in enumerate(prompts) if name != "image" or prompt.image is not None]
            asked = [self._look(name, prompts[place]) for place in places]
            for place, text in zip(places, self._first_answers(asked, self._max_new_tokens)):
                seen, so_far = parse_observations(text), found[place]
                found[place] = replace(
                    so_far,
                    passes={**so_far.passes, name: seen},
                    unparsed=so_far.unparsed + (seen is None),
                    asked=so_far.asked + 1,
                )
        return self._verified(prompts, [replace(one, observations=_joined(one.passes)) for one in found])

    def _look(self, name: str, prompt: Prompt) -> Prompt:
        asked = self.wordings.ask(name, prompt)
        return Prompt(asked.turns, None, asked.key) if name == "text" else asked

    def _verified(self, prompts: Sequence[Prompt], found: list[Disentangled]) -> list[Disentangled]:
        if not self._verify:
            return [_settled(one, one.observations or (), ()) for one in found]
        pairs = [(place, seen) for place, one in enumerate(found) for seen in one.observations or ()]
        asked = [
            self.wordings.ask(
                "verify", prompts[place], {"content": seen.content, "category": CATEGORIES[seen.category]}
            )
            for place, seen in pairs
        ]
        verdicts = self._yes_or_no(asked)
        settled = []
        for place, one in enumerate(found):
            own = [(seen, verdict) for (where, seen), verdict in zip(pairs, verdicts) if where == place]
            counted = replace(
                one,
                unparsed=one.unparsed + sum(verdict is None for _, verdict in own),
                asked=one.asked + len(own),
            )
            stand = tuple(seen for seen, verdict in own if verdict is not False)
            settled.append(_settled(counted, stand, tuple(seen for seen, verdict in own if verdict is False)))
        return settled

    def _yes_or_no(self, asked: Sequence[Prompt]) -> list[bool | None]:
        if not asked:
            return []
        if self._verify_by == "logits":
            found = self._assistant.option_log_probabilities(asked, ("Yes", "No"))
            logs = np.asarray(found.detach().float().cpu() if hasattr(found, "detach") else found, dtype=np.float64)
            return [None if yes == no or np.isnan([yes, no]).any() else bool(yes > no) for yes, no in logs]
        return [read_yes_or_no(text) for text in self._first_answers(asked, 8)]

    def _first_answers(self, asked: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        if not asked:
            return []
        return [texts[0] for texts in self._assistant.answer(asked, max_new_tokens=max_new_tokens)]


class WithObservations:
    """An assistant that looks for risks first and then answers with what it saw as context.

    Where nothing was seen, or nothing could be read, the prompt is answered as it is.

    Args:
        assistant: The model that answers.
        disentangler: How risks are looked for.

    Attributes:
        unparsed: Prompts so far whose observations could not be read.
        observed: Prompts so far.
    """

    def __init__(self, assistant: Assistant, disentangler: Disentangler) -> None:
        self._assistant = assistant
        self._disentangler = disentangler
        self.unparsed = 0
        self.observed = 0

    def fingerprint(self) -> str:
        """Of the assistant and of how it looks."""
        identity = self._disentangler.identity()
        hashes = "+".join([*identity["prompts"].values(), *self._context_hash().values()])
        settings = f"{','.join(identity['passes'])};{identity['verify']};{identity['max_new_tokens']}"
        return f"{self._assistant.fingerprint()}|{identity['model']}|{settings}|{hashes}"

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
        """See `moon_zoo.safety.assistant.Assistant`; every prompt is observed once, however many samples are drawn."""
        return self._assistant.answer(
            self._in_context(prompts),
            samples=samples,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )

    def option_log_probabilities(self, prompts: Sequence[Prompt], options: Sequence[str]) -> Any:
        """See `moon_zoo.safety.assistant.Assistant`."""
        return self._assistant.option_log_probabilities(self._in_context(prompts), options)

    def _in_context(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        seen = self._disentangler.observe(prompts)
        self.observed += len(seen)
        self.unparsed += sum(one.observations is None for one in seen)
        return [
            with_observations(prompt, one.observations or (), self._disentangler.wordings)
            for prompt, one in zip(prompts, seen)
        ]

    def _context_hash(self) -> dict[str, str]:
        return self._disentangler.wordings.hashes(["answer_with_observations"])


def read_yes_or_no(text: str) -> bool | None:
    """Yes or no where an answer begins with either and does not hold the other; None for anything else."""
    words = "".join(char if char.isalpha() else " " for char in text.lower()).split()
    if not words or words[0] not in ("yes", "no") or {"yes", "no"} <= set(words):
        return None
    return words[0] == "yes"


def _joined(passes: dict[str, tuple[Observation, ...] | None]) -> tuple[Observation, ...]:
    """What any pass saw, each risk once: of equal source and category, contents that differ in case alone are equal."""
    found: dict[tuple[str, str, str], Observation] = {}
    for seen in passes.values():
        for one in seen or ():
            found.setdefault((one.content.casefold(), one.source, one.category), one)
    return tuple(found.values())


def _settled(one: Disentangled, stand: tuple[Observation, ...], dismissed: tuple[Observation, ...]) -> Disentangled:
    """With what stands; where nothing does, none only if every pass was read."""
    unsure = not one.passes or any(seen is None for seen in one.passes.values())
    return replace(one, observations=None if unsure and not stand else stand, dismissed=dismissed)


def _plain(observations: Sequence[Observation] | None) -> list[dict[str, str]] | None:
    return None if observations is None else [one.as_json() for one in observations]


def _observed(values: list[dict[str, str]] | None) -> tuple[Observation, ...] | None:
    return None if values is None else tuple(Observation(**one) for one in values)
