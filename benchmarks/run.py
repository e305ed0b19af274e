"""Run benchmarks beside their peers, in environments of their own, and renew the table in README.md.

    python benchmarks/run.py                     # all of them
    python benchmarks/run.py contrastive         # some of them

A benchmark is a file here whose name does not begin with an underscore or with another's name. Its peers are those of
``requirements.txt`` in ``.venv-bench``; peers that cannot live with others are named in ``requirements-<name>.txt``
and get ``.venv-bench-<name>``. Environments are made on first use, and again when a list of requirements changes.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOT_BENCHMARKS = ("run", "report")


def names() -> list[str]:
    """All benchmarks, in alphabetical order. ``loader_open_clip.py`` beside ``loader.py`` is a part of it, no other."""
    stems = {path.stem for path in HERE.glob("*.py") if path.stem[0] != "_"} - set(NOT_BENCHMARKS)
    return sorted(stem for stem in stems if not any(stem.startswith(f"{other}_") for other in stems))


def environment(name: str) -> Path:
    """The Python with this benchmark's peers, installed if it is not there yet."""
    own = HERE / f"requirements-{name}.txt"
    requirements = own if own.is_file() else HERE / "requirements.txt"
    folder = ROOT / (f".venv-bench-{name}" if own.is_file() else ".venv-bench")
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(requirements.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = folder / ".installed"
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"setting up {folder.name} from {requirements.name}", flush=True)
    arguments = ["-e", f"{ROOT}[bench]", "-r", str(requirements)]
    uv = shutil.which("uv")
    if uv is not None:
        _call(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
        _call(uv, "pip", "install", "--quiet", "--python", str(python), *arguments)
    else:
        _call(sys.executable, "-m", "venv", str(folder))
        _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)
    stamp.write_text(wanted)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmarks to run; known: {', '.join(names())}")
    chosen = parser.parse_args().names or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        print(f"unknown benchmarks: {', '.join(unknown)}; known: {', '.join(names())}", file=sys.stderr)
        return 2
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        try:
            _call(str(environment(name)), str(HERE / f"{name}.py"))
        except subprocess.CalledProcessError as error:
            # The others' figures are still worth having.
            print(f"{name} failed with exit code {error.returncode}", file=sys.stderr)
            failed.append(name)
    _call(sys.executable, str(HERE / "report.py"))
    return 1 if failed else 0


def _call(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    raise SystemExit(main())
