"""An alignment as a list of ordinary commands: stages of fine-tuning, then rounds, each measured on the same conversations.

The steps are carried out as those of a study (`moon_zoo.studies.running`): once each, so that a killed alignment goes on where
it was, with the same pairs. What a setting means is said where the command that takes it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from moon_zoo.errors import RecipeError, UsageError, did_you_mean
from moon_zoo.studies.steps import Step

ITSELF = "itself"
"""The judge that is the policy of the round."""

SHOP = "shop"
"""Conversations that the shop draws."""

JUDGE_OPTIONS = ("verdict_from", "no_images", "timeout", "concurrency", "requests_per_second", "batch_size", "device")
"""What ``judge_options`` may hold: options that both `moon-zoo align judge` and `align evaluate` have."""

Observe = Literal["truth", "policy", "none"]
OBSERVE: tuple[Observe, ...] = ("truth", "policy", "none")


@dataclass(frozen=True, slots=True)
class Alignment:
    """What an alignment does.

    Args:
        stages: Recipes of fine-tuning, each from the weights of the one before; the first stage's model is the base that all
            figures are compared with.
        start: Checkpoint that the first stage, or without stages the first round, starts from.
        preference: Recipe of a round's training.
        conversations: A folder of sets of kind ``instruction`` called train, val and test; ``shop`` draws them.
        products: How many of the shop's products they are about.
        rounds: How many.
        observe: Which risks the judge knows of: the set's own (``truth``), those that the policy sees (``policy``, multimodal
            risk disentanglement), or ``none``: the ablation without it.
        samples: Answers to each prompt.
        temperature: Of their draws.
        top_p: Of their draws.
        prompts_per_round: Conversations of train that a round asks, each round others; None for all.
        max_new_tokens: Longest answer.
        batch_size: Prompts that are answered at a time: a small model is faster with many, a large one needs the memory.
        judge: ``rules``, ``words``, ``itself``, a checkpoint or a server's URL.
        judge_model: The judge's name on its server.
        judge_prompts: Set of prompts that a model judges with: ``full``, ``short`` or a folder.
        on_unavailable: What happens when the judge's server is down: ``raise`` or ``unparsed``.
        judge_options: Further options of `moon-zoo align judge`, as ``{timeout: 20, requests_per_second: 2, no_images: true}``.
        aggregation: ``weighted`` or ``lexicographic``.
        global_weight: Weight of the global score.
        margin: Least difference of two scores that make a pair.
        length_ratio: Most words of the longer answer per word of the shorter.
        tolerance: A round's policy is kept unless safe & effective on val falls by more than this, in [0, 1].
        fit: Settings of every training.
        seed: Of everything.
    """

    stages: Sequence[str] = ("dream/instruction_tuning", "dream/sft")
    start: str | None = None
    preference: str = "dream/preference"
    conversations: str = SHOP
    products: int = 6000
    rounds: int = 2
    observe: Observe = "truth"
    samples: int = 4
    temperature: float = 0.8
    top_p: float = 1.0
    prompts_per_round: int | None = None
    max_new_tokens: int = 64
    batch_size: int = 16
    judge: str = "rules"
    judge_model: str | None = None
    judge_prompts: str = "full"
    on_unavailable: str = "raise"
    judge_options: Mapping[str, Any] = field(default_factory=dict)
    aggregation: str = "weighted"
    global_weight: float = 0.5
    margin: float = 0.1
    length_ratio: float = 3.0
    tolerance: float = 0.02
    fit: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 7

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise UsageError(f"rounds is {self.rounds}", change="rounds, to 0 or more")
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}", change="batch_size, to 1 or more")
        if self.observe not in OBSERVE:
            raise UsageError(
                f"observe is {self.observe!r}; known: {', '.join(OBSERVE)}",
                suggestions=did_you_mean(str(self.observe), OBSERVE),
                change="observe",
            )
        unknown = [name for name in self.judge_options if name not in JUDGE_OPTIONS]
        if unknown:
            raise UsageError(
                f"unknown option {unknown[0]!r} of the judge; known: {', '.join(JUDGE_OPTIONS)}",
                suggestions=did_you_mean(unknown[0], JUDGE_OPTIONS),
                change="judge_options",
            )
        if not self.stages and self.start is None:
            raise UsageError("there is no model to begin with", change="stages, or start to a checkpoint")


def read(values: Mapping[str, Any], where: str) -> Alignment:
    """An alignment from a recipe's key ``align``.

    Args:
        values: What the key holds.
        where: The recipe, for messages.

    Raises:
        RecipeError: A key is unknown, or a value is of another kind.
    """
    known = Alignment.__dataclass_fields__
    unknown = [name for name in values if name not in known]
    if unknown:
        raise RecipeError(
            f"unknown key {unknown[0]!r} under align",
            where=where,
            suggestions=did_you_mean(unknown[0], known),
            change=f"the key; known: {', '.join(known)}",
        )
    numbers: dict[str, type | tuple[type, ...]] = dict.fromkeys(
        ("products", "rounds", "samples", "batch_size", "seed"), int
    )
    numbers |= dict.fromkeys(("temperature", "top_p", "margin", "global_weight", "tolerance"), (int, float))
    for name, kind in numbers.items():
        value = values.get(name)
        if name in values and (isinstance(value, bool) or not isinstance(value, kind)):
            raise RecipeError(f"align.{name} is {value!r}, which is no number", where=where, change=f"align.{name}")
    return Alignment(**values)


@dataclass(frozen=True, slots=True)
class Measured:
    """A model whose answers are counted.

    Args:
        name: ``base``, the stages', ``round 1`` ...
        split: ``val`` or ``test``.
        step: Name of the step that measures it.
    """

    name: str
    split: str
    step: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything there is to do.

    Args:
        steps: In order.
        measured: What the report tells, in order.
    """

    steps: list[Step]
    measured: list[Measured]


def plan(alignment: Alignment, folder: Path) -> Plan:
    """The steps of an alignment.

    Args:
        alignment: What it does.
        folder: Where everything lands.
    """
    return _Planner(alignment, folder).run()


class _Planner:
    def __init__(self, alignment: Alignment, folder: Path) -> None:
        self.align, self.folder = alignment, folder
        self.steps: list[Step] = []
        self.measured: list[Measured] = []
        self.conversations = alignment.conversations

    def run(self) -> Plan:
        align = self.align
        if align.conversations == SHOP:
            place = self.folder / "conversations"
            self.conversations = str(place)
            words = ("pack", "shop", "--kind", "instruction", "--num-products", str(align.products))
            self._add("conversations", (*words, "--seed", str(align.seed), "--to", str(place)), place, seconds=20)
        policy = align.start
        for number, recipe in enumerate(align.stages):
            name = "base" if number == 0 else recipe.rpartition("/")[2]
            policy = self._fine_tune(name, recipe, policy)
            self._measure(name, policy, ("val", "test"))
        if not align.stages:
            self._measure("base", str(policy), ("val", "test"))
        before = "base" if len(align.stages) < 2 else align.stages[-1].rpartition("/")[2]
        for number in range(1, align.rounds + 1):
            last = number == align.rounds
            policy = self._round(number, str(policy), before, ("val", "test") if last else ("val",))
            before = f"round {number}"
        return Plan(self.steps, self.measured)

    def _fine_tune(self, name: str, recipe: str, start: str | None) -> str:
        run = self.folder / "stages" / name
        words = ["fit", "--config", recipe, "--run", str(run)]
        words += ["--ckpt_path", start, "--allow_missing"] if start is not None else []
        words += _words(data_options(self.conversations, recipe)) + _words(fit_options(self.align))
        self._add(f"stages/{name}", words, run, seconds=150)
        return str(run)

    def _round(self, number: int, policy: str, before: str, splits: Sequence[str]) -> str:
        align, place, name = self.align, self.folder / f"round-{number}", f"round-{number}"
        sampled, judged, pairs = place / "samples", place / "judged", place / "pairs"
        words = ["align", "sample", policy, f"{self.conversations}/train", "--to", str(sampled)]
        words += ["--samples", str(align.samples), "--temperature", str(align.temperature), "--top-p", str(align.top_p)]
        words += ["--max-new-tokens", str(align.max_new_tokens), "--seed", str(align.seed + number)]
        words += ["--observe", align.observe, "--batch-size", str(align.batch_size)]
        if align.prompts_per_round is not None:
            words += ["--limit", str(align.prompts_per_round), "--skip", str(align.prompts_per_round * (number - 1))]
        self._add(f"{name}/samples", words, sampled, seconds=60)
        words = ["align", "judge", str(sampled), "--to", str(judged), "--judge", align.judge]
        words += ["--on-unavailable", align.on_unavailable, "--assistant", policy, *self._judge_options()]
        self._add(f"{name}/judged", words, judged, seconds=5)
        words = ["align", "pairs", str(judged), "--to", str(pairs), "--round", str(number)]
        words += ["--aggregation", align.aggregation, "--global-weight", str(align.global_weight)]
        words += ["--margin", str(align.margin), "--length-ratio", str(align.length_ratio)]
        self._add(f"{name}/pairs", words, pairs, seconds=2)
        run = place / "run"
        words = ["fit", "--config", align.preference, "--run", str(run), "--ckpt_path", policy, "--allow_missing"]
        words += _words(data_options(str(pairs))) + _words(fit_options(align))
        self._add(f"{name}/fit", words, run, seconds=60)
        self._measure(f"round {number}", str(run), splits)
        kept = place / "policy"
        words = ["align", "promote", str(run), "--instead-of", policy, "--to", str(kept)]
        words += ["--evaluation", str(self._evaluation(f"round {number}", "val"))]
        words += ["--evaluation-before", str(self._evaluation(before, "val"))]
        self._add(f"{name}/policy", [*words, "--tolerance", str(align.tolerance)], kept, seconds=2)
        return str(kept)

    def _measure(self, name: str, policy: str, splits: Sequence[str]) -> None:
        for split in splits:
            to = self._evaluation(name, split)
            words = ["align", "evaluate", policy, f"{self.conversations}/{split}", "--to", str(to)]
            words += ["--max-new-tokens", str(self.align.max_new_tokens), "--split", split]
            words += ["--batch-size", str(self.align.batch_size)]
            words += ["--overwrite"]  # of rows that a killed one left behind, those of another model
            if self.align.judge != ITSELF:  # a judge that changes from round to round compares nothing
                words += ["--judge", self.align.judge, *self._judge_options()]
            step = f"evaluations/{name}/{split}"
            self._add(step, words, to, seconds=15)
            self.measured.append(Measured(name, split, step))

    def _judge_options(self) -> list[str]:
        """Of the judge of rounds and of evaluations alike."""
        words = ["--prompts", self.align.judge_prompts]
        words += ["--judge-model", self.align.judge_model] if self.align.judge_model is not None else []
        for name, value in self.align.judge_options.items():
            option = f"--{name.replace('_', '-')}"
            words += ([option] if value else []) if isinstance(value, bool) else [option, str(value)]
        return words

    def _evaluation(self, name: str, split: str) -> Path:
        return self.folder / "evaluations" / name.replace(" ", "-") / split

    def _add(self, name: str, words: Sequence[str], writes: Path, *, seconds: float) -> None:
        """Every step needs all before it: what a round learns from depends on all that was done."""
        self.steps.append(
            Step(
                name.replace(" ", "-"),
                tuple(words),
                writes=writes,
                needs=tuple(step.name for step in self.steps[-1:]),
                reads=() if name != "conversations" and self.steps else self._reads(),
                seconds=seconds,
                goes_on=words[0] == "fit" or words[1] == "evaluate",
            )
        )

    def _reads(self) -> tuple[str, ...]:
        """What the first step depends on from outside: the recipes as they are merged, and the sets' manifests."""
        from moon_zoo.recipes import load_recipe

        merged = [load_recipe(recipe) for recipe in (*self.align.stages, self.align.preference)]
        outside = [] if self.align.conversations == SHOP else [f"{self.align.conversations}/train"]
        start = [self.align.start] if self.align.start is not None else []
        return (json.dumps(merged, sort_keys=True, default=str) + "\n", *outside, *start)


def data_options(sets: str, recipe: str | None = None) -> dict[str, str]:
    """Options of `moon-zoo fit` for a training on ``train`` and ``val`` of a folder of sets.

    Args:
        sets: The folder.
        recipe: Whose batch size is kept, which naming another class of data would drop.
    """
    from moon_zoo.recipes import load_recipe

    options = {"data": "shards", "data.train": f"{sets}/train", "data.val": f"{sets}/val"}
    size = (
        None if recipe is None else ((load_recipe(recipe).get("data") or {}).get("init_args") or {}).get("batch_size")
    )
    return options if size is None else options | {"data.batch_size": str(size)}


def fit_options(alignment: Alignment) -> dict[str, str]:
    """Options of every `moon-zoo fit` of an alignment."""
    options = {"seed_everything": str(alignment.seed)}
    return options | {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in alignment.fit.items()
    }


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value)]
