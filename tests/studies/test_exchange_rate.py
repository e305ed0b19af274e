"""The exchange rate from what steps measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.errors import DataError, UsageError
from moon_zoo.studies import outcome
from moon_zoo.studies.clicks import Clicks
from moon_zoo.studies.exchange_rate import Checkpoint, Control, analyse, collect, direction, plan
from moon_zoo.studies.material import shop_impressions, shop_products
from moon_zoo.studies.pictures import draw_exchange_rate
from moon_zoo.studies.running import Record
from moon_zoo.studies.statistics import Interval
from moon_zoo.studies.towers import Tower, given

RECALL, RANK = "photo_to_product/recall@10", "photo_to_product/median_rank"


def checkpoints(count: int = 5, seeds: int = 2) -> list[Checkpoint]:
    """Checkpoints whose AUC is .7 + .1 recall, without noise; seeds differ by .001 for all alike."""
    return [
        Checkpoint(
            f"steps-{place}",
            "steps",
            place,
            {
                RECALL: 0.1 * place,
                RANK: float([9, 7, 8, 5, 6][place]),
                "zero_shot/category_accuracy": 0.2,
                "loss": 3.0 - place,
            },
            [{"auc": 0.7 + 0.01 * place + 0.001 * seed, "cold/auc": 0.6 + 0.02 * place} for seed in range(seeds)],
        )
        for place in range(count)
    ]


def test_a_point_of_recall_buys_what_it_bought() -> None:
    found = analyse(checkpoints(), [], ["auc", "cold/auc", "gauc"])
    rates = {rate.metric: rate for rate in found.rates["auc"]}
    assert rates[RECALL].slope.value == pytest.approx(0.1)
    assert (rates[RECALL].slope.low, rates[RECALL].slope.high) == pytest.approx((0.1, 0.1))
    assert rates["loss"].oriented == pytest.approx(1.0)
    assert rates["loss"].pearson.value == pytest.approx(-1.0)
    assert rates[RANK].oriented == pytest.approx(0.8)
    assert (
        found.rates["cold/auc"][0].slope.value == pytest.approx(0.2, rel=1e-6)
        or found.rates["cold/auc"][0].metric == "loss"
    )
    assert "gauc" not in found.rates
    assert found.constant == ["zero_shot/category_accuracy"]
    assert found.best == "steps-4"
    assert found.notes[0].startswith("5 checkpoints make rough intervals")


def test_lower_is_better_is_known_for_downstream_figures_too() -> None:
    ones = checkpoints()
    for one in ones:
        for figures in one.downstream:
            figures["logloss"] = 1.0 - figures["auc"]
    rates = {rate.metric: rate for rate in analyse(ones, [], ["logloss"]).rates["logloss"]}
    assert rates[RECALL].slope.value == pytest.approx(-0.1)
    assert rates[RECALL].oriented == pytest.approx(1.0)


def test_copies_of_one_checkpoint_are_refused() -> None:
    ones = [Checkpoint(f"copy-{n}", "given", "x", {RECALL: 0.3}, [{"auc": 0.7}]) for n in range(3)]
    with pytest.raises(DataError, match="the same metrics"):
        analyse(ones, [], ["auc"])


def test_a_figure_that_was_not_measured_is_refused_with_what_was() -> None:
    with pytest.raises(DataError, match="gave no hit_rate") as caught:
        analyse(checkpoints(), [], ["hit_rate"])
    assert "auc, cold/auc" in str(caught.value)


def test_counts_and_chance_are_no_candidates() -> None:
    for name in ("photo_to_product/num_queries", f"{RECALL}_chance", "auc_bayes", "something unknown"):
        assert direction(name) == ""
    assert (direction(RECALL), direction(RANK), direction("auc"), direction("cold/auc")) == (
        "higher",
        "lower",
        "higher",
        "higher",
    )


def test_gains_over_controls_are_paired_by_seed() -> None:
    """Seeds differ by .01, the gain of .05 does not: its interval has no width."""

    def record(name: str, **figures: float) -> tuple[str, Record]:
        return name, Record(
            name, "test", [], "", 1.0, {f"test/{key}": value for key, value in figures.items()} | {"other": 1}
        )

    towers = [Tower(name, "given", name, name) for name in ("a", "b", "c")]
    records = dict(
        [record(f"towers/{name}/test", loss=place) for place, name in enumerate("abc")]
        + [
            record(f"clicks/{name}/seed-{seed}/test", auc=0.7 + place / 100 + seed / 100)
            for place, name in enumerate("abc")
            for seed in range(2)
        ]
        + [record(f"clicks/control-none/seed-{seed}/test", auc=0.67 + seed / 100, gauc=0.6) for seed in range(2)]
    )
    found, (control,) = collect(towers, records, seeds=2, controls=["none"])
    assert [one.metrics for one in found] == [{"loss": 0.0}, {"loss": 1.0}, {"loss": 2.0}]
    assert set(control.gain) == {"auc"}
    assert (control.gain["auc"].value, control.gain["auc"].low, control.gain["auc"].high) == pytest.approx((0.05,) * 3)


def test_too_few_checkpoints_are_refused_before_any_time_is_spent(tmp_path: Path) -> None:
    _, products = shop_products(tmp_path)
    _, impressions = shop_impressions(tmp_path)
    clicks = Clicks(tmp_path, impressions, "mim/cube", {})
    with pytest.raises(UsageError, match="2 checkpoints; a slope needs at least 3"):
        plan(given(["a", "b"]), [], products, clicks, seeds=1, controls=[], modality="product", test_data=())


def test_a_checkpoint_named_twice_is_refused_and_equal_last_names_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a is named twice"):
        given(["a", "b", "a"])
    for run in ("first", "second"):
        (tmp_path / run / "best").mkdir(parents=True)
    names = [tower.name for tower in given([str(tmp_path / run / "best") for run in ("first", "second")])]
    assert len(set(names)) == 2


def test_picture_table_and_rows(tmp_path: Path) -> None:
    control = Control("none", [{"auc": 0.69, "cold/auc": 0.5}] * 2, {"auc": Interval(0.05, 0.04, 0.06)})
    found = analyse(checkpoints(), [control], ["auc", "cold/auc"])
    assert Image.open(draw_exchange_rate(found, tmp_path / "rate.png")).width > 1200
    rows = list(csv.reader(outcome.exchange_csv(found, tmp_path / "study.csv").open()))
    assert rows[0][:5] == ["checkpoint", "axis", "value", "seed", f"tower/{RECALL}"]
    assert len(rows) == 1 + 5 * 2 + 2
    assert rows[-1][0] == "none"
    heading, table = outcome.rate_rows(found.rates["auc"])
    assert dict(zip(heading, next(row for row in table if row[0] == RECALL)))["slope"] == "+0.00100"
    assert outcome.gain_lines(found, ["auc"]) == ["steps-4 over none: auc +0.0500 [+0.0400, +0.0600]"]
    json.dumps(found.as_json())


def test_a_single_seed_has_no_interval_of_its_mean() -> None:
    _, rows = outcome.checkpoint_rows(analyse(checkpoints(seeds=1), [], ["auc"]), RECALL, ["auc"])
    assert rows[-1][-1] == "0.7400"
    assert np.isfinite(float(rows[0][1]))
