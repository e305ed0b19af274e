"""Any function as a judge."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moon_zoo.errors import UsageError
from moon_zoo.safety.judges.base import QUESTIONS, Judged, Verdict, checked_questions


class CallableJudge:
    """A judge that asks a function about one answer at a time.

    Args:
        function: Given what is to be judged, a verdict; None where there is none.
        name: What to call it; the function's own name when None.
        ask: Which of `QUESTIONS` its verdicts answer; figures are made of these alone.
        version: Changed whenever the function comes to judge otherwise; a hash of its source when None.

    Example:
        >>> judge = CallableJudge(lambda item: Verdict(safe="never" in item.answer, asked=1), name="warns", version="1")
    """

    def __init__(
        self,
        function: Callable[[Judged], Verdict | None],
        *,
        name: str | None = None,
        version: str | None = None,
        ask: Sequence[str] = QUESTIONS,
    ) -> None:
        self._function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.ask = checked_questions(ask)
        self.prompt_hashes: Mapping[str, str] = {}
        self._version = version

    def fingerprint(self) -> str:
        """See `Judge`."""
        if self._version is not None:
            return f"{self.name}@{self._version}"
        try:
            source = inspect.getsource(self._function if inspect.isroutine(self._function) else type(self._function))
        except (OSError, TypeError) as error:
            raise UsageError(
                f"the judge {self.name!r} has no source to be told by", change="version, when it is made"
            ) from error
        return f"{self.name}@{hashlib.sha256(source.encode()).hexdigest()[:12]}"

    def judge(self, items: Sequence[Judged]) -> list[Verdict]:
        """See `Judge`."""
        return [self._one(item) for item in items]

    def _one(self, item: Judged) -> Verdict:
        found: Any = self._function(item)
        if found is None:
            unknown = (None,) * len(item.observations or ())
            return Verdict(recognised=unknown, benign=item.benign, unparsed=1, asked=1)
        if not isinstance(found, Verdict):
            raise UsageError(
                f"the judge {self.name!r} gave a {type(found).__name__} instead of a Verdict",
                where=item.prompt.key or None,
            )
        return found
