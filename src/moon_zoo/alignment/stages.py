"""The stages of a round, each from one set of shards to the next: sampling, judging, pairing.

Samples and verdicts travel in the conversations' ``truth``, under keys of their own, so that every stage's set is an ordinary
set of kind ``instruction`` with its parent in the manifest; pairs are of kind ``preference``. Rows that are made one by one lie
in a file beside the set until all are there: a killed stage goes on with the next row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from moon_zoo.alignment.pairs import DROPPED, Pair, PairFilters, pair_of
from moon_zoo.data.conversations import Instruction, Observation, Preference
from moon_zoo.data.ids import stable_id
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import ShardWriter, write_splits
from moon_zoo.errors import DataError, UsageError
from moon_zoo.safety.assistant import Assistant
from moon_zoo.safety.disentangling import Disentangler
from moon_zoo.safety.evaluation_records import StageRecords
from moon_zoo.safety.judges.base import Judge, Judged, Verdict
from moon_zoo.safety.scores import Aggregation, parts, score

SAMPLES, OBSERVED, SAMPLED_BY, VERDICTS, JUDGED_BY = "samples", "observed", "sampled_by", "verdicts", "judged_by"
"""Keys of ``truth`` that rounds add; `Instruction.truth` of a set has none of them."""

_ADDED = (SAMPLES, OBSERVED, SAMPLED_BY, VERDICTS, JUDGED_BY)

VALIDATION_SHARE = 10
"""One in so many conversations' pairs validates."""

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn.

    Args:
        samples: Answers to each prompt.
        temperature: Of the draws, above 0.
        top_p: Draw among the likeliest tokens that together have this probability.
        max_new_tokens: Longest answer.
        seed: Of the draws.
        batch_size: Prompts at a time.
    """

    samples: int = 4
    temperature: float = 0.8
    top_p: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UsageError(f"{self.samples} answers make no pair", change="samples, to 2 or more")
        if not self.temperature > 0:
            raise UsageError(
                f"at the temperature {self.temperature:g} all answers are one", change="temperature, to more than 0"
            )


def sample(
    assistant: Assistant,
    conversations: IndexedShards,
    out: Path,
    settings: Sampling,
    *,
    observer: Disentangler | None = None,
    unobserved: bool = False,
    places: Sequence[int] | None = None,
    command: str = "",
    told: Told | None = None,
) -> dict[str, Any]:
    """Draw answers to every conversation of a set.

    Args:
        assistant: The policy.
        conversations: Of kind ``instruction``.
        out: The set to make.
        settings: How answers are drawn.
        observer: Who looks for risks, for the judge to know; None leaves the set's own observations.
        unobserved: Whether the judge is to know of no observations at all, not even the set's own.
        places: Which conversations; None for all.
        command: For the manifest.
        told: Told what is done.

    Returns:
        Counts: ``conversations``, ``answers``, ``distinct``: mean share of a prompt's answers that are different texts.
    """
    places = range(len(conversations)) if places is None else places
    identity = {
        "policy": assistant.fingerprint(),
        "set": conversations.manifest.fingerprint,
        "observer": None if observer is None else observer.identity(),
        **asdict(settings),
    }
    identity.pop("batch_size")  # an answer does not depend on what is asked beside it
    rows = StageRecords(_beside(out), identity, "samples", overwrite=True)
    for start in _batches(rows.missing(places), settings.batch_size):
        prompts = [conversations[place].prompt for place in start]
        texts = assistant.answer(
            prompts,
            samples=settings.samples,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        seen = [None] * len(prompts) if observer is None else observer.observe(prompts)
        rows.add(
            {
                place: {SAMPLES: found, OBSERVED: None if what is None else _plain(what.observations)}
                for place, found, what in zip(start, texts, seen, strict=True)
            }
        )
        _tell(told, "sampling", len(start), len(places))

    def samples() -> Iterator[tuple[str, Instruction]]:
        for place in places:
            conversation, row = conversations[place], rows.rows[place]
            added = {SAMPLES: row[SAMPLES], SAMPLED_BY: identity}
            if observer is not None or unobserved:
                added[OBSERVED] = row[OBSERVED]
            yield f"{place:06d}", _with(conversation, added)

    _write(out, samples(), conversations, command)
    distinct = [len(set(rows.rows[place][SAMPLES])) / settings.samples for place in places]
    return {
        "conversations": len(places),
        "answers": len(places) * settings.samples,
        "distinct": sum(distinct) / max(1, len(distinct)),
    }


def judge(
    judge: Judge,
    sampled: IndexedShards,
    out: Path,
    *,
    batch_size: int = 64,
    command: str = "",
    told: Told | None = None,
) -> dict[str, Any]:
    """Judge every answer of a set that `sample` made.

    Returns:
        Counts: ``answers``, ``asked`` and ``unparsed`` questions, ``unparsed_rate``.
    """
    identity = {"judge": judge.fingerprint(), "set": sampled.manifest.fingerprint}
    rows = StageRecords(_beside(out), identity, "verdicts", overwrite=True)
    for start in _batches(rows.missing(range(len(sampled))), batch_size):
        items = [(place, one) for place in start for one in _judged(sampled[place])]
        verdicts = judge.judge([one for _, one in items])
        found: dict[int, list[dict[str, Any]]] = {place: [] for place in start}
        for (place, _), verdict in zip(items, verdicts, strict=True):
            found[place].append(verdict.as_json())
        rows.add({place: {VERDICTS: one} for place, one in found.items()})
        _tell(told, "judging", len(start), len(sampled))

    def judged() -> Iterator[tuple[str, Instruction]]:
        for place in range(len(sampled)):
            added = {VERDICTS: rows.rows[place][VERDICTS], JUDGED_BY: {"name": judge.name, **identity}}
            yield f"{place:06d}", _with(sampled[place], added)

    _write(out, judged(), sampled, command)
    verdicts = [Verdict.from_json(one) for row in rows.rows.values() for one in row[VERDICTS]]
    asked, unparsed = sum(one.asked for one in verdicts), sum(one.unparsed for one in verdicts)
    return {
        "answers": len(verdicts),
        "asked": asked,
        "unparsed": unparsed,
        "unparsed_rate": unparsed / asked if asked else 0.0,
    }


def make_pairs(
    judged: IndexedShards,
    out: Path,
    *,
    filters: PairFilters | None = None,
    aggregation: Aggregation = "weighted",
    weight: float = 0.5,
    number: int = 1,
    command: str = "",
) -> dict[str, Any]:
    """Pairs of a set that `judge` made, in the splits ``train`` and ``val``.

    Args:
        judged: The set.
        out: The folder to make.
        filters: Which pairs are worth it.
        aggregation: How a verdict becomes a score; see `moon_zoo.safety.scores`.
        weight: Of the global score.
        number: The round's.
        command: For the manifests.

    Returns:
        Counts: ``pairs``, ``train``, ``val``, ``dropped/...`` for each of `moon_zoo.alignment.pairs.DROPPED`, ``mean_margin``,
        ``mean_score``.

    Raises:
        DataError: No pair is left.
    """
    filters = filters or PairFilters()
    dropped: Counter[str] = Counter(dict.fromkeys(DROPPED, 0))
    made: list[tuple[int, Preference]] = []
    margins, every = [], []
    for place in range(len(judged)):
        conversation = judged[place]
        verdicts = [Verdict.from_json(one) for one in _required(conversation, VERDICTS, judged)]
        scores = [score(verdict, aggregation=aggregation, weight=weight) for verdict in verdicts]
        every += [value for value in scores if value is not None]
        pair = pair_of(conversation.truth[SAMPLES], scores, filters)
        if not isinstance(pair, Pair):
            dropped[pair] += 1
            continue
        found = _preference(conversation, pair, verdicts, scores, number)
        margins.append(found.scores["chosen"] - found.scores["rejected"])
        made.append((place, found))
    if len(made) < 2:
        reasons = ", ".join(f"{name} {count}" for name, count in dropped.items() if count)
        raise DataError(
            f"{len(made)} of {len(judged)} conversations make a pair, too few to learn from; without one: {reasons}",
            where=str(judged.folder),
            change="more samples or a higher temperature, or a smaller margin",
        )
    validating = {place for place, one in made if stable_id(one.conversation_id) % VALIDATION_SHARE == 0}
    if not 0 < len(validating) < len(made):
        validating = {made[0][0]}
    splits = [("val" if place in validating else "train", f"{place:06d}", one) for place, one in made]
    counts = Counter(split for split, _, _ in splits)
    write_splits(
        out,
        splits,
        kind=Preference.kind,
        overwrite=True,
        source=judged.manifest.source,
        licence=judged.manifest.licence,
        command=command,
        parents=[judged.manifest.fingerprint],
        extra={"filters": asdict(filters), "aggregation": aggregation, "weight": weight, "round": number},
    )
    return {
        "pairs": len(made),
        "train": counts["train"],
        "val": counts["val"],
        **{f"dropped/{name}": count for name, count in dropped.items()},
        "mean_margin": sum(margins) / len(margins),
        "mean_score": sum(every) / len(every),
    }


def _preference(
    conversation: Instruction, pair: Pair, verdicts: Sequence[Verdict], scores: Sequence[float | None], number: int
) -> Preference:
    values: dict[str, float] = {}
    for name, place in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        values[name] = float(scores[place] or 0.0)
        values |= {f"{name}/{part}": value for part, value in parts(verdicts[place]).items()}
    truth = conversation.truth
    judged_by = truth[JUDGED_BY]
    return Preference(
        conversation_id=conversation.conversation_id,
        turns=conversation.turns,
        chosen=truth[SAMPLES][pair.chosen],
        rejected=truth[SAMPLES][pair.rejected],
        image=conversation.image,
        observations=_observed(conversation),
        safe=conversation.safe,
        scores=values,
        judge=f"{judged_by['name']} {judged_by['judge']}",
        round=number,
        origin={**truth[SAMPLED_BY], "chosen": pair.chosen, "rejected": pair.rejected},
    )


def _judged(conversation: Instruction) -> Iterator[Judged]:
    seen = _observed(conversation)
    truth = {name: value for name, value in conversation.truth.items() if name not in _ADDED}
    for text in _required(conversation, SAMPLES, None):
        yield Judged(conversation.prompt, text, seen, conversation.safe, truth)


def _observed(conversation: Instruction) -> tuple[Observation, ...] | None:
    if OBSERVED not in conversation.truth:
        return conversation.observations
    found = conversation.truth[OBSERVED]
    return None if found is None else tuple(Observation(**one) for one in found)


def _plain(observations: Sequence[Observation] | None) -> list[dict[str, str]] | None:
    return None if observations is None else [one.as_json() for one in observations]


def _required(conversation: Instruction, name: str, shards: IndexedShards | None) -> list[Any]:
    found = conversation.truth.get(name)
    if not isinstance(found, list):
        before = "sample" if name == SAMPLES else "judge"
        raise DataError(
            f"the conversation {conversation.conversation_id} has no {name}",
            where=None if shards is None else str(shards.folder),
            change=f"the set, to one that `moon-zoo align {before}` made",
        )
    return found


def _with(conversation: Instruction, added: Mapping[str, Any]) -> Instruction:
    return replace(conversation, truth={**conversation.truth, **added})


def _write(out: Path, samples: Iterator[tuple[str, Instruction]], parent: IndexedShards, command: str) -> None:
    with ShardWriter(
        out,
        kind=Instruction.kind,
        overwrite=True,
        source=parent.manifest.source,
        licence=parent.manifest.licence,
        command=command,
        parents=[parent.manifest.fingerprint],
    ) as writer:
        for key, conversation in samples:
            writer.write(key, conversation)
    _beside(out).unlink(missing_ok=True)


def _beside(out: Path) -> Path:
    """Rows of a stage under way; outside of the set, which appears whole or not at all."""
    return out.with_name(f".{out.name}.rows.jsonl")


def _batches(places: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(places), size):
        yield list(places[start : start + size])


def _tell(told: Told | None, stage: str, done: int, total: int) -> None:
    if told is not None:
        told(stage, done, total)
