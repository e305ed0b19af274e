"""Options of `moon-zoo pack SOURCE`: the source's constructor through jsonargparse, and those that all sources share.

Options are shown with dashes (``--photo-root``) and taken with dashes or underscores, since recipes write underscores.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse

from moon_zoo.cli.pack import MAX_SAMPLES
from moon_zoo.errors import UsageError, did_you_mean
from moon_zoo.registry import Entry

_BAD_VALUE = re.compile(
    r"""Parser key "(?P<option>\w+)":.*?Expected an? (<class ')?(?P<type>[^.'>]+).*(Got|Given) value: (?P<value>.*)""",
    re.DOTALL,
)
"""jsonargparse's words for a value of another type; of several types that were tried, the first."""

OWN = ("to", "overwrite", "max_samples_per_shard", "json")


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What was asked for.

    Args:
        to: The folder to write.
        overwrite: Replace shards that are there.
        max_samples_per_shard: Samples per tar at most; of impressions, blocks of rows.
        json: Print the summary as JSON.
        source: Arguments of the source's constructor.
    """

    to: Path
    overwrite: bool
    max_samples_per_shard: int
    json: bool
    source: dict[str, Any]


def parse(entry: Entry, args: list[str]) -> PackOptions | None:
    """Read the command line of one source; None when help was asked for, which is then printed.

    Raises:
        UsageError: An option is unknown, has an impossible value or is missing.
    """
    parser = _parser(entry)
    if any(word in ("-h", "--help") for word in args):
        print(parser.format_help().rstrip())
        return None
    words = [_underscored(word) for word in args]
    for word in words:
        parser.check_known(word)
    words = parser.with_flags(words)
    namespace = parser.parse_args(words).as_dict()
    own = {name: namespace.pop(name) for name in OWN}
    if own["to"] is None:
        raise UsageError("the folder to write is missing", where=parser.prog, change="add --to OUT")
    if own["max_samples_per_shard"] < 1:
        raise UsageError("a shard needs room for a sample", where=parser.prog, change="--max-samples-per-shard")
    return PackOptions(**own, source=namespace)


def _parser(entry: Entry) -> _Parser:
    source = entry.load()
    about, _, _ = inspect.cleandoc(source.__doc__ or entry.summary).partition("\n\nArgs:")
    parser = _Parser(
        prog=f"moon-zoo pack {entry.name}",
        exit_on_error=False,
        description=about,
        epilog=f"example:\n  {source.example}" if getattr(source, "example", "") else None,
    )
    shared = parser.add_argument_group("Output")
    shared.add_argument("--to", type=Path | None, metavar="OUT", help="Folder to write, one folder per split below it.")
    shared.add_argument("--overwrite", action="store_true", help="Replace the shards that are there.")
    shared.add_argument(
        "--max_samples_per_shard",
        type=int,
        default=MAX_SAMPLES,
        help="Samples per tar at most; of impressions, blocks of rows.",
    )
    shared.add_argument("--json", action="store_true", help="Print the summary as JSON.")
    parser.add_class_arguments(source, as_positional=True)
    positionals = [action.dest.upper() for action in parser._actions if not action.option_strings]
    parser.usage = " ".join([parser.prog, *positionals, "--to OUT [options]"])
    return parser


class _Parser(jsonargparse.ArgumentParser):
    """jsonargparse with the zoo's errors and with dashes in what it shows."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        value = _BAD_VALUE.match(message)
        if value is not None:
            option = "--" + value["option"].replace("_", "-")
            what = f"{option} takes {value['type'].strip()}, not {value['value']!r}"
        else:
            what = _dashed(" ".join(message.split()))
        raise UsageError(what, where=self.prog, change=f"the command; `{self.prog} --help` lists its options") from ex

    def with_flags(self, words: list[str]) -> list[str]:
        """``--history_from_clicks`` alone as ``--history_from_clicks=true``; one that has its value stays."""
        flags = {
            option
            for option, action in self._option_string_actions.items()
            if getattr(action, "_typehint", None) is bool  # jsonargparse's own flags want a value
        }
        following = [*words[1:], ""]
        return [
            f"{word}=true" if word in flags and after.lower() not in ("true", "false", "yes", "no") else word
            for word, after in zip(words, following, strict=True)
        ]

    def check_known(self, word: str) -> None:
        """Raise `UsageError` with a suggestion when ``word`` is an option of no kind we have."""
        name = word.partition("=")[0].partition(".")[0]
        if not re.match(r"--?[a-zA-Z]", word) or name in self._option_string_actions:
            return
        known = [_dashed(option) for option in self._option_string_actions if option.startswith("--")]
        raise UsageError(
            f"unknown option {_dashed(name)}",
            where=self.prog,
            suggestions=did_you_mean(_dashed(name), known),
            change=f"the option; `{self.prog} --help` lists them",
        )

    def format_help(self) -> str:
        text = _dashed(super().format_help())
        text = re.sub(r"\s*\(type:[^)]*default:\s*(null)?\s*\)", "", text)  # "default: null" tells a reader nothing
        return text.replace("<class 'Path'>", "path")


def _underscored(word: str) -> str:
    """``--photo-root=a-b`` to ``--photo_root=a-b``; other words stay."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _dashed(text: str) -> str:
    return re.sub(r"(?<![\w-])--\w+", lambda match: match[0].replace("_", "-"), text)
