"""Errors a person reads: what is wrong, where, and which option to change.

`ZooError` and its kinds are raised for mistakes of input (a recipe, a shard, a table, a checkpoint, a command line). The
command line prints them without a traceback and exits with code 2. Anything else that is raised is a bug of ours and keeps
its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """A mistake in what the zoo was given.

    Args:
        what: What is wrong, with the offending value, in one sentence.
        where: The file, shard, key or option it was found at.
        change: What to change, naming the option or command.
        suggestions: Close matches of a name that was not found; shown as "did you mean".

    Example:
        >>> print(ZooError("3 photos are missing", where="products.csv, row 7", change="--photo-root"))
        3 photos are missing
          where:  products.csv, row 7
          change: --photo-root
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        change: str | None = None,
        suggestions: Iterable[str] = (),
    ) -> None:
        super().__init__(what, where, change, tuple(suggestions))
        self.what = what
        self.where = where
        self.change = change
        self.suggestions = tuple(suggestions)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (loader workers, pools); the default rebuilds from `args` positionally and fails.
        return _rebuild, (type(self), self.what, self.where, self.change, self.suggestions)

    def __str__(self) -> str:
        lines = [self.what]
        if self.suggestions:
            lines.append(f"  did you mean: {', '.join(self.suggestions)}?")
        if self.where is not None:
            lines.append(f"  where:  {self.where}")
        if self.change is not None:
            lines.append(f"  change: {self.change}")
        return "\n".join(lines)


class UsageError(ZooError):
    """A verb, option or name on the command line that cannot be used."""


class RecipeError(ZooError):
    """A recipe with an unknown key, class or value."""


class DataError(ZooError):
    """Shards, samples, tables or photos that cannot be read as what they claim to be."""


class CheckpointError(ZooError):
    """A checkpoint that is missing, altered, or made for something else."""


class Faults(ZooError):
    """Several mistakes found in one check, reported together.

    Args:
        faults: The mistakes, in the order they should be mended.
    """

    def __init__(self, faults: Iterable[ZooError]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        super().__init__(f"{count} fault{'s' if count != 1 else ''} found")

    def __reduce__(self) -> tuple[object, ...]:
        return Faults, (self.faults,)

    def __str__(self) -> str:
        return "\n".join([*(f"{number}. {fault}" for number, fault in enumerate(self.faults, 1)), self.what])


def _rebuild(
    kind: type[ZooError], what: str, where: str | None, change: str | None, suggestions: tuple[str, ...]
) -> ZooError:
    return kind(what, where=where, change=change, suggestions=suggestions)


def did_you_mean(name: str, options: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Close matches of ``name`` among ``options``, best first."""
    return tuple(difflib.get_close_matches(name, list(options), n=limit, cutoff=0.55))


def gist(error: BaseException) -> str:
    """The first line of another library's message, which may run to pages; the error's kind where it says nothing."""
    return str(error).strip().partition("\n")[0].rstrip()[:300] or type(error).__name__
