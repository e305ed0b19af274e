"""argparse with the zoo's manners: mistakes are `UsageError` with a suggestion, help keeps its examples as written."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from moon_zoo.errors import UsageError, did_you_mean


class Arguments(argparse.ArgumentParser):
    """A verb's argument parser.

    Args:
        verb: The verb, for usage lines and messages.
        description: What the verb does.
        examples: Commands worth copying, shown last in the help.
    """

    def __init__(self, verb: str, description: str, examples: str = "", **options: Any) -> None:
        super().__init__(
            prog=f"moon-zoo {verb}",
            description=description,
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving the process."""
        raise UsageError(message, where=self.prog, change=f"the command; `{self.prog} --help` shows how it is used")

    def parse_strict(self, args: list[str]) -> argparse.Namespace:
        """Parse, with a suggestion for an option that does not exist."""
        known, unknown = self.parse_known_args(args)
        if unknown:
            raise self.unknown_option(unknown[0])
        return known

    def unknown_option(self, word: str, roots: tuple[str, ...] = ()) -> UsageError:
        """The error for a word that is no option of this verb.

        Args:
            word: The word.
            roots: Options that dotted ones begin with, such as ``--model``.
        """
        name = word.partition("=")[0]
        first, dot, rest = name.partition(".")
        dotted = [f"{root}.{rest}" for root in did_you_mean(first, roots)] if dot else []
        what = f"unknown option {name}" if name.startswith("-") else f"unexpected word {word!r}"
        return UsageError(
            what,
            where=self.prog,
            suggestions=dotted or did_you_mean(name, [*self._option_string_actions, *roots]),
            change=f"the option; `{self.prog} --help` lists them",
        )
