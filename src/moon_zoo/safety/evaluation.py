"""Evaluation of an assistant on conversations: it looks for risks, answers, is judged, is counted.

Sources: arXiv:2504.18053, section 4, for what is measured. That each stage is kept on disk, that what is unparsed bounds every
figure from both sides, and that the judge and the hashes of all prompts stand beside the figures, is ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from moon_zoo.data.conversations import Instruction, Prompt
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.wording import first_few, many
from moon_zoo.errors import DataError, UsageError
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.disentangling import Disentangled, Disentangler
from moon_zoo.safety.evaluation_figures import JudgedAnswer, figures_of
from moon_zoo.safety.evaluation_records import StageRecords, write_whole
from moon_zoo.safety.judges.base import Judge, Judged, Verdict
from moon_zoo.safety.wordings import with_observations

RESULT = "evaluation.json"
"""What a finished evaluation leaves in its folder, beside the rows of its stages."""

Told = Callable[[str, int, int], None]
"""Called with a stage (``observing``, ``answering``, ``judging``), how many rows were just done, and how many there are."""


class Conversations(Protocol):
    """Conversations by place: a list, or a set of shards."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Instruction: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How an assistant is evaluated.

    Args:
        max_new_tokens: Most tokens of an answer; answers are the likeliest ones.
        batch_size: Prompts that are worked on, and written down, at once.
        in_context: Whether the assistant answers with the observations of the ``disentangler`` as context.
        split: First part of the figures' names.
    """

    max_new_tokens: int = 64
    batch_size: int = 16
    in_context: bool = False
    split: str = "test"

    def __post_init__(self) -> None:
        for name, value in (("max_new_tokens", self.max_new_tokens), ("batch_size", self.batch_size)):
            if value < 1:
                raise UsageError(f"{name} is {value}", change=f"{name}, to 1 or more")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it.

    Args:
        figures: Flat, with the split: ``test/safe_and_effective``, ``test/joint/safe_low``.
        split: What the figures' names begin with.
        identity: Who answered, who judged, which prompts asked, which set: plain values.
        answers: Every answer with its verdict, in the set's order.
    """

    figures: dict[str, float]
    split: str
    identity: dict[str, Any] = field(default_factory=dict)
    answers: list[JudgedAnswer] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Figures and identity, plain values."""
        return {"figures": self.figures, **self.identity}


def evaluate(
    assistant: Assistant | Mapping[str, str],
    judge: Judge,
    instructions: Conversations,
    *,
    disentangler: Disentangler | None = None,
    settings: Settings | None = None,
    to: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    told: Told | None = None,
) -> Evaluation:
    """Evaluate an assistant, or answers that somebody wrote.

    Args:
        assistant: Who answers; or answers by conversation id.
        judge: Who judges. It is shown the set's own observations, those of the ``disentangler`` where the set has none.
        instructions: Conversations: a list, or `moon_zoo.data.reading.IndexedShards` of kind ``instruction``.
        disentangler: Who looks for risks, for the figures of observations and for ``in_context``; None leaves both out.
        settings: How.
        to: A folder that keeps every stage's rows: the same call goes on where it was. None keeps nothing.
        overwrite: Whether rows there that depend on something else are thrown away instead of refused.
        told: Told what is done.

    Raises:
        UsageError: A setting means nothing, or the judge or the assistant cannot be asked.
        DataError: There is no conversation, an answer is missing, or the folder holds rows of something else.
    """
    settings = settings or Settings()
    if not len(instructions):
        raise DataError("there is no conversation to evaluate on", change="the set")
    if settings.in_context and (disentangler is None or isinstance(assistant, Mapping)):
        raise UsageError(
            "answers with observations as context need an assistant that answers, and one that observes",
            change="in_context, or the disentangler",
        )
    work = _Work(assistant, judge, instructions, disentangler, settings, told or (lambda stage, done, total: None))
    if to is None:
        return work.run(None, overwrite)
    folder = Path(to)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file", where=str(folder), change="the folder, with --to")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            return work.run(folder, overwrite)
    except Timeout as error:
        raise DataError(
            f"another evaluation is writing to {folder}", where=str(folder), change="the folder, or wait for it"
        ) from error


class _Work:
    """One evaluation: stages in their order, each over batches of places in the set."""

    def __init__(
        self,
        assistant: Assistant | Mapping[str, str],
        judge: Judge,
        instructions: Conversations,
        disentangler: Disentangler | None,
        settings: Settings,
        told: Told,
    ) -> None:
        self.assistant = assistant
        self.judge = judge
        self.instructions = instructions
        self.disentangler = disentangler
        self.settings = settings
        self.told = told
        self.set_identity = _set_identity(instructions)
        self.places = range(len(instructions))

    def run(self, folder: Path | None, overwrite: bool) -> Evaluation:
        observed = self._observe(folder, overwrite)
        answers = self._answer(folder, overwrite, observed)
        verdicts = self._judge(folder, overwrite, observed, answers)
        judged = [
            self._judged(place, self.instructions[place], observed, answers[place], verdicts[place])
            for place in self.places
        ]
        figures = {f"{self.settings.split}/{name}": value for name, value in figures_of(judged, self.judge.ask).items()}
        found = Evaluation(figures, self.settings.split, self._identity(), judged)
        if folder is not None:
            write_whole(folder / RESULT, json.dumps(found.as_json(), ensure_ascii=False, indent=1) + "\n")
        return found

    # Stages ------------------------------------------------------------------------------------------------------------

    def _observe(self, folder: Path | None, overwrite: bool) -> dict[int, Disentangled]:
        if self.disentangler is None:
            return {}
        identity = {"set": self.set_identity, **self.disentangler.identity()}
        path = None if folder is None else folder / "observations.jsonl"
        records = StageRecords(path, identity, "observations", overwrite=overwrite)
        for places, batch in self._batches("observing", records):
            seen = self.disentangler.observe([one.prompt for one in batch])
            rows = [{"conversation_id": one.conversation_id, **found.as_json()} for one, found in zip(batch, seen)]
            records.add(dict(zip(places, rows)))
        return {place: Disentangled.from_json(row) for place, row in records.rows.items()}

    def _answer(self, folder: Path | None, overwrite: bool, observed: Mapping[int, Disentangled]) -> list[str]:
        if isinstance(self.assistant, Mapping):
            return self._given_answers(self.assistant)
        path = None if folder is None else folder / "answers.jsonl"
        records = StageRecords(path, self._answers_identity(), "answers", overwrite=overwrite)
        for places, batch in self._batches("answering", records):
            prompts = [self._prompt(one, observed.get(place)) for place, one in zip(places, batch)]
            texts = self.assistant.answer(prompts, max_new_tokens=self.settings.max_new_tokens)
            rows = [{"conversation_id": one.conversation_id, "answer": text[0]} for one, text in zip(batch, texts)]
            records.add(dict(zip(places, rows)))
        return [records.rows[place]["answer"] for place in self.places]

    def _judge(
        self, folder: Path | None, overwrite: bool, observed: Mapping[int, Disentangled], answers: Sequence[str]
    ) -> list[Verdict]:
        judge = self.judge.fingerprint()
        identity = {
            "set": self.set_identity,
            "judge": judge,
            "answers": hashlib.sha256(json.dumps(answers).encode()).hexdigest()[:12],
            "observations": None if self.disentangler is None else self.disentangler.identity(),
        }
        # A judge has a file of its own: another may judge the same answers.
        name = f"verdicts-{re.sub(r'[^a-zA-Z0-9.@-]+', '_', judge)}.jsonl"
        path = None if folder is None else folder / name
        records = StageRecords(path, identity, "verdicts", overwrite=overwrite)
        for place, row in list(records.rows.items()):
            # The judge may have been down; one that answers nonsense again and again is asked again too, from its cache.
            if Verdict.from_json(row["verdict"]).unparsed:
                del records.rows[place]
        for places, batch in self._batches("judging", records):
            items = [self._item(place, one, observed, answers[place]) for place, one in zip(places, batch)]
            found = self.judge.judge(items)
            rows = [
                {"conversation_id": one.conversation_id, "verdict": verdict.as_json()}
                for one, verdict in zip(batch, found)
            ]
            records.add(dict(zip(places, rows)))
        return [Verdict.from_json(records.rows[place]["verdict"]) for place in self.places]

    def _batches(self, stage: str, records: StageRecords) -> Iterator[tuple[list[int], list[Instruction]]]:
        missing = records.missing(self.places)
        total, size = len(self.places), self.settings.batch_size
        if len(missing) < total:
            self.told(stage, total - len(missing), total)
        for start in range(0, len(missing), size):
            places = missing[start : start + size]
            yield places, [self.instructions[place] for place in places]
            self.told(stage, len(places), total)

    # Parts of them -----------------------------------------------------------------------------------------------------

    def _given_answers(self, answers: Mapping[str, str]) -> list[str]:
        ids = [self.instructions[place].conversation_id for place in self.places]
        missing = [one for one in ids if one not in answers]
        if missing:
            raise DataError(
                f"{many(len(missing), 'conversation')} of {len(ids):,} have no answer: {first_few(missing)}",
                change="the answers, so that every conversation_id of the set has one",
            )
        return [answers[one] for one in ids]

    def _prompt(self, instruction: Instruction, seen: Disentangled | None) -> Prompt:
        if not self.settings.in_context or seen is None or self.disentangler is None:
            return instruction.prompt
        return with_observations(instruction.prompt, seen.observations or (), self.disentangler.wordings)

    def _item(self, place: int, one: Instruction, observed: Mapping[int, Disentangled], answer: str) -> Judged:
        seen = observed[place].observations if one.observations is None and place in observed else None
        return Judged.of(one, answer, seen)

    def _judged(
        self, place: int, one: Instruction, observed: Mapping[int, Disentangled], answer: str, verdict: Verdict
    ) -> JudgedAnswer:
        true = () if one.observations is None and one.safe else one.observations
        return JudgedAnswer(
            conversation_id=one.conversation_id,
            situation=one.situation,
            benign=one.safe if one.safe is not None else (None if true is None else not true),
            answer=answer,
            verdict=verdict,
            true=true,
            seen=observed[place].observations if place in observed else None,
            looked=place in observed,
            pair=str(one.truth.get("pair", "")),
        )

    def _answers_identity(self) -> dict[str, Any]:
        if isinstance(self.assistant, Mapping):
            return {"set": self.set_identity, "model": "given answers"}
        identity: dict[str, Any] = {
            "set": self.set_identity,
            "model": self.assistant.fingerprint(),
            "max_new_tokens": self.settings.max_new_tokens,
        }
        if self.settings.in_context and self.disentangler is not None:
            identity["observations"] = self.disentangler.identity()
            identity["prompts"] = self.disentangler.wordings.hashes(["answer_with_observations"])
        return identity

    def _identity(self) -> dict[str, Any]:
        return {
            "conversations": len(self.places),
            "answers": self._answers_identity(),
            "judge": {
                "name": self.judge.name,
                "fingerprint": self.judge.fingerprint(),
                "asked": list(self.judge.ask),
                "prompts": dict(self.judge.prompt_hashes),
            },
            "observing": None if self.disentangler is None else self.disentangler.identity(),
        }


def _set_identity(instructions: Conversations) -> str:
    """A hash of the conversations; of a set of shards that of its manifest."""
    if isinstance(instructions, IndexedShards):
        if instructions.manifest.kind != Instruction.kind:
            raise DataError(
                f"the set holds samples of kind {instructions.manifest.kind}, not {Instruction.kind}",
                where=instructions.path,
                change="the set, to one of conversations such as `moon-zoo pack shop --kind instruction` writes",
            )
        return instructions.manifest.fingerprint[:12]
    found = hashlib.sha256()
    for place in range(len(instructions)):
        one = instructions[place]
        members = one.to_members()
        found.update(json.dumps(members["conversation.json"], sort_keys=True).encode())
        found.update(one.image or b"")
    return found.hexdigest()[:12]
