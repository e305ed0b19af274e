"""The command line's front: finds the verb, runs it, and turns mistakes into one message and exit code 2.

Nothing heavy is imported here: `moon-zoo --help`, `--version`, `list` and `show` answer without torch. A verb is a module
beside this one with ``summary: str`` and ``run(args: list[str]) -> int``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from moon_zoo.errors import UsageError, ZooError, did_you_mean

VERBS: dict[str, dict[str, str]] = {
    "train and use": {
        "fit": "fit",
        "validate": "validate",
        "test": "test",
        "predict": "predict",
        "align": "align",
        "plot": "plot",
    },
    "look around": {"list": "listing", "show": "show", "copy": "copy", "check": "check"},
    "data": {"pack": "pack", "inspect": "inspect"},
    "search": {"embed": "embed", "search": "search"},
    "study": {"study": "study"},
    "checkpoints": {"download": "download", "publish": "publish", "export": "export", "cache": "cache"},
}
"""Heading to verbs; a verb maps to the module of this package that does it."""

EXAMPLES = """\
examples:
  moon-zoo fit --config dual_flow/quickstart       learn the built-in shop
  moon-zoo test --run runs/dual_flow/quickstart/1  on products it never saw
  moon-zoo list recipes                            what can be trained
  moon-zoo show dual_flow                          a model's card
  moon-zoo copy dual_flow/base my.yaml             a recipe of your own
  moon-zoo check --config my.yaml                  every mistake in it at once
  moon-zoo fit --config my.yaml --config accelerators/gpu --trainer.max_epochs 5
"""

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``moon-zoo``; those of the process when None.

    Returns:
        0, or 2 for a mistake of the user's, or 130 when interrupted. Bugs are raised.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return _dispatch(words)
    except ZooError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `moon-zoo list | head`: the reader has left. Python would complain once more while flushing at exit.
        sys.stdout = None
        return 0
    except SystemExit as stop:  # argparse's way to end `--help`
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        if words[1:] and words[0] == "help":
            return _verb(words[1]).run(["--help"])
        print(usage())
        return 0
    if words[0] in ("-V", "--version"):
        from moon_zoo import __version__

        print(f"moon-zoo {__version__}")
        return 0
    return _verb(words[0]).run(words[1:])


def _verb(name: str) -> ModuleType:
    modules = {verb: module for verbs in VERBS.values() for verb, module in verbs.items()}
    if name not in modules:
        what = f"unknown option {name!r} before a verb" if name.startswith("-") else f"unknown verb {name!r}"
        raise UsageError(
            what,
            suggestions=did_you_mean(name.lstrip("-"), modules),
            change=f"the verb; known: {', '.join(modules)}. `moon-zoo --help` says what each does",
        )
    return importlib.import_module(f"moon_zoo.cli.{modules[name]}")


def usage() -> str:
    """The text of ``moon-zoo --help``."""
    lines = ["usage: moon-zoo <verb> [options]      moon-zoo <verb> --help tells more", ""]
    for heading, verbs in VERBS.items():
        lines.append(f"{heading}:")
        lines += [f"  {verb:<10}{_verb(verb).summary}" for verb in verbs]
        lines.append("")
    return "\n".join(lines) + "\n" + EXAMPLES.rstrip()


if __name__ == "__main__":
    sys.exit(main())
