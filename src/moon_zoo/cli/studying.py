"""The part of `study` that plans, carries out and tells: a study's commands run in this process, one after another."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moon_zoo import recipes
from moon_zoo.cli import studying_ablations, studying_follow_ups
from moon_zoo.cli.output import print_json, print_table, say
from moon_zoo.cli.train import command_line
from moon_zoo.errors import RecipeError, UsageError
from moon_zoo.studies import exchange_rate, material, outcome, running, scaling, towers
from moon_zoo.studies.clicks import Clicks
from moon_zoo.studies.running import Event, Folder, Record
from moon_zoo.studies.steps import Step, overrides, seconds_of
from moon_zoo.studies.towers import Making, Tower

EXIT_INTERRUPTED = 130
_PROGRESS = re.compile(r"^\w+: [\d,]+ .*per second$")
"""A line of `moon_zoo.cli.progress`, of a verb that has no --quiet."""

QUIET_VERBS = ("fit", "test", "validate", "embed", "align")

FIGURES = ("auc", "gauc", "cold/auc", "warm/auc", "logloss")
"""Downstream figures beside the one that was asked for."""


def run(study: str, options: argparse.Namespace) -> int:
    """Carry a study out, or go on with it.

    Args:
        study: Its name.
        options: As `moon_zoo.cli.study` reads them.
    """
    if options.seeds < 1:
        raise UsageError(f"--seeds is {options.seeds}", where="--seeds", change="--seeds to 1 or more")
    folder = Folder(options.to)
    steps, finish = PLANS[study](options)
    if not options.overwrite:
        running.require_same_study(steps, folder)
    if options.dry_run:
        return dry_run(steps, folder, options, timed=study not in UNTIMED)
    with folder.alone():
        folder.begin(
            {
                "study": study,
                "command": command_line(*options.command),
                "steps": [{"name": step.name, "command": step.command} for step in steps],
            },
            overwrite=options.overwrite,
        )
        if not options.quiet:
            announce(steps, folder, timed=study not in UNTIMED)
        try:
            records = running.carry_out(steps, folder, Carrier(options.quiet), told=None if options.quiet else tell)
        except KeyboardInterrupt:
            say(f"stopped; go on with: {command_line(*options.command)}")
            return EXIT_INTERRUPTED
        return finish(folder, steps, records)


# plans ----------------------------------------------------------------------------------------------------------------


def _exchange_rate(options: argparse.Namespace) -> tuple[list[Step], Any]:
    makes = options.make if options.make is not None else [] if options.checkpoints else list(towers.AXES)
    making, products, further = _products(options)
    clicks, more = _clicks(options)
    found: list[Tower] = _given(options.checkpoints)
    for axis in makes:
        steps, made = _made(axis, making, options)
        further += steps
        found += made
    names = [tower.name for tower in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two checkpoints are called {twice}", where="--checkpoints", change="the name of one of them")
    test_data = ("--data", "shards", "--data.test", products.test, "--data.batch_size", str(options.batch_size))
    steps = exchange_rate.plan(
        found,
        [*further, *more],
        products,
        clicks,
        seeds=options.seeds,
        controls=options.controls,
        modality=options.modality,
        test_data=test_data,
    )

    def finish(folder: Folder, steps: Sequence[Step], records: Mapping[str, Record]) -> int:
        checkpoints, controls = exchange_rate.collect(found, records, seeds=options.seeds, controls=options.controls)
        wanted = [options.downstream, *(name for name in FIGURES if name != options.downstream)]
        rate = exchange_rate.analyse(checkpoints, controls, wanted)
        return _tell_rate(rate, folder, steps, records, options)

    return steps, finish


def _made(axis: str, making: Making, options: argparse.Namespace) -> tuple[list[Step], list[Tower]]:
    steps = options.steps[-1]
    if axis == "steps":
        return making.by_steps(options.steps)
    if axis == "negatives":
        return making.by_negatives([count + 1 for count in options.negatives], steps)
    if axis == "data":
        return making.by_data(options.fractions, steps)
    return making.by_modality(options.objectives, steps)


def _given(checkpoints: Sequence[str]) -> list[Tower]:
    """The user's checkpoints, each found before any time is spent; those of hubs are fetched."""
    from moon_zoo.hub.resolve import resolve

    for name in checkpoints:
        resolve(name)
    return towers.given(checkpoints)


def _scaling(options: argparse.Namespace) -> tuple[list[Step], Any]:
    for axis in options.over:
        scaling.require_sizes(axis, getattr(options, axis))
    steps: list[Step] = []
    points: list[scaling.Point] = []
    of_clicks = [axis for axis in options.over if axis in ("history", "rows")]
    if len(of_clicks) < len(options.over) or options.embeddings is None:
        making, products, further = _products(options)
        steps += further
        of_towers = scaling.Towers(making, products)
        for axis in options.over:
            if axis not in of_clicks:
                made, found = getattr(of_towers, axis)(getattr(options, axis), options.seeds)
                steps += made
                points += found
    if of_clicks:
        clicks, further = _clicks(options)
        steps += further
        embeddings = options.embeddings
        after: tuple[str, ...] = ()
        if embeddings is None:
            fits, (tower,) = making.by_steps([options.steps])
            embed = towers.embedded(tower, products, options.to, options.modality)
            steps += [*fits, embed]
            embeddings, after = embed.writes, (embed.name,)
        elif not Path(embeddings).exists():
            raise UsageError(
                f"there are no embeddings at {embeddings}",
                where="--embeddings",
                change="--embeddings to what `moon-zoo embed` wrote, or leave it out",
            )
        for axis in of_clicks:
            made, found = getattr(scaling, axis)(
                clicks,
                getattr(options, axis),
                options.seeds,
                embeddings=embeddings,
                modality=options.modality,
                after=after,
            )
            steps += made
            points += found

    def finish(folder: Folder, steps: Sequence[Step], records: Mapping[str, Record]) -> int:
        return _tell_laws(scaling.curves(points, records), folder, steps, records, options)

    return steps, finish


PLANS = {
    "exchange-rate": _exchange_rate,
    "scaling": _scaling,
    "ablations": studying_ablations.plan,
    "followup": studying_follow_ups.plan,
}

UNTIMED = ("ablations", "followup")
"""Studies of any recipe: how long one takes is known once it has run."""


def _products(options: argparse.Namespace) -> tuple[Making, material.Products, list[Step]]:
    named = {split: getattr(options, f"{split}_items") for split in ("train", "val", "test")}
    if options.products is None and not any(named.values()) and not options.items:
        steps, products = material.shop_products(options.to)
    else:
        steps, products = [], material.own_products(options.products, **named, items=tuple(options.items))
    making = Making(
        options.to,
        products,
        options.tower_recipe,
        _recipe(options.tower_recipe, "--tower-recipe"),
        overrides(options.tower, "--tower"),
        options.batch_size,
        options.image_size,
    )
    return making, products, steps


def _clicks(options: argparse.Namespace) -> tuple[Clicks, list[Step]]:
    if options.impressions is None:
        steps, impressions = material.shop_impressions(options.to)
    else:
        steps, impressions = [], material.own_impressions(options.impressions)
    values = _recipe(options.recipe, "--recipe")
    clicks = Clicks(
        options.to,
        impressions,
        options.recipe,
        values,
        overrides(options.click, "--click"),
        options.epochs,
        options.max_history,
    )
    return clicks, steps


def _recipe(name: str, option: str) -> dict[str, Any]:
    """A recipe's plain values, of a model that does what the study asks of it.

    Raises:
        RecipeError: It does not.
    """
    from moon_zoo.cli.structure import import_class

    values = recipes.load_recipe(name)
    path = str((values.get("model") or {}).get("class_path", ""))
    model = import_class(path) if path else None
    if option == "--recipe":
        fits, wanted = "impressions" in getattr(model, "sample_kinds", ()), "a model that learns from impressions"
    else:
        fits, wanted = bool(getattr(model, "modalities", ())), "a model that embeds"
    if not fits:
        raise RecipeError(
            f"the recipe {name} trains {path.rpartition('.')[2] or 'nothing'}, expected {wanted}",
            where=option,
            change=f"{option}; `moon-zoo list recipes` shows what there is",
        )
    return values


# carrying out -----------------------------------------------------------------------------------------------------------


def execute(step: Step) -> dict[str, Any]:
    """Run one command in this process, and read the JSON it prints.

    Raises:
        ZooError: What the command refuses.
        KeyboardInterrupt: It was stopped.
    """
    if step.verb == "test" and "--run" not in step.words:
        return _test_checkpoint(step)
    words = [*step.words[1:], "--json", *(["--quiet"] if step.verb in QUIET_VERBS else [])]
    verb = importlib.import_module(f"moon_zoo.cli.{step.verb}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = verb.run(words)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return json.loads(printed.getvalue())


class Carrier:
    """Carries steps out, and says what they remark once instead of once per step.

    Args:
        quiet: Whether to keep the remarks to the steps' records.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._said: set[str] = set()

    def __call__(self, step: Step) -> dict[str, Any]:
        """Run a step's command; what it wrote to stderr comes back as ``remarks``."""
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard):
            result = execute(step)
        lines = [line.rstrip() for line in heard.getvalue().splitlines()]
        remarks = [line for line in dict.fromkeys(lines) if line.strip() and not _PROGRESS.search(line)]
        for line in remarks:
            if line not in self._said and not self.quiet:
                say(f"  {line}")
            self._said.add(line)
        return {**result, "remarks": remarks} if remarks else result


def _test_checkpoint(step: Step) -> dict[str, Any]:
    """`test` of a checkpoint folder, into the study rather than into ``runs``."""
    from moon_zoo.cli.checkpoints import locate
    from moon_zoo.cli.measuring import measure

    assert step.writes is not None and step.words[1] == "--ckpt_path"
    found = locate(step.words[2], progress=False)
    return dict(measure("test", found, step.words[3:], step.writes, quiet=True))


def announce(steps: Sequence[Step], folder: Folder, *, timed: bool) -> None:
    """Say how many steps there are, and how long they take where that is known."""
    finished = running.state(steps, folder)
    left = [step for step in steps if finished[step.name] is None]
    done = f"; {len(steps) - len(left)} of them are finished already" if len(left) < len(steps) else ""
    takes = f"; what is left takes about {duration(seconds_of(left))} on 2 cores" if timed else ""
    say(f"{len(steps)} steps{done}{takes}")


def tell(event: Event) -> None:
    """Say that a step begins or ends."""
    if event.what == "kept":
        return
    width = len(str(event.total))
    place = f"[{event.number:>{width}}/{event.total}] {event.step.name}"
    left = f"about {duration(event.left)} left" if event.left else "that was the last"
    say(f"{place} ..." if event.what == "begins" else f"{place}: {duration(event.seconds)}; {left}")


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def dry_run(steps: Sequence[Step], folder: Folder, options: argparse.Namespace, *, timed: bool) -> int:
    """Print the commands that are left."""
    finished = running.state(steps, folder)
    left = [step for step in steps if finished[step.name] is None]
    if options.json:
        records = []
        for step in steps:
            record = {"name": step.name, "command": step.command, "finished": finished[step.name] is not None}
            records.append({**record, "seconds": step.seconds} if timed else record)
        print_json({"seconds": seconds_of(left), "steps": records} if timed else {"steps": records})
        return 0
    for step in left:
        print(f"# {step.name}" + (f", about {duration(step.seconds)}" if timed else ""))
        print(step.command)
    done = f"; {len(steps) - len(left)} are finished" if len(left) < len(steps) else ""
    say(f"{len(left)} steps" + (f", about {duration(seconds_of(left))} on 2 cores" if timed else "") + done)
    return 0


# telling ----------------------------------------------------------------------------------------------------------------


def _tell_rate(
    rate: exchange_rate.ExchangeRate,
    folder: Folder,
    steps: Sequence[Step],
    records: Mapping[str, Record],
    options: argparse.Namespace,
) -> int:
    from moon_zoo.studies.pictures import draw_exchange_rate

    whole = outcome.write_outcome(folder, steps, records, rate.as_json())
    outcome.exchange_csv(rate, folder.path / "study.csv")
    second = "cold/auc" if options.downstream != "cold/auc" else "auc"
    picture = draw_exchange_rate(rate, folder.path / "exchange_rate.png", figures=(options.downstream, second))
    if options.json:
        print_json(whole)
        return 0
    rates = rate.rates[options.downstream]
    heading, rows = outcome.rate_rows(rates)
    print_table(f"what metrics buy in {options.downstream}", heading, rows, right=range(1, len(heading)))
    heading, rows = outcome.checkpoint_rows(
        rate, rates[0].metric, list(dict.fromkeys((options.downstream, *FIGURES[:3])))
    )
    print_table("checkpoints, mean of seeds", heading, rows, right=range(1, len(heading)))
    for line in outcome.gain_lines(rate, list(dict.fromkeys((options.downstream, second)))):
        print(line)
    for note in rate.notes:
        say(f"note: {note}")
    if rate.constant:
        say(f"note: equal for all checkpoints, left out: {', '.join(rate.constant)}")
    _tell_files(folder, picture)
    return 0


def _tell_laws(
    curves: Sequence[scaling.Curve],
    folder: Folder,
    steps: Sequence[Step],
    records: Mapping[str, Record],
    options: argparse.Namespace,
) -> int:
    from moon_zoo.studies.pictures import draw_scaling

    whole = outcome.write_outcome(folder, steps, records, {"curves": [curve.as_json() for curve in curves]})
    outcome.scaling_csv(curves, folder.path / "study.csv")
    picture = draw_scaling(curves, folder.path / "scaling.png")
    if options.json:
        print_json(whole)
        return 0
    heading, rows = outcome.law_rows(curves)
    print_table("errors as a + b x^-c", heading, rows, right=range(2, len(heading) - 1))
    _tell_files(folder, picture)
    return 0


def _tell_files(folder: Folder, picture: Path) -> None:
    print(f"figures: {folder.study}")
    print(f"table:   {folder.path / 'study.csv'}")
    print(f"plot:    {picture}")
