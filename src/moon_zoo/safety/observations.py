"""Observations as a model writes them: read with patience, written in one way.

Source: arXiv:2504.18053, section 3: an observation is a record of content, source and category. How such text is repaired,
and that what cannot be read is *unparsed* (None) and never "no risk", is ours.

Nothing is executed: repairs are edits of the text before `json.loads` reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from moon_zoo.data.conversations import CATEGORIES, SOURCES, Observation

NO_RISK = "[]"
"""What is written where there is nothing to observe."""

MOST_CHARACTERS = 20_000
"""Of a text that is read; more is a model that cannot stop."""

_NONE_WORDS = (
    *("none", "nothing", "no risk", "no risks", "no observation", "no observations", "empty", "null"),
    *("no risk found", "no risks found", "nothing risky", "no risks were found"),
)
"""Whole texts that say that there is nothing; "safe" is none of them, being an opinion and no list."""

_SOURCE_ALIASES = {
    "text_instruction": "instruction|text instruction|user instruction|instruction text|request|question|user request|prompt",
    "text_content": "text|text content|content of the text|textual content|text input",
    "image_content": "image|image content|visual|visual content|picture|photo|non textual image content|image object|scene",
    "image_text": "image text|text in image|text in the image|text within image|textual image content|ocr|ocr text|"
    "written text in image|text written in the image|typography|embedded text",
}
_CATEGORY_ALIASES = {
    "illegal_activities": "illegal activity|illegal|crime|criminal activity|unlawful|counterfeit|fraud|theft|illegal act",
    "violence": "violence and bodily harm|violent|bodily harm|physical harm|harm|injury|self harm|weapon|danger|"
    "physical injury|health harm|poisoning|hate and violence",
    "privacy": "privacy violation|private|personal data|personal information|privacy leak|privacy invasion|surveillance",
    "discrimination": "discriminatory|hate|hate speech|bias|prejudice|racism|sexism|stereotype",
    "sexual_content": "sexual|sex|adult content|pornography|explicit content|nudity|sexually explicit content",
    "disinformation": "misinformation|false information|fake news|rumor|rumour|deception|misleading information|hoax",
    "impersonation": "identity theft|identity|pretending|false identity|impersonating|identity misuse",
    "political_interference": "politics|political|election|political manipulation|political lobbying|election interference",
    "professional_advice": "advice|specialized advice|specialised advice|expert advice|legal advice|financial advice|"
    "medical advice|health advice|health consultation|professional guidance|unqualified advice",
}


def _key(words: str) -> str:
    """Words as tables know them: lower case, no punctuation, no articles, singular."""
    plain = re.sub(r"[^a-z0-9]+", " ", words.lower()).split()
    return " ".join(_singular(word) for word in plain if word not in ("the", "a", "an", "of", "and", "in"))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _table(known: dict[str, str], aliases: dict[str, str]) -> dict[str, str]:
    return {
        _key(words): name for name, meaning in known.items() for words in (name, meaning, *aliases[name].split("|"))
    }


_SOURCE_OF = _table(SOURCES, _SOURCE_ALIASES)
_CATEGORY_OF = _table(CATEGORIES, _CATEGORY_ALIASES)
_NONE_KEYS = frozenset(_key(words) for words in _NONE_WORDS)

_FIELDS = {
    "content": ("content", "risk", "description", "observation", "text", "what"),
    "source": ("source", "origin", "modality", "from", "where"),
    "category": ("category", "type", "class", "risk_type", "risk_category", "kind"),
}
"""Fields of an observation and the other names that models give them."""


def source_of(words: str) -> str | None:
    """The source that words mean; None where they mean none."""
    return _SOURCE_OF.get(_key(words))


def category_of(words: str) -> str | None:
    """The category that words mean; None where they mean none."""
    key = _key(words)
    if key in _CATEGORY_OF:
        return _CATEGORY_OF[key]
    # "privacy (personal data)", "illegal activities: theft": the part before the remark.
    return _CATEGORY_OF.get(_key(re.split(r"[(:/,;]", words, maxsplit=1)[0]))


def format_observations(observations: Sequence[Observation]) -> str:
    """Observations as text, always in the same way; what students learn to write.

    Args:
        observations: Any number of them.

    Returns:
        A JSON list on one line; `NO_RISK` for none. `parse_observations` reads it back.
    """
    return json.dumps([one.as_json() for one in observations], ensure_ascii=False)


def parse_observations(text: str) -> tuple[Observation, ...] | None:
    """Read observations out of what a model wrote.

    Args:
        text: JSON, perhaps between other words, perhaps damaged: in a code fence, with single quotes, trailing commas or
            without its last brackets. Names of sources and categories may be worded freely.

    Returns:
        The observations, each once; none where the text says that there are none; None where it cannot be read. One record
        that cannot be read makes the whole unreadable: what is left out may be the risk.
    """
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None
    inner = _outside_fence(text).strip()
    if not inner:
        return None
    if _key(inner) in _NONE_KEYS:
        return ()
    for value, mended in _values(inner):
        found = _from_json(value)
        # A mended text never says that there is nothing: "[" is a list that was cut off, not an empty one.
        if found or (found is not None and not mended):
            return found
    return None


def _outside_fence(text: str) -> str:
    """What stands in the only code fence; the text where there is none, or several."""
    fences = re.findall(r"```[a-zA-Z]*\s*(.*?)(?:```|\Z)", text, re.DOTALL)
    return fences[0] if len(fences) == 1 else text


def _values(text: str) -> Iterator[tuple[Any, bool]]:
    """JSON values that the text may mean, the most faithful reading first, and whether the text was mended for it."""
    start = min((place for place in (text.find("["), text.find("{")) if place >= 0), default=-1)
    if start < 0:
        return
    span = text[start:]
    for candidate, mended in ((span, False), (_repaired(span), True)):
        try:
            value, end = json.JSONDecoder().raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        # A second list after the first: two answers, of which neither can be preferred.
        rest = candidate[end:]
        if re.search(r"[\[{]", rest) is None:
            yield value, mended


_STRAIGHT = {ord(curly): plain for curly, plain in zip("\u201c\u201d\u2018\u2019", "\"\"''")}
_WORD = re.compile(r"[A-Za-z_]\w*")


def _repaired(text: str) -> str:
    """Damaged JSON mended: quotes, trailing commas, Python's constants, missing ends."""
    straight = text.translate(_STRAIGHT)
    tokens, stack, place = [], [], 0
    while place < len(straight):
        char = straight[place]
        if char in "\"'":
            string, place = _string(straight, place)
            tokens.append(string)
            continue
        if char in "[{":
            stack.append("]" if char == "[" else "}")
        elif char in "]}":
            _drop_comma(tokens)
            while stack and stack[-1] != char:
                tokens.append(stack.pop())
            if not stack:
                break
            stack.pop()
        word = _WORD.match(straight, place)
        if word is not None:
            constant = {"none": "null", "null": "null", "true": "true", "false": "false"}.get(word[0].lower())
            tokens.append(constant or json.dumps(word[0]))
            place = word.end()
            continue
        tokens.append(char)
        place += 1
        if char in "]}" and not stack:
            return "".join(tokens) + straight[place:]
    _drop_comma(tokens)
    return "".join(tokens) + "".join(reversed(stack))


def _string(text: str, start: int) -> tuple[str, int]:
    """The string that opens at ``start``, as JSON, and the place after it.

    A quote closes it only where what follows may follow a string: so an apostrophe inside single quotes does not.
    """
    quote, place, inside = text[start], start + 1, []
    while place < len(text):
        char = text[place]
        if char == "\\" and place + 1 < len(text):
            following = text[place + 1]
            inside.append({"n": "\n", "t": "\t"}.get(following, following))
            place += 2
            continue
        if char == quote and re.match(r"\s*([,:\]}]|\Z)", text[place + 1 : place + 40]):
            return json.dumps("".join(inside)), place + 1
        inside.append(char)
        place += 1
    return json.dumps("".join(inside)), place


def _drop_comma(tokens: list[str]) -> None:
    end = len(tokens)
    while end and not tokens[end - 1].strip():
        end -= 1
    if end and tokens[end - 1] == ",":
        del tokens[end - 1 :]


def _from_json(value: Any) -> tuple[Observation, ...] | None:
    """Observations of a list of records, of one record, or of an object with such a list in it."""
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(value) == 1 and len(lists) == 1 else [value]
    if not isinstance(value, list):
        return None
    found: dict[Observation, None] = {}
    for record in value:
        if isinstance(record, str) and len(value) == 1 and _key(record) in _NONE_KEYS:
            return ()
        observation = _observation(record)
        if observation is None:
            return None
        found[observation] = None
    return tuple(found)


def _observation(record: Any) -> Observation | None:
    if not isinstance(record, dict):
        return None
    named = {str(name).strip().lower().replace(" ", "_"): value for name, value in record.items()}
    content, source, category = (
        next((named[name] for name in names if isinstance(named.get(name), str)), None) for names in _FIELDS.values()
    )
    if content is None or source is None or category is None:
        return None
    known_source, known_category = source_of(source), category_of(category)
    if not content.strip() or known_source is None or known_category is None:
        return None
    return Observation(" ".join(content.split()), known_source, known_category)
