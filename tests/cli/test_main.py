"""The front: what is dispatched, how mistakes end, and that nothing heavy is imported for an answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moon_zoo.cli import main as front
from moon_zoo.cli.main import VERBS, main

HEAVY = ("torch", "lightning", "numpy", "jsonargparse", "rich", "pyarrow", "PIL", "matplotlib")


def test_help_names_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in [verb for verbs in VERBS.values() for verb in verbs]:
        assert f"\n  {verb} " in text
    assert "train a model from a recipe" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("verb", [verb for verbs in VERBS.values() for verb in verbs])
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"moon-zoo {verb}" in text
    assert "examples:" in text


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"], ["show", "dual_flow"], ["fit", "--help"]])
def test_answers_without_importing_anything_heavy(words: list[str]) -> None:
    program = (
        "import sys; from moon_zoo.cli.main import main; code = main(sys.argv[1:]); "
        f"sys.exit(code or ' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert done.stdout


def test_importing_the_package_imports_no_torch_and_names_load_on_use() -> None:
    program = (
        "import sys, moon_zoo; assert 'torch' not in sys.modules; assert 'ShardWriter' in dir(moon_zoo); "
        "assert moon_zoo.Product.kind == 'product'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unknown_public_name_is_an_attribute_error() -> None:
    import moon_zoo

    with pytest.raises(AttributeError, match="has no attribute 'Modle'"):
        _ = moon_zoo.Modle


def test_unknown_verb_suggests_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tets"]) == 2
    text = capsys.readouterr().err
    assert "unknown verb 'tets'" in text
    assert "did you mean: test" in text
    assert "Traceback" not in text


def test_option_before_a_verb_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "x"]) == 2
    assert "unknown option '--config' before a verb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "recipez"], "did you mean: recipes"),
        (["list", "--jsn"], "did you mean: --json"),
        (["show", "quickstrat"], "did you mean: mim/quickstart, moon/quickstart, dream/quickstart"),
        (["show"], "the following arguments are required: name"),
        (["fit"], "no recipe given"),
        (["fit", "--config", "dual_flow/quikstart"], "did you mean: dual_flow/quickstart"),
        (["fit", "--config", "accelerators/cpu", "--modle.width", "2"], "did you mean: --model.width"),
        (["fit", "--config", "accelerators/cpu", "--trainer.max_epochs"], "--trainer.max_epochs needs a value"),
        (["fit", "--config", "accelerators/cpu", "stray"], "unexpected word 'stray'"),
        (["test", "--run", "nowhere"], "nowhere is no run's folder"),
        (["plot", "nowhere"], "nowhere is no run's folder"),
    ],
)
def test_mistakes_are_one_message_and_exit_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert said in text
    assert "Traceback" not in text
    assert "usage:" not in text


def test_interrupt_exits_130_and_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(front, "_dispatch", interrupted)
    assert main(["list"]) == 130

    def broken(words: list[str]) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(front, "_dispatch", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["list"])


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m moon_zoo list --json | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "{"
    assert done.stderr == ""
