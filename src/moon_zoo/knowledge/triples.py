"""Triples of ConceptNet into a store: relation, head and tail, a line each.

Layouts: ``relation<TAB>head<TAB>tail[<TAB>weight]`` as CN-100K has it (Li et al. 2016, "Commonsense knowledge base
completion"), and the lines of ConceptNet 5's own assertions (Speer et al. 2017, arXiv:1612.03975), whose concepts are
``/c/en/ice_cream/n``. Concepts become pages; a definition (DefinedAs) becomes the summary, if there is one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from moon_zoo.knowledge.building import StoreWriter, Watch
from moon_zoo.knowledge.lines import lines

RELATIONS: Final[dict[str, tuple[str, float]]] = {
    "IsA": ("{head} is a kind of {tail}", 1.0),
    "InstanceOf": ("{head} is an instance of {tail}", 1.0),
    "DefinedAs": ("{head} is defined as {tail}", 1.0),
    "PartOf": ("{head} is part of {tail}", 1.0),
    "HasA": ("{head} has {tail}", 1.0),
    "MadeOf": ("{head} is made of {tail}", 1.0),
    "CreatedBy": ("{head} is made by {tail}", 1.0),
    "UsedFor": ("{head} is used for {tail}", 1.0),
    "CapableOf": ("{head} can {tail}", 0.9),
    "HasProperty": ("{head} can be called {tail}", 0.9),
    "ReceivesAction": ("{head} can be {tail}", 0.8),
    "AtLocation": ("{head} is found at {tail}", 0.8),
    "LocatedNear": ("{head} is found near {tail}", 0.8),
    "LocationOfAction": ("{head} happens at {tail}", 0.8),
    "Causes": ("{head} causes {tail}", 0.9),
    "HasPrerequisite": ("{head} needs {tail}", 0.8),
    "HasSubevent": ("while one does {head}, {tail}", 0.7),
    "HasFirstSubevent": ("{head} begins with {tail}", 0.7),
    "HasLastSubevent": ("{head} ends with {tail}", 0.7),
    "MotivatedByGoal": ("one does {head} for {tail}", 0.7),
    "CausesDesire": ("{head} makes one want {tail}", 0.7),
    "Desires": ("{head} wants {tail}", 0.6),
    "DesireOf": ("{head} is wanted by {tail}", 0.6),
    "SymbolOf": ("{head} stands for {tail}", 0.6),
    "InheritsFrom": ("{head} comes from {tail}", 0.8),
    "Synonym": ("{head} is the same as {tail}", 1.0),
    "SimilarTo": ("{head} is like {tail}", 0.9),
    "RelatedTo": ("{head} has to do with {tail}", 0.5),
    "Antonym": ("{head} is the opposite of {tail}", 0.4),
    "DistinctFrom": ("{head} is not {tail}", 0.4),
}
"""Relation to how it is said, and how close it ties the two; the weights are ours. Others are said by their names."""

DENIED: Final = frozenset(
    ("NotIsA", "NotDesires", "NotCapableOf", "NotHasProperty", "NotHasA", "NotMadeOf", "NotUsedFor", "NotCauses")
)
"""What is said not to hold is no tie, and left out."""
EXTERNAL: Final = frozenset(("ExternalURL", "dbpedia"))

OTHER_WEIGHT: Final = 0.5
MOST_CHARACTERS: Final = 200
"""Of a concept."""
MOST_DEFINITIONS: Final = 200_000
MOST_SEEN: Final = 1_000_000
"""Definitions and concepts that are held in memory."""
_NAME: Final = re.compile(r"[A-Za-z][\w-]{0,60}")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Triple(NamedTuple):
    """One of them; ``weight`` is above 0, its relation's own part not yet in it."""

    relation: str
    head: str
    tail: str
    weight: float


def triples(path: Path, skipped: Counter[str], language: str = "en") -> Iterator[Triple]:
    """Triples of a file, line by line.

    Args:
        path: The file, perhaps compressed.
        skipped: Counts what is left out, by reason.
        language: Of ConceptNet's own assertions, the language of both concepts.
    """
    for line in lines(path, skipped):
        parts = [part.strip() for part in line.split("\t")]
        assertion = parts[0].startswith("/a/") and len(parts) >= 4
        if assertion:
            given = parts[1:4]
            weight = _assertion_weight(parts[4] if len(parts) > 4 else "")
        elif len(parts) in (3, 4):
            given, weight = parts[:3], _number(parts[3]) if len(parts) == 4 else 1.0
        else:
            skipped["a line that is no triple"] += 1
            continue
        relation = given[0].removeprefix("/r/").split("/")[0]
        ends = [_concept(one, language) for one in given[1:]]
        if relation in DENIED or relation in EXTERNAL:
            skipped["a triple that ties nothing"] += 1
        elif None in ends:
            skipped["a triple of another language"] += 1
        elif (
            not _NAME.fullmatch(relation)
            or weight is None
            or not all(0 < len(one or "") <= MOST_CHARACTERS for one in ends)
        ):
            skipped["a line that is no triple"] += 1
        elif not weight > 0:
            skipped["a triple that is held to be wrong"] += 1
        else:
            yield Triple(relation, ends[0] or "", ends[1] or "", weight)


def add_triples(store: StoreWriter, path: Path, *, language: str = "en", watch: Watch | None = None) -> None:
    """Take the triples of a file into a store: concepts as pages, triples as links.

    Args:
        store: Being written.
        path: The file.
        language: As in `triples`.
        watch: Is told of every thousand.
    """
    definitions: dict[str, str] = {}
    taken = 0
    # Two passes: definitions must be known when their page is taken; they are few.
    for one in triples(path, Counter(), language):
        if one.relation == "DefinedAs" and len(definitions) < MOST_DEFINITIONS:
            definitions.setdefault(one.head, one.tail)
    seen: set[int] = set()
    for one in triples(path, store.skipped, language):
        for concept in (one.head, one.tail):
            mark = hash(concept)
            if mark not in seen:  # most repetitions never reach the store; after a clear they are told apart there
                if len(seen) >= MOST_SEEN:
                    seen.clear()
                seen.add(mark)
                store.page(concept, concept, _definition(concept, definitions), again=True)
        phrase, strength = said(one.relation)
        store.link(one.head, one.tail, one.weight * strength, phrase)
        taken += 1
        if watch is not None and taken % 1000 == 0:
            watch(1000)
    if watch is not None:
        watch(taken % 1000)


def said(relation: str) -> tuple[str, float]:
    """How a relation is said, with ``{head}`` and ``{tail}``, and how close it ties."""
    if relation in RELATIONS:
        return RELATIONS[relation]
    return f"{{head}} {_WORDS.sub(' ', relation).replace('_', ' ').lower()} {{tail}}", OTHER_WEIGHT


def _definition(concept: str, definitions: dict[str, str]) -> str:
    return f"{concept}: {definitions[concept]}" if concept in definitions else ""


def _concept(text: str, language: str) -> str | None:
    """A concept in words; None for one of another language."""
    if text.startswith("/c/"):
        parts = text.split("/")
        if len(parts) < 4 or parts[2] != language:
            return None
        text = parts[3]
    elif text.startswith(("http:", "https:")):
        return None
    return " ".join(text.replace("_", " ").lower().split())


def _assertion_weight(text: str) -> float | None:
    try:
        return float(json.loads(text)["weight"])
    except (ValueError, LookupError, TypeError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
