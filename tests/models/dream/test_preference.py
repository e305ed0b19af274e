"""The stage of preferences: its loss against plain float64, the three references, and what a fit does with them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from moon_zoo import ZooModule
from moon_zoo.cli.main import main
from moon_zoo.data.reading import IndexedShards
from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.models.dream.module import Dream
from moon_zoo.models.dream.objectives import PreferenceObjective, pair_figures
from moon_zoo.models.dream.reference import AdapterOff, Cached, FrozenCopy, made_by, reference_log_probabilities
from moon_zoo.nn.multimodal.sequence import Sequence
from tests.models.dream.tiny import assert_same, assistant, batch_of, fit, weights, write_recipe

ROWS = range(8)
"""Of which row 6 has answers of very unequal length, and rows 3 and 7 no image."""


def pairs_module(seed: int = 0, **options: Any) -> Dream:
    return assistant(seed, stage="preference", **options)


def alone(module: Dream, batch: dict[str, Tensor], row: int, answer: int) -> Tensor:
    """One answer to one prompt, in a sequence of its own without pads: all logits, ``log_softmax``, summed."""
    backbone = module.network.backbone
    prompt = batch["prompt_token_ids"][row][batch["prompt_token_mask"][row]]
    words = batch["completion_ids"][row, answer][batch["completion_mask"][row, answer]]
    ids = torch.cat([prompt, words])[None]
    there = torch.ones_like(ids).bool()
    whole = Sequence(ids, there, there.long() * 2, batch["photos"][row : row + 1], batch["photo_mask"][row : row + 1])
    scores = backbone.logits(backbone(whole, "causal")).log_softmax(-1)[0, len(prompt) - 1 : -1]
    return scores.gather(1, words[:, None]).sum()


def by_hand(policy: Dream, reference: Dream, batch: dict[str, Tensor], kind: str) -> Tensor:
    """Row by row in float64; row 6 is left out by the length filter."""
    losses = []
    for row in [row for row in ROWS if row != 6]:
        chosen, rejected = alone(policy, batch, row, 0), alone(policy, batch, row, 1)
        with torch.no_grad():
            known = alone(reference, batch, row, 0), alone(reference, batch, row, 1)
        good, bad = (int(batch["completion_mask"][row, answer].sum()) for answer in (0, 1))
        if kind == "ipo":
            ratio = (chosen - known[0]) / good - (rejected - known[1]) / bad
            loss = (ratio - 1 / (2 * 0.3)) ** 2
        else:
            ratio = (chosen - known[0]) - (rejected - known[1])
            loss = -F.logsigmoid(0.3 * ratio)
            if kind == "mpo":
                further = -F.logsigmoid(0.3 * (chosen - known[0])) - F.logsigmoid(-0.3 * (rejected - known[1]))
                loss = 0.8 * loss + 0.2 * further - chosen / good
        losses.append(loss + 0.25 * -chosen / good)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("kind", ["dpo", "ipo", "mpo"])
def test_loss_and_gradients_are_those_of_a_plain_float64_implementation(kind: str) -> None:
    """The policy's answers share their prompt's reading in float32; the twin's are read one by one in float64."""
    policy = pairs_module(1, loss=kind, beta=0.3, nll_anchor=0.25)
    reference = pairs_module(2)
    batch = batch_of(policy, ROWS)
    lengths = batch["completion_mask"].sum(-1).float()
    assert ((lengths[:, 0] / lengths[:, 1]).log().abs() > torch.tensor(3.0).log()).tolist() == [
        row == 6 for row in ROWS
    ]
    with torch.no_grad():
        known = reference(batch)
    loss, _ = policy.objective(policy(batch), known, batch["completion_mask"], batch["valid"])
    loss.backward()
    twin, held = pairs_module(1).double(), pairs_module(2).double()
    expected = by_hand(twin, held, batch, kind)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    exact = dict(twin.named_parameters())
    compared = 0
    for name, weight in policy.named_parameters():
        if weight.grad is not None:
            assert exact[name].grad is not None
            torch.testing.assert_close(
                weight.grad.double(), exact[name].grad, rtol=1e-3, atol=1e-5, msg=f"{name} differs"
            )
            compared += 1
    assert compared > 20


def test_figures_of_a_batch_tell_margin_accuracy_lengths_and_what_was_dropped() -> None:
    policy = pairs_module(1)
    batch = batch_of(policy, ROWS)
    batch["valid"][7] = False
    found = policy(batch).detach()
    _, sums = policy.objective(found, found + torch.tensor([1.0, -1.0]), batch["completion_mask"], batch["valid"])
    figures = {name: float(value) for name, value in pair_figures(sums).items()}
    kept = [row for row in ROWS if row not in (6, 7)]
    assert figures["preference/pairs"] == 6 and figures["preference/dropped"] == pytest.approx(1 / 7)
    assert figures["preference/margin"] == pytest.approx(0.1 * -2) and figures["preference/accuracy"] == 0
    assert figures["preference/kl"] == pytest.approx(0.0, abs=1e-6)
    assert figures["preference/chosen_log_probability"] == pytest.approx(found[kept, 0].mean().item(), abs=1e-4)
    lengths = batch["completion_mask"][kept].sum(-1).float().mean(0)
    assert [figures["preference/chosen_tokens"], figures["preference/rejected_tokens"]] == pytest.approx(
        lengths.tolist()
    )


def test_the_shift_of_mpo_is_the_mean_of_past_rewards() -> None:
    objective = PreferenceObjective("mpo", beta=0.5, length_filter=None)
    mask, valid = torch.ones(2, 2, 3, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    policy, reference = torch.tensor([[-3.0, -4.0], [-5.0, -1.0]]), torch.tensor([[-4.0, -4.0], [-4.0, -4.0]])
    _, sums = objective(policy, reference, mask, valid)
    objective.remember(sums)
    assert (objective.reward_sums[0] / objective.reward_sums[1]).item() == pytest.approx(0.5 * (1 + 0 - 1 + 3) / 4)
    first, _ = PreferenceObjective("mpo", beta=0.5)(policy, reference, mask, valid)
    assert objective(policy, reference, mask, valid)[0].item() != pytest.approx(first.item())


def test_settings_out_of_range_are_refused_by_name() -> None:
    for options, said in (
        ({"beta": 0.0}, "beta"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"length_filter": 0.5}, "length_filter"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing"),
        ({"reference": "adapter"}, "lora"),
    ):
        with pytest.raises(RecipeError) as refused:
            pairs_module(**options)  # type: ignore[arg-type]
        assert f"model.init_args.{said}" in str(refused.value)


# References


def test_cached_copied_and_adapter_free_references_are_those_computed_at_once(
    preference_set: Path, tmp_path: Path
) -> None:
    module = pairs_module(lora={"rank": 2, "targets": ["q_proj", "v_proj"]})
    batch = batch_of(module, range(23))
    expected = module(batch).detach()
    table = reference_log_probabilities(module, IndexedShards(preference_set), folder=tmp_path, batch_size=7)
    held: dict[str, Any] = {
        "cache": Cached({"train": table}),
        "copy": FrozenCopy(module.network),
        "adapter": AdapterOff(),
    }
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert not torch.allclose(module(batch), expected)
    for name, reference in held.items():
        found = reference(module.network, batch, "train")
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, msg=f"{name} differs")
        assert not found.requires_grad
    assert held["cache"](module.network, batch, "val") is None


def test_a_cache_that_was_killed_in_the_making_is_gone_on_with(preference_set: Path, tmp_path: Path) -> None:
    module, shards = pairs_module(), IndexedShards(preference_set)
    whole = reference_log_probabilities(module, shards, folder=tmp_path)
    parts = sorted(tmp_path.rglob("part-*.parquet"))
    assert len(parts) == 3
    before = parts[0].stat().st_mtime_ns
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:50])  # as after a full disk
    again = reference_log_probabilities(module, shards, folder=tmp_path)
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-6)
    assert parts[0].stat().st_mtime_ns == before and parts[1].is_file()


def test_a_cache_of_another_model_tokenizer_or_setting_is_refused_by_fingerprint(
    preference_set: Path, tmp_path: Path
) -> None:
    shards = IndexedShards(preference_set)
    reference_log_probabilities(pairs_module(), shards, folder=tmp_path)
    other_words = pairs_module()
    other_words.inputs._tokenizer = type(other_words.inputs.tokenizer).train(["quite other words"], 290)
    for module, said in (
        (pairs_module(seed=1), "the weights of the reference"),
        (other_words, "the tokenizer"),
        (pairs_module(system="be kind"), "settings of the inputs"),
    ):
        with pytest.raises(CheckpointError, match=said) as refused:
            reference_log_probabilities(module, shards, folder=tmp_path)
        assert "model.init_args.reference_cache" in str(refused.value)
    with pytest.raises(CheckpointError, match="the precision: 32-true there, bf16-mixed here"):
        reference_log_probabilities(pairs_module(), shards, folder=tmp_path, made=made_by(pairs_module(), "bf16-mixed"))


def test_the_zoos_own_cache_keeps_references_apart(preference_set: Path) -> None:
    shards = IndexedShards(preference_set)
    first, second = (reference_log_probabilities(pairs_module(seed), shards) for seed in (0, 1))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(reference_log_probabilities(pairs_module(), shards, may_compute=False), first)


# Fits


@pytest.fixture(scope="module")
def recipe(preference_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes") / "pairs.yaml", preference_set, stage="preference")


def test_training_with_a_cache_ends_where_training_with_a_frozen_copy_does(recipe: Path, tmp_path: Path) -> None:
    assert fit(recipe, tmp_path / "cache") == 0
    assert fit(recipe, tmp_path / "copy", "--model.reference", "copy") == 0
    assert_same(weights(tmp_path / "cache"), weights(tmp_path / "copy"), atol=1e-5)
    figures = json.loads((tmp_path / "cache" / "metrics.json").read_text("utf-8"))
    assert figures["val/preference/accuracy"] > 0.5 and figures["val/preference/margin"] > 0
    assert figures["val/preference/dropped"] == pytest.approx(3 / 23)
    assert not any("reference" in name for name in weights(tmp_path / "copy"))


@pytest.mark.parametrize("reference", ["cache", "copy"])
def test_a_resumed_training_is_held_to_the_reference_it_began_with(
    reference: str, recipe: Path, tmp_path: Path
) -> None:
    words = ["--model.reference", reference]
    assert fit(recipe, tmp_path / "whole", *words, "--trainer.max_steps", 4) == 0
    assert fit(recipe, tmp_path / "half", *words) == 0
    resumed = ["fit", "--run", str(tmp_path / "half"), "--resume", "--quiet", "--trainer.max_steps", "4"]
    assert main(resumed) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "half"))


def test_a_resumed_training_whose_reference_is_gone_is_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    words = ["--model.reference_cache", kept, "--trainer.max_steps", 1]
    assert fit(recipe, tmp_path / "run", *words) == 0
    for part in kept.rglob("part-*.parquet"):
        part.unlink()
    capsys.readouterr()
    resumed = ["fit", "--run", str(tmp_path / "run"), "--resume", "--quiet", "--trainer.max_steps", "3"]
    assert main(resumed) == 2
    assert "the policy moved on" in capsys.readouterr().err


def test_validation_of_a_run_repeats_its_figures_and_without_reference_gives_the_others(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    assert fit(recipe, tmp_path / "run", "--model.reference_cache", kept) == 0
    capsys.readouterr()
    assert main(["validate", "--run", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    first = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert again["val/loss"] == pytest.approx(first["val/loss"], abs=1e-6)
    saved = ZooModule.from_pretrained(tmp_path / "run").save_pretrained(tmp_path / "saved")
    words = ["--data.val", str(json.loads(json.dumps(_shards_of(tmp_path / "run")))), "--json", "--quiet"]
    assert main(["validate", "--ckpt_path", str(saved), *words]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert "val/preference/margin" not in alone and "val/loss" not in alone
    name = "val/preference/chosen_log_probability"
    assert alone[name] == pytest.approx(first[name], abs=1e-4)


def _shards_of(run: Path) -> str:
    import yaml

    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    return str(config["data"]["init_args"]["val"])


def test_a_second_fit_of_the_same_object_is_held_to_where_it_begins(preference_set: Path, tmp_path: Path) -> None:
    import lightning as L

    from moon_zoo.data.datamodule import ShardDataModule

    module = pairs_module(reference="copy")
    held = []
    for number in range(2):
        data = ShardDataModule(train=str(preference_set), batch_size=8, num_workers=0)
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        root = tmp_path / str(number)
        trainer = L.Trainer(max_steps=1, accelerator="cpu", default_root_dir=root, enable_checkpointing=False, **quiet)
        begun = module.fingerprint()
        trainer.fit(module, data)
        assert module._made is not None and module._made.model == begun
        held.append(begun)
    assert held[0] != held[1]


def test_a_set_of_instructions_has_no_pairs_to_learn_from(
    recipe: Path, instruction_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.init_args.train", instruction_set, "--data.init_args.val", instruction_set]
    assert fit(recipe, tmp_path / "run", *words) == 2
    assert "pairs of answers, and these are of kind instruction" in capsys.readouterr().err


def test_fine_tuned_weights_go_on_to_preferences_and_get_adapters(
    recipe: Path, instruction_set: Path, tmp_path: Path
) -> None:
    sft = write_recipe(tmp_path / "sft.yaml", instruction_set, steps=1)
    assert fit(sft, tmp_path / "sft") == 0
    words = ["--ckpt_path", tmp_path / "sft", "--allow_missing"]
    assert fit(recipe, tmp_path / "pairs", *words) == 0
    begun = ZooModule.from_pretrained(tmp_path / "sft")
    ended = ZooModule.from_pretrained(tmp_path / "pairs")
    assert isinstance(begun, Dream) and isinstance(ended, Dream)
    assert ended.inputs.tokenizer_fingerprint() == begun.inputs.tokenizer_fingerprint()
    lora = ["--model.lora", "{rank: 2}", "--model.reference", "adapter"]
    assert fit(recipe, tmp_path / "adapted", *words, *lora) == 0
    base = {
        name.replace(".base_layer.", "."): value
        for name, value in weights(tmp_path / "adapted").items()
        if "lora_" not in name and "reward" not in name
    }
    first = {name: value for name, value in weights(tmp_path / "sft").items() if "reward" not in name}
    assert_same(first, base, atol=0.0)


def test_gradient_checkpointing_and_bfloat16_train_and_stay_near(recipe: Path, tmp_path: Path) -> None:
    assert fit(recipe, tmp_path / "plain") == 0
    assert fit(recipe, tmp_path / "again", "--model.gradient_checkpointing", "true") == 0
    assert_same(weights(tmp_path / "plain"), weights(tmp_path / "again"))
    assert fit(recipe, tmp_path / "half", "--trainer.precision", "bf16-mixed") == 0
    figures = [json.loads((tmp_path / name / "metrics.json").read_text("utf-8")) for name in ("plain", "half")]
    assert figures[1]["val/loss"] == pytest.approx(figures[0]["val/loss"], abs=0.05)


def test_answers_that_were_cut_are_told_once(recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert fit(recipe, tmp_path / "run", "--model.max_answer_tokens", 8, "--trainer.max_steps", 1) == 0
    told = [record.getMessage() for record in caplog.records if "max_answer_tokens" in record.getMessage()]
    assert any(message.startswith("val: of 46 answers") for message in told)
