"""How long a command line takes to say what it can do: `--help` and `list` beside anomalib, litgpt, torchgeo, torchtune.

Whole processes by the wall clock, from the start of Python to its end, programs in turns. What is measured is what a person
waits for: the files are in the page cache after the first, uncounted run. A program whose help fails is left out, loudly.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from _harness import OURS, Row, alternate, compare, warn_if_busy, write_rows

ROUNDS = 7
TARGET_SECONDS = 0.3
PEERS = {
    "anomalib": ("anomalib", "--help"),
    "litgpt": ("litgpt", "--help"),
    "torchgeo": ("torchgeo", "--help"),
    "torchtune": ("tune", "--help"),
}
OUR_COMMANDS = {"help": ("moon-zoo", "--help"), "list": ("moon-zoo", "list"), "show": ("moon-zoo", "show", "dual_flow")}


def command(words: tuple[str, ...]) -> Callable[[], None]:
    """A program of this environment as a callable that raises when it fails."""
    program = Path(sys.executable).with_name(words[0])

    def run() -> None:
        done = subprocess.run([str(program), *words[1:]], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} exits {done.returncode}: {done.stderr.strip()[-400:]}")

    return run


def working(peers: dict[str, tuple[str, ...]]) -> dict[str, Callable[[], None]]:
    """The peers whose help can be shown here."""
    found = {}
    for name, words in peers.items():
        run = command(words)
        try:
            run()
        except (OSError, RuntimeError) as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
        else:
            found[name] = run
    return found


def main() -> None:
    warn_if_busy()
    rows: list[Row] = []
    helps = alternate({OURS: command(OUR_COMMANDS["help"])} | working(PEERS), rounds=ROUNDS)
    rows += compare("--help", helps, packages=tuple(PEERS), floor=bare_python())
    for name in ("list", "show"):
        seconds = alternate({OURS: command(OUR_COMMANDS[name])}, rounds=ROUNDS)
        rows += compare(" ".join(OUR_COMMANDS[name][1:]), seconds)
    write_rows("startup", rows)
    slow = [row.case for row in rows if row.peer == OURS and row.median > TARGET_SECONDS]
    print(f"target: {TARGET_SECONDS} s; {'missed by ' + ', '.join(slow) if slow else 'met by all'}")


def bare_python() -> str:
    """What starting Python alone takes here."""
    seconds = alternate({"python": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)}, rounds=ROUNDS)
    return f"{sorted(seconds['python'])[ROUNDS // 2]:.3g} s: an empty Python"


if __name__ == "__main__":
    main()
