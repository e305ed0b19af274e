"""Memory of a step on the meta device: counts by hand, the same as of real tensors, and what check tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moon_zoo import recipes
from moon_zoo.cli import checks, dry_run
from moon_zoo.cli.main import main
from moon_zoo.cli.memory import LiveMemory, measure_step, optimizer_bytes, size_of


def test_live_bytes_rise_and_fall_with_the_tensors() -> None:
    live = LiveMemory()
    with live:
        first = torch.empty(100, device="meta")
        second = first.view(10, 10)  # the same storage
        third = torch.empty(50, dtype=torch.bfloat16, device="meta")
        assert live.current == 400 + 100
        del first
        assert live.current == 500  # `second` still looks at it
        del second, third
    assert (live.current, live.peak) == (0, 500)


def test_what_is_kept_for_the_backward_pass_by_hand() -> None:
    """sin keeps its input, which was there before; cos keeps sin's output, 4000 bytes; the loss is a number of 4."""
    x = torch.empty(1000, device="meta", requires_grad=True)
    kept, peak = measure_step([x], lambda: x.sin().cos().sum())
    assert kept == 4000 + 4
    # backward: sin's output, its sine, the negative of that and their product with the gradient; two numbers
    assert 8004 < peak <= 4 * 4000 + 8


def network(device: str, *, checkpointed: bool = False) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    with torch.device(device):
        blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32)) for _ in range(4)
        )
        x = torch.zeros(64, 32)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = blocks

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = x + (checkpoint(block, x, use_reentrant=False) if checkpointed else block(x))
            return x.square().mean()

    return Net(), x


def measured(device: str, *, checkpointed: bool = False, autocast: torch.dtype | None = None) -> tuple[int, int]:
    net, x = network(device, checkpointed=checkpointed)
    return measure_step([*net.parameters(), x], lambda: net(x), autocast=autocast)


def test_meta_tensors_are_counted_as_real_ones_are() -> None:
    assert measured("meta") == measured("cpu")


def test_checkpointing_keeps_less() -> None:
    plain, checkpointed = measured("meta"), measured("meta", checkpointed=True)
    assert checkpointed[0] < plain[0] / 3
    assert checkpointed[1] < plain[1]


def test_mixed_precision_keeps_linear_layers_inputs_in_half_the_bytes() -> None:
    """One linear layer: the input's 16-bit copy (8 x 4), and the loss. The weight's copy only serves the input's gradient."""
    layer = nn.Linear(4, 4, bias=False, device="meta")
    x = torch.empty(8, 4, device="meta")
    kept, _ = measure_step([layer.weight, x], lambda: layer(x).sum(), autocast=torch.bfloat16)
    assert kept == 8 * 4 * 2 + 2
    x.requires_grad_()
    kept, _ = measure_step([layer.weight, x], lambda: layer(x).sum(), autocast=torch.bfloat16)
    assert kept == 8 * 4 * 2 + 4 * 4 * 2 + 2
    assert measured("meta", autocast=torch.bfloat16)[0] < measured("meta")[0]


def test_optimisers_states_are_counted() -> None:
    net, _ = network("meta")
    weights = size_of(net.parameters())
    steps = 4 * len(list(net.parameters()))  # a float32 per parameter
    assert optimizer_bytes(torch.optim.AdamW(net.parameters(), fused=True)) in (2 * weights, 2 * weights + steps)
    assert optimizer_bytes(torch.optim.SGD(net.parameters(), momentum=0.9)) == weights
    assert optimizer_bytes(torch.optim.SGD(net.parameters())) == 0


# check -----------------------------------------------------------------------------------------------------------------

DUAL_FLOW = """\
model:
  class_path: dual_flow
  init_args:
    image_tower: resnet10t
    image_tower_options: {channels: [8, 8, 16, 16]}
    image_size: 32
    text_tower_options: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}
    vocab_size: 128
    embedding_dim: 16
    queue_size: 64
data:
  class_path: shop
  init_args: {kind: search, num_products: 100, batch_size: 8}
trainer: {max_epochs: 1, accelerator: cpu}
"""


def estimate(text: str, tmp_path: Path, **options: Any) -> dry_run.Estimate:
    (tmp_path / "r.yaml").write_text(text)
    found = checks.check(recipes.load(str(tmp_path / "r.yaml")), **options)
    assert found.faults == []
    assert found.estimate is not None
    return found.estimate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOON_ZOO_CACHE", str(tmp_path / "cache"))


def test_a_model_is_taken_through_a_step_without_its_data(tmp_path: Path) -> None:
    found = estimate(DUAL_FLOW, tmp_path, compare=True)
    assert not (tmp_path / "cache").exists()  # nothing was drawn
    assert found.weights_bytes > 4 * found.parameters  # buffers too
    assert found.gradients_bytes == 4 * found.trained
    assert 2 * found.gradients_bytes <= found.optimizer_bytes <= 2.2 * found.gradients_bytes
    as_is, cached = found.variants
    assert (as_is.settings, cached.settings) == ({}, {"micro_batch_size": 2})
    assert cached.kept_bytes < as_is.kept_bytes
    assert as_is.peak_bytes > found.weights_bytes + found.optimizer_bytes + as_is.kept_bytes


def test_devices_that_share_weights_need_less_each(tmp_path: Path) -> None:
    one = estimate(DUAL_FLOW, tmp_path)
    trainer = "trainer: {max_epochs: 1, accelerator: cpu, devices: 4, strategy: %s}\n"
    text = DUAL_FLOW.rpartition("trainer:")[0]
    copied, shared = (estimate(text + trainer % strategy, tmp_path) for strategy in ("ddp", "fsdp"))
    assert (copied.sharded, shared.sharded) == (False, True)
    assert copied.gradients_bytes == 2 * one.gradients_bytes  # buckets
    assert shared.optimizer_bytes == pytest.approx(one.optimizer_bytes / 4, abs=4)
    assert shared.peak_bytes < one.peak_bytes < copied.peak_bytes


def test_a_device_that_is_too_small_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text(DUAL_FLOW)
    words = ["check", "--config", str(tmp_path / "r.yaml"), "--device-memory", "0.0005"]
    assert main([*words, "--compare", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    (fault,) = found["faults"]
    assert "the device has 0.5 MiB" in fault["what"]
    assert "data.init_args.batch_size to less" in fault["change"]
    assert found["estimate"]["device_bytes"] == int(0.0005 * 2**30)
    assert main([*words[:-1], "0"]) == 2
    assert "--device-memory is 0" in capsys.readouterr().err


def test_a_step_that_fails_is_a_fault_of_the_settings(recipe: Path, here: Path) -> None:
    loaded = recipes.load(str(recipe))
    loaded.tree = recipes.override(loaded.tree, "model.width", "3")  # the inputs give four numbers
    (fault,) = checks.faults(loaded)
    assert fault.what.startswith("a training step of TinyModel fails: ")


def test_clicks_are_measured_with_their_own_columns_or_not_at_all(tmp_path: Path) -> None:
    text = """\
model:
  class_path: mim
  init_args: {behaviour: none}
data:
  class_path: shards
  init_args: {train: %s, batch_size: 64, num_workers: 0}
trainer: {max_epochs: 1, accelerator: cpu}
"""
    shards = tmp_path / "clicks"
    words = ["pack", "shop", "--kind", "impressions", "--num-products", "40", "--num-users", "20"]
    assert main([*words, "--num-impressions", "1200", "--to", str(shards)]) == 0
    found = estimate(text % (shards / "train"), tmp_path)
    assert found.parts["embeddings"] > 0
    (tmp_path / "r.yaml").write_text(text % (tmp_path / "nowhere"))
    missing = checks.check(recipes.load(str(tmp_path / "r.yaml")))
    assert [fault.what for fault in missing.faults] == [f"{tmp_path}/nowhere does not exist"]
    assert missing.estimate is None
    assert missing.not_measured is not None
    assert missing.not_measured.startswith("the model's size depends on its data")


def test_a_published_multimodal_model_needs_neither_network_nor_weights(tmp_path: Path) -> None:
    """Qwen2.5-VL-3B's own width with few layers, hard guidance, GradCache and checkpointing."""
    text = """\
model:
  class_path: moon
  init_args:
    backbone: Qwen/Qwen2.5-VL-3B-Instruct
    backbone_options: {num_hidden_layers: 2, vision_config: {depth: 2, fullatt_block_indexes: [1]}}
    photo_size: 112
    moe_layers: 1
    micro_batch_size: 2
    gradient_checkpointing: true
data:
  class_path: shop
  init_args: {kind: search, num_products: 100, batch_size: 8}
trainer: {max_epochs: 1, accelerator: cpu, precision: bf16-true}
"""
    found = estimate(text, tmp_path)
    assert found.weights_bytes == pytest.approx(2 * found.parameters, rel=0.01)
    assert found.parts["photos"] + found.parts["language"] == found.parameters - (1 if found.trained else 0)
    assert found.parts["in layers' experts"] > 4 * 3 * 2048 * 11008  # four experts of three matrices
    assert found.notes == ["a step was taken with 4 of 8 samples: micro-batches of 2 take no more"]
