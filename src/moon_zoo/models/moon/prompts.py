"""The wordings of what a model is asked: text files beside this one, a wording a line, with ``{fields}`` to fill.

A wording is cut into segments, each with the token type of the field it comes from, so that an attribute in a question takes
the same experts as an attribute of an item. Ours; the paper (MOON, arXiv:2511.11305) publishes no prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from moon_zoo.nn.multimodal.token_types import ATTRIBUTE, CATEGORY, TEXT

Segments = list[tuple[str, int]]
"""Pieces of a text, each with its token type."""

_FIELD = re.compile(r"\{(\w+)\}")
_TYPES = {"category": CATEGORY, "attributes": ATTRIBUTE}


@cache
def wordings(name: str) -> tuple[str, ...]:
    """The lines of ``prompts/<name>.txt``, without comments and empty ones."""
    text = files(__package__).joinpath("prompts", f"{name}.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def choose(name: str, fields: Mapping[str, str], place: float) -> str:
    """One of the wordings that use as many of the given fields as any does, and no other.

    Args:
        name: Of the file.
        fields: What may be shown; empty texts are not there.
        place: In ``[0, 1)``: which of them; 0 the first.
    """
    there = {field for field, value in fields.items() if value}
    usable = [(wording, set(_FIELD.findall(wording))) for wording in wordings(name)]
    fitting = [(wording, used) for wording, used in usable if used <= there]
    most = max(len(used) for _, used in fitting)
    best = [wording for wording, used in fitting if len(used) == most]
    return best[min(int(place * len(best)), len(best) - 1)]


def first_fitting(name: str, fields: Mapping[str, str]) -> str | None:
    """The first wording whose fields are all there, filled in; None where none is."""
    for wording in wordings(name):
        if all(fields.get(field) for field in _FIELD.findall(wording)):
            return "".join(text for text, _ in fill(wording, fields))
    return None


def fill(wording: str, fields: Mapping[str, str]) -> Segments:
    """A wording with its fields filled in; every field is a segment of its own.

    The space before a field belongs to the field: tokenizers of byte pairs join it with the word that follows.
    """
    segments: Segments = []
    for number, piece in enumerate(_FIELD.split(wording)):
        is_field = number % 2 == 1
        text, kind = (fields[piece], _TYPES.get(piece, TEXT)) if is_field else (piece, TEXT)
        if not text:
            continue
        if segments and is_field and segments[-1][0].endswith(" "):
            segments[-1] = (segments[-1][0][:-1], segments[-1][1])
            text = f" {text}"
        segments.append((text, kind))
    return [segment for segment in segments if segment[0]]
