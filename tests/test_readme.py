"""The commands of README and of the models' cards, run one after another as a reader would, on tiny data."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from moon_zoo import recipes
from moon_zoo.cli.main import main
from tests.conftest import draw_photo

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "src/moon_zoo/models").glob("*/README.md"))]

TINY_TOWERS = "--model.image_size 32 --model.image_tower_options '{channels: [8, 8, 8, 8], stem_width: 8}'"
TINY_SHOP = "--data.num_products 40 --data.photo_px 48"
TINY_MOON = (
    "--model.photo_size 32 --model.backbone_options '{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
    "num_key_value_heads: 1, intermediate_size: 16, vision_config: {hidden_size: 16, depth: 1, num_heads: 2, "
    "intermediate_size: 16}}' --model.vocab_size 300 --model.matryoshka [8]"
)
TINY_DREAM = f"{TINY_MOON.removesuffix(' --model.matryoshka [8]')} --model.max_prompt_tokens 160"
TINY_FOLLOWUP = (
    "--model.vocab_size 300 --model.generation_samples 2 --model.backbone_options '{hidden_size: 16, num_hidden_layers: 1, "
    "num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 16}' --data.num_follow_ups 120"
)
TINY_CLICKS = "--data.num_products 40 --data.num_users 20 --data.num_impressions 400"
TINY = {
    "dual_flow/quickstart": f"{TINY_TOWERS} {TINY_SHOP}",
    "dream/instruction_tuning": f"{TINY_DREAM} {TINY_SHOP}",
    "dream/sft": f"{TINY_DREAM} {TINY_SHOP} --model.observing_tokens 200",
    "followup/quickstart": TINY_FOLLOWUP,
    "mim/pretraining": f"{TINY_TOWERS} {TINY_SHOP}",
    "mim/c_sft": f"{TINY_TOWERS} {TINY_SHOP}",
    "mim/cube": TINY_CLICKS,
    **{
        f"moon/{name}": f"{TINY_MOON} {TINY_SHOP}"
        for name in ("quickstart", "search", "pretraining", "post_training_1", "post_training_2")
    },
    "my.yaml": f"{TINY_TOWERS} --model.image_tower resnet10t --model.queue_size 0",
}
"""Recipe to what makes it tiny."""
SHORT = (
    "--data.batch_size 4 --data.num_workers 0 --trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 "
    "--trainer.limit_train_batches 2 --quiet"
)
CLICK_COLUMNS = ("user_id", "age_group", "item_id", "category", "brand", "query_item_id", "device", "hour", "price")


def commands(page: Path) -> list[str]:
    """Lines of the page's bash blocks that call moon-zoo, without comments, continued lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.startswith("moon-zoo ")]


@pytest.fixture
def shop_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of products and their photos, to stand in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with (tmp_path / "products.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "title", "category", "photo"])
        for number in range(60):
            (tmp_path / "photos" / f"{number}.jpg").write_bytes(draw_photo(number))
            table.writerow([f"{number:05d}", f"mug number {number}", "home > mug", f"{number}.jpg"])
    with (tmp_path / "clicks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["user_id", "item_id", "click", "timestamp"])
        table.writerows([f"u{row % 7}", f"{row * 13 % 60:05d}", row % 3 == 0, row] for row in range(200))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(CLICK_COLUMNS)
        rest = ["18-24", "spu-000001-0", "home", "any", "spu-000002-0", "app", "12", "9.5"]
        table.writerows([f"u{row}", *rest] for row in range(3))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_commands_of_the_page_run_in_order(page: Path, shop_owner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(page)
    assert len(found) >= 3
    for command in found:
        words = shlex.split(command)[1:]
        if words[0] in ("inspect", "fit", "embed", "search", "predict") and "mine" in command:
            continue  # tests/test_five_commands.py and tests/models/mim run them
        if words[0] == "study" or (words[0] == "align" and "--config" in words):
            words += ["--dry-run"]  # tests/studies and tests/alignment run them
        if words[:2] == ["pack", "shop"]:
            words += shlex.split("--num-products 40 --photo-px 48")
        if words[0] == "fit" and "accelerators/gpu" in words:
            assert recipes.load("accelerators/gpu").values["trainer"]["accelerator"] == "gpu"
            continue  # needs one
        if words[0] == "check":
            words += ["--data.batch_size", "4"]
        if words[0] == "test" and "shop" in words:
            words += shlex.split(TINY_SHOP)
        if words[0] == "publish":
            words += shlex.split("--trainer.limit_test_batches 1")
        if words[0] == "fit":
            config = words[words.index("--config") + 1]
            words += shlex.split(TINY.get(config, TINY_TOWERS)) + shlex.split(SHORT)
        code = main(words)
        assert code == 0, f"{command}\n{capsys.readouterr().err}"


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in [*PAGES, ROOT / "benchmarks/README.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_make_targets_named_on_the_page_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make (\w+)", (ROOT / "README.md").read_text("utf-8")):
        if target in ("quickstart", "test", "bench"):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
