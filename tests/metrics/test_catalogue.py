"""Every figure has a unit, a direction and a meaning, found by its logged key."""

from __future__ import annotations

import pytest
import torch

from moon_zoo.metrics.bank import EmbeddingBank, retrieval_figures
from moon_zoo.metrics.catalogue import (
    TASKS,
    MetricInfo,
    describe,
    find,
    known_metrics,
    markdown_table,
    register,
    sort_keys,
)


@pytest.mark.parametrize(
    ("key", "pattern", "direction", "unit"),
    [
        ("val/photo_to_product/recall@10", "{task}/recall@{k}", "higher", "fraction"),
        ("val/photo_to_product/recall@10_chance", "{task}/recall@{k}_chance", "", "fraction"),
        ("test/photo_to_text/median_rank", "{task}/median_rank", "lower", "rank"),
        ("text_to_product/mrr", "{task}/mrr", "higher", "fraction"),
        (
            "val/zero_shot/attribute_accuracy/sleeve length",
            "zero_shot/attribute_accuracy/{attribute}",
            "higher",
            "fraction",
        ),
        (
            "val/zero_shot/attribute_accuracy/colour_chance",
            "zero_shot/attribute_accuracy/{attribute}_chance",
            "",
            "fraction",
        ),
        ("train/loss_step", "loss", "lower", "nats"),
        ("train/photo_to_photo", "{objective}", "lower", "nats"),
    ],
)
def test_a_logged_key_finds_its_meaning(key: str, pattern: str, direction: str, unit: str) -> None:
    info = describe(key)
    assert (info.pattern, info.direction, info.unit) == (pattern, direction, unit)


def test_an_unknown_key_has_no_meaning_but_a_likely_direction() -> None:
    assert find("val/blueness") is None
    assert describe("val/blueness").direction == "higher"
    assert describe("val/some_loss").mode == "min"
    assert find("val/photo_to_nowhere/mrr") is None


def test_every_figure_that_is_computed_is_in_the_catalogue_and_in_range() -> None:
    bank = EmbeddingBank()
    rows = torch.nn.functional.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    bank.update(rows, torch.arange(12), torch.arange(12) // 2)
    for task in TASKS:
        for key, value in retrieval_figures(task, bank.compute(), bank.compute(), pass_over_own_item=True).items():
            info = find(f"val/{key}")
            assert info is not None, key
            assert info.low is None or value >= info.low - 1e-12, key
            assert info.high is None or value <= info.high + 1e-12, key


def test_a_model_can_add_figures_once() -> None:
    info = MetricInfo("ctr/auc_for_the_test", "fraction", "higher", "Area under the ROC curve.", 0.0, 1.0)
    register(info, info)
    assert describe("val/ctr/auc_for_the_test") is info
    with pytest.raises(ValueError, match="ctr/auc_for_the_test is already registered"):
        register(MetricInfo("ctr/auc_for_the_test", "rank", "lower", "Something else."))


def test_keys_are_sorted_by_split_task_and_cut_off() -> None:
    keys = ["val/zzz", "val/photo_to_text/mrr", "val/photo_to_product/recall@10", "val/photo_to_product/recall@5"]
    assert sort_keys([*keys, "train/loss"]) == [
        "train/loss",
        "val/photo_to_product/recall@5",
        "val/photo_to_product/recall@10",
        "val/photo_to_text/mrr",
        "val/zzz",
    ]


def test_the_table_for_the_documentation_has_every_figure() -> None:
    table = markdown_table()
    assert all(f"| `{info.pattern}` |" in table for info in known_metrics())
