"""Which known things a text names: categories, attribute values and brands, matched word by word.

Words are letters and digits, whatever their case; a character of a script without spaces is a word of its own. From left
to right the longest known phrase is taken, so that ``crew-neck t-shirt`` names a neckline and a category and not also
``shirt``. No stemming: what people write in more than one way belongs into the vocabulary in each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W_぀-ヿ㐀-鿿豈-﫿]+")
"""A kana or Chinese character, or a run of other letters and digits."""


class Entities:
    """A vocabulary of things.

    Args:
        names: Their names, in any case.

    Example:
        >>> Entities(["t-shirt", "red", "Aldera"]).found("a red T-SHIRT, red as they come")
        {('red',), ('t', 'shirt')}
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._known = {words for name in names if (words := _words(name))}
        self._longest = max(map(len, self._known), default=0)

    @classmethod
    def of(cls, vocabularies: Mapping[str, Any], further: Iterable[str] = ()) -> Entities:
        """From a manifest's vocabularies of products, and further names.

        Args:
            vocabularies: ``category`` and ``attributes`` as `moon_zoo.data.manifest.Manifest` has them.
            further: Names that are in neither.
        """
        attributes: Mapping[str, Sequence[str]] = vocabularies.get("attributes", {})
        values = (value for names in attributes.values() for value in names)
        return cls([*vocabularies.get("category", ()), *values, *further])

    def __len__(self) -> int:
        return len(self._known)

    def found(self, text: str) -> set[tuple[str, ...]]:
        """The different things a text names, each as its words."""
        words = _words(text)
        found: set[tuple[str, ...]] = set()
        place = 0
        while place < len(words):
            length = self._match(words, place)
            if length:
                found.add(words[place : place + length])
            place += max(length, 1)
        return found

    def _match(self, words: tuple[str, ...], place: int) -> int:
        """Number of words of the longest phrase that begins at ``place``; 0 for none."""
        for length in range(min(self._longest, len(words) - place), 0, -1):
            if words[place : place + length] in self._known:
                return length
        return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))
