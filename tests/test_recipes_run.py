"""Every recipe that trains is run for a step or two on tiny data, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moon_zoo import recipes
from moon_zoo.cli.main import main

SMALL_IMAGE = ["--model.image_size", "32", "--model.image_tower_options", "{channels: [8, 8, 8, 8], stem_width: 8}"]
SMALL_MOON = [
    *("--model.photo_size", "32", "--model.vocab_size", "300", "--model.backbone_options"),
    "{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 16, "
    "vision_config: {hidden_size: 16, depth: 1, num_heads: 2, intermediate_size: 16}}",
    *("--model.matryoshka", "[8]"),
]
SMALL_DREAM = [
    *SMALL_MOON[:6],
    *("--model.max_prompt_tokens", "160", "--model.observing_tokens", "200", "--model.generation_samples", "2"),
]
SMALL_FOLLOWUP = [
    *("--model.vocab_size", "300", "--model.generation_samples", "2", "--model.backbone_options"),
    "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 16}",
]
FAST = [
    "--data.num_workers",
    "0",
    "--data.batch_size",
    "4",
    "--trainer.max_epochs",
    "1",
    "--trainer.accelerator",
    "cpu",
]


def save_siglip(folder: Path) -> Path:
    """A SigLIP pair of a few thousand weights with its tokenizer, as the transformers library saves them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "red", "green", "blue", "mug", "shirt", "lamp", "number"]
    layers = {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    texts = {"vocab_size": len(words), "projection_size": 64, "max_position_embeddings": 64, "pad_token_id": 0}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = SiglipConfig(
        text_config=layers | texts | ends, vision_config=layers | {"image_size": 32, "patch_size": 16}
    )
    SiglipModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def save_qwen(folder: Path) -> Path:
    """A Qwen2.5-VL of a few thousand weights with its tokenizer, as the transformers library saves them."""
    import torch

    from moon_zoo.nn.multimodal.families import build_backbone
    from moon_zoo.nn.multimodal.plain import save_plain
    from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

    torch.manual_seed(0)
    tokenizer = MultimodalTokenizer.train(["red mug", "blue lamp", "green shirt number 1"], 300)
    numbers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {"hidden_size": 16, "depth": 1, "num_heads": 2, "intermediate_size": 16}
    model = build_backbone(
        options={**numbers, "intermediate_size": 16, "vision_config": vision},
        photo_size=32,
        vocab_size=300,
        special=tokenizer.special,
    )
    save_plain(model, folder, tokenizer=tokenizer)
    return folder


def save_lm(folder: Path, architecture: str) -> Path:
    """A language model of a few thousand weights with its tokenizer, as the transformers library saves them."""
    import torch
    from transformers import PreTrainedTokenizerFast

    from moon_zoo.nn.writing.lm import build_lm
    from moon_zoo.nn.writing.tokenizer import WritingTokenizer

    torch.manual_seed(0)
    tokenizer = WritingTokenizer.train(["red mug", "blue lamp", "green shirt number 1"], 300)
    numbers = {
        "causal": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 16,
        },
        "seq2seq": {"d_model": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16},
    }[architecture]
    lm = build_lm(architecture=architecture, options=numbers, vocab_size=300, pad_id=0, end_id=2)  # type: ignore[arg-type]
    lm.save_pretrained(folder)
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    words.save_pretrained(folder)
    return folder


MOON_ON_THE_SHOP = ("quickstart", "search", "parts", "pretraining", "post_training_1", "post_training_2")
MOON_ON_GROCERIES = ("grocery_pretraining", "grocery_post_training_1", "grocery")


@pytest.fixture
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, list[str]]:
    """Per recipe, the overrides that make it tiny."""
    products, searches, items, pairs = (
        str(request.getfixturevalue(name)) for name in ("product_set", "search_set", "item_set", "preference_set")
    )

    asked = str(request.getfixturevalue("follow_up_set"))

    def splits(queries: str) -> list[str]:
        return [word for split in ("train", "val") for word in (f"--data.{split}", queries)]

    shop = ["--data.num_products", "20"]
    clicks = [*shop, "--data.num_users", "20", "--data.num_impressions", "400", "--data.batch_size", "32"]
    content = ["--model.embeddings", str(request.getfixturevalue("shop_content"))]
    rows = str(request.getfixturevalue("impressions_set"))
    return {
        "mim/pretraining": [*SMALL_IMAGE, *shop, "--data.photo_px", "48"],
        "mim/c_sft": [*SMALL_IMAGE, *shop, "--data.photo_px", "48"],
        **{f"mim/{name}": [*clicks, *content] for name in ("cube", "ciubm", "sa_ta", "simtier", "make_content")},
        "mim/quickstart": [*clicks, *content],
        "mim/din": clicks,
        "mim/none": clicks,
        "mim/make": [*clicks, *content, "--model.make", str(tmp_path / "first")],
        "mim/base": [*splits(rows), "--model.embeddings", str(request.getfixturevalue("content_file"))],
        "mim/movielens": [*splits(rows), "--model.embeddings", str(request.getfixturevalue("content_file"))],
        "mim/movielens_ids": splits(rows),
        "mim/movielens_pretraining": [*SMALL_IMAGE, *splits(products)],
        "mim/movielens_c_sft": [*SMALL_IMAGE, *splits(searches), "--data.gallery", items],
        **{f"moon/{name}": [*SMALL_MOON, *shop, "--data.photo_px", "48"] for name in MOON_ON_THE_SHOP},
        **{f"moon/{name}": [*SMALL_MOON, *splits(searches), "--data.gallery", items] for name in MOON_ON_GROCERIES},
        "moon/base": [*SMALL_MOON, *splits(searches), "--model.micro_batch_size", "2"],
        "moon/qwen2_5_vl_3b": [
            *SMALL_MOON[:4],
            *("--model.backbone", str(save_qwen(tmp_path / "qwen")), "--model.moe_layers", "1"),
            *("--model.matryoshka", "[8]", "--model.max_tokens", "40", "--trainer.precision", "32-true"),
            *splits(searches),
        ],
        **{f"dream/{name}": [*SMALL_DREAM, *shop, "--data.photo_px", "48"] for name in ("instruction_tuning", "sft")},
        "dream/preference": [*SMALL_DREAM, *splits(pairs)],
        "dream/qwen2_5_vl_3b": [
            *("--model.photo_size", "32", "--model.backbone", str(save_qwen(tmp_path / "qwen"))),
            *(
                "--model.max_prompt_tokens",
                "160",
                "--trainer.precision",
                "32-true",
                "--trainer.accumulate_grad_batches",
                "1",
            ),
            *splits(pairs),
        ],
        "followup/quickstart": [*SMALL_FOLLOWUP, "--data.num_follow_ups", "60"],
        "followup/followupqg": [*SMALL_FOLLOWUP, *splits(asked)],
        **{
            f"followup/{name}": [
                *("--model.backbone", str(save_lm(tmp_path / name, architecture)), "--model.generation_samples", "2"),
                *("--trainer.precision", "32-true", "--trainer.accumulate_grad_batches", "1"),
                *splits(asked),
            ]
            for name, architecture in (("bart_large", "seq2seq"), ("qwen2_5_3b", "causal"))
        },
        "dual_flow/quickstart": [*SMALL_IMAGE, "--data.num_products", "20", "--data.photo_px", "48"],
        "dual_flow/search": [*SMALL_IMAGE, *shop, "--data.photo_px", "48"],
        "dual_flow/grocery": [*SMALL_IMAGE, *splits(searches), "--data.gallery", items],
        "dual_flow/base": ["--model.image_tower", "resnet10t", *SMALL_IMAGE, *splits(products)],
        "dual_flow/siglip_b16": [
            *("--model.image_tower", "test_vit", "--model.image_tower_options", "{img_size: 32}"),
            *("--model.image_pretrained", "false", "--model.image_size", "32", "--model.micro_batch_size", "2"),
            *("--model.text_tower", str(save_siglip(tmp_path / "text")), "--model.embedding_dim", "64"),
            *splits(products),
        ],
    }


@pytest.fixture
def shop_content(tmp_path: Path) -> Path:
    """What the simulation itself knows of the items of the tiny shop."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from moon_zoo.shop.datamodule import ShopDataModule
    from moon_zoo.shop.impressions import true_content

    ids, vectors = true_content(
        ShopDataModule(kind="impressions", num_products=20, num_users=20, num_impressions=400).plan
    )
    pq.write_table(pa.table({"item_id": ids, "vector": vectors.tolist()}), tmp_path / "content.parquet")
    return tmp_path / "content.parquet"


FIRST_STEPS = {"mim/make": "mim/make_content"}
"""Recipe to the one whose run it begins with, which is at ``tmp_path / "first"``."""


def trained_recipes() -> list[str]:
    return [
        name
        for name in sorted(recipes.shipped())
        if not name.startswith("accelerators/")
        and "/ablations/" not in name
        and "align" not in recipes.load_recipe(name)
    ]


def ablations() -> list[str]:
    return [name for name in sorted(recipes.shipped()) if "/ablations/" in name]


@pytest.mark.parametrize("name", trained_recipes())
def test_recipe_trains_and_validates(name: str, tiny: dict[str, list[str]], tmp_path: Path) -> None:
    assert name in tiny, "a new recipe needs a line in this test"
    run = tmp_path / "run"
    always = ["--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "2"]
    if name in FIRST_STEPS:
        first = FIRST_STEPS[name]
        assert main(["fit", "--config", first, "--run", str(tmp_path / "first"), "--quiet", *FAST, *tiny[first]]) == 0
    assert main(["fit", "--config", name, "--run", str(run), "--quiet", *FAST, *tiny[name], *always]) == 0
    figures = json.loads((run / "metrics.json").read_text("utf-8"))
    if name.startswith(("dream/", "followup/")):
        assert 0 < figures["val/loss"] < 100
    else:
        assert 0 <= figures.get("val/auc", figures.get("val/photo_to_product/recall@1", -1)) <= 1


@pytest.mark.parametrize("overlay", ablations())
def test_ablation_changes_what_it_names_and_nothing_is_refused(overlay: str, tiny: dict[str, list[str]]) -> None:
    base = "moon/post_training_2"
    assert main(["check", "--config", base, "--config", overlay, *FAST, *tiny[base]]) == 0


@pytest.mark.parametrize(
    ("name", "alone"), [("moon/post_training_2", "query_to_product"), ("moon/grocery", "photo_to_product")]
)
def test_last_stage_trains_on_its_own_combination_alone(name: str, alone: str) -> None:
    init_args = recipes.load_recipe(name)["model"]["init_args"]
    assert init_args["combinations"] == {alone: 1} and init_args["loss"] == "circle"
