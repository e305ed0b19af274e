"""Words of a text in any script: all of them, or those that carry its content.

What has no spaces between words (Chinese, Japanese, Thai) is taken sign by sign. Emoji and punctuation are tokens, but not
words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+(?:'(?:(?![{_UNSPACED}])[^\W_])+)*"
_WORDS: Final = re.compile(_WORD)
_TOKENS: Final = re.compile(rf"{_WORD}|[^\w\s]|_")

QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f", "\u037e")
"""Latin, Chinese, Arabic and Greek."""

_STOP_WORDS: Final = """
a about above after again against all almost also although always am among an and another any anybody anyone anything are
    around as ask at away back be became because become been before began behind being below between both but by came can cannot
    come could did do does doing done down during each either else enough even ever every everyone everything explain far few
    find first for from further get gets getting give given go goes going gone good got had has have having he her here hers
    herself him himself his how however i if in instead into is it its itself just keep kind know known last least less let like
    little long look lot made make makes making many may maybe me mean means might mine more most much must my myself near need
    needs never new next no nobody non nor not nothing now of off often ok okay old on once one ones only onto or other others
    our ours ourselves out over own part people perhaps please possible put quite rather really right said same say see seem
    seems several shall she should since so some somebody someone something sometimes soon still such sure take tell than that
    the their theirs them themselves then there therefore these they thing things think this those though through thus to
    together too toward towards try under until up upon us use used uses using usually very want was way ways we well went were
    what whatever when where whether which while who whole whom whose why will with within without work works would yes yet you
    your yours yourself
    aren't can't couldn't didn't doesn't don't hadn't hasn't haven't he's i'd i'll i'm i've isn't it's let's she's shouldn't
    that's there's they'd they'll they're they've wasn't we'd we'll we're we've weren't what's won't wouldn't you'd you'll
    you're you've
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""English words that say little by themselves. Of other languages every word counts."""


def tokens(text: str) -> list[str]:
    """Words and single signs in lower case, in order: what BLEU and ROUGE count.

    Example:
        >>> tokens("Is it oak?")
        ['is', 'it', 'oak', '?']
    """
    return _TOKENS.findall(_normal(text))


def words(text: str) -> list[str]:
    """Words in lower case, in order, without signs."""
    return _WORDS.findall(_normal(text))


def content_words(text: str) -> list[str]:
    """Words that carry content, in order, plurals as singulars.

    Example:
        >>> content_words("What are the mugs made of?")
        ['mug']
    """
    return [stem(word) for word in words(text) if word not in STOP_WORDS and not (len(word) == 1 and word.isascii())]


def stem(word: str) -> str:
    """An English plural as its singular, roughly; other words as they are."""
    if len(word) < 4 or not word.isascii():
        return word
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
