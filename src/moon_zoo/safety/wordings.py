"""How models are asked about risks: prompts as text files, with a hash of each to stand beside what came of it.

Source: the passes and questions are those of arXiv:2504.18053, sections 3 and 4; the words are ours. ``prompts/full`` is for
models that follow instructions, ``prompts/short`` for small students that read little and are trained to answer it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from moon_zoo.data.conversations import CATEGORIES, SOURCES, Observation, Prompt, Turn
from moon_zoo.errors import UsageError, did_you_mean

WORDINGS: dict[str, tuple[str, ...]] = {
    "joint": ("question",),
    "image": (),
    "text": ("question",),
    "verify": ("question", "content", "category"),
    "answer_with_observations": ("question", "observations"),
    "judge_global": ("question", "observations", "answer"),
    "judge_observation": ("question", "answer", "content", "source", "category"),
    "judge_helpful": ("question", "answer"),
    "judge_safe": ("question", "observations", "answer"),
    "judge_effective": ("question", "answer"),
    "judge_refusal": ("question", "answer"),
}
"""Names of prompts, with what each must hold in braces."""

ALLOWED = ("sources", "categories", "example", "source", "observations")
"""What any prompt may hold in braces besides."""

SHIPPED = ("full", "short")
_ROOT = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{([a-z_]+)\}")


class Wordings:
    """A set of prompts.

    Args:
        name: ``full``, ``short``, or a folder with files of one's own, such as ``verify.txt``; what it lacks is taken from
            ``full``.

    Raises:
        UsageError: There is no such folder, or a file in it is no prompt of ours or lacks what it must hold in braces.
    """

    def __init__(self, name: str = "full") -> None:
        self.name = name
        self._texts = _read(name)

    def render(self, wording: str, values: Mapping[str, str]) -> str:
        """A prompt's text with ``values`` in the places of their names; braces inside of values stay as they are."""
        known = {"sources": ", ".join(SOURCES), "categories": ", ".join(CATEGORIES), **values}
        return _PLACE.sub(lambda place: known.get(place[1], place[0]), self._texts[wording])

    def ask(self, wording: str, prompt: Prompt, values: Mapping[str, str] | None = None) -> Prompt:
        """A question about ``prompt``: one turn of the user's, with its image.

        Args:
            wording: One of `WORDINGS`.
            prompt: What is asked about; its text is what ``{question}`` becomes.
            values: What other names become.
        """
        text = self.render(wording, {"question": question_of(prompt), **(values or {})})
        return Prompt((Turn("user", text),), prompt.image, prompt.key)

    def hashes(self, wordings: Sequence[str] | None = None) -> dict[str, str]:
        """The first twelve digits of each text's sha256, by name; of all when None."""
        return {
            name: hashlib.sha256(self._texts[name].encode()).hexdigest()[:12]
            for name in (WORDINGS if wordings is None else wordings)
        }

    def fingerprint(self) -> str:
        """A hash of all texts."""
        return hashlib.sha256(json.dumps(self.hashes()).encode()).hexdigest()[:12]


def with_observations(prompt: Prompt, observations: Sequence[Observation], wordings: Wordings) -> Prompt:
    """The prompt with what was noticed about it said at its end; unchanged where that is nothing."""
    if not observations:
        return prompt
    text = wordings.render(
        "answer_with_observations", {"question": prompt.text, "observations": in_words(observations)}
    )
    return Prompt((*prompt.turns[:-1], Turn("user", text)), prompt.image, prompt.key)


def question_of(prompt: Prompt) -> str:
    """What is asked, as one text: the user's turn, or who said what where there were several."""
    spoken = [turn for turn in prompt.turns if turn.role != "system"]
    if len(spoken) == 1:
        return spoken[0].text
    return "\n".join(f"{turn.role}: {turn.text}" for turn in spoken)


def in_words(observations: Sequence[Observation] | None) -> str:
    """Observations in a sentence: what is risky, where it is seen and what it may lead to."""
    if observations is None:
        return "not known"
    said = (f"{one.content} ({SOURCES[one.source]}; {CATEGORIES[one.category]})" for one in observations)
    return "; ".join(said) or "nothing"


def quoted(text: str) -> str:
    """Somebody else's words inside quotation marks that they cannot close."""
    return json.dumps(text, ensure_ascii=False)


def _read(name: str) -> dict[str, str]:
    texts = _folder(_ROOT / "full")
    if name == "full":
        return texts
    folder = _ROOT / name if name in SHIPPED else Path(name).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"there are no prompts called {name!r}, nor a folder of that name",
            suggestions=did_you_mean(name, SHIPPED),
            change=f"the prompts, to one of {', '.join(SHIPPED)} or to a folder of .txt files",
        )
    return texts | _folder(folder)


def _folder(folder: Path) -> dict[str, str]:
    texts = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in WORDINGS:
            raise UsageError(
                f"{path.name} is the name of no prompt",
                where=str(path),
                suggestions=did_you_mean(path.stem, WORDINGS),
                change=f"its name; known: {', '.join(WORDINGS)}",
            )
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path.name} cannot be read as UTF-8 text: {error}", where=str(path)) from error
        _check(path, text)
        texts[path.stem] = text
    return texts


def _check(path: Path, text: str) -> None:
    needed, held = WORDINGS[path.stem], _PLACE.findall(text)
    missing = [f"{{{name}}}" for name in needed if name not in held]
    unknown = [f"{{{name}}}" for name in held if name not in needed and name not in ALLOWED]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] if missing else []
        faults += [f"holds {', '.join(unknown)}, which nothing is put for"] if unknown else []
        raise UsageError(f"the prompt {path.name} {' and '.join(faults)}", where=str(path), change="the file")
