"""The model still writes after every stage: pretraining, both post-trainings, saved and loaded, its networks become experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.kinds import Product
from moon_zoo.data.reading import IndexedShards
from moon_zoo.models.base import ZooModule
from moon_zoo.models.moon.module import Moon
from moon_zoo.models.moon.tasks import read_attributes, read_category
from moon_zoo.models.pretrained import load_into
from moon_zoo.nn.moe.install import moe_modules
from tests.models.moon.writer import PHOTO_SIZE, TINY, make_inputs, shared_folder, trained, unseen

SETTINGS: dict[str, Any] = {
    "backbone_options": TINY,
    "photo_size": PHOTO_SIZE,
    "max_photos": 1,
    "crop": "none",
    "max_tokens": 16,
    "generation_photos": 2,
    "generation_tokens": 32,
    "answer_tokens": 40,
    "words_share": 0.0,
}
QUESTIONS = {"attributes": 1.0, "main_subject": 1.0}


def optimizer(rate: float) -> Any:
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate)


def fit(module: Moon, shards: Path, steps: int) -> Moon:
    """Train in this process, without files; in evaluation mode afterwards."""
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    data = ShardDataModule(train=str(shards), val=str(shards), batch_size=18, num_workers=0)
    trainer.fit(module, datamodule=data)
    return module.eval()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Moon, Path]:
    """A dense model after generative pretraining, and its folder."""
    inputs = make_inputs(*QUESTIONS)
    assert inputs.tokenizer is not None
    module = Moon(
        **SETTINGS,
        vocab_size=inputs.tokenizer.vocab_size,
        guidance="dense",
        contrastive_weight=0.0,
        generation=QUESTIONS,
    )
    module.inputs.load_state_dict({**module.inputs.state_dict(), "tokenizer": inputs.tokenizer.state_dict()})
    writer = trained(inputs, shared_folder(tmp_path_factory))
    module.network.backbone.load_state_dict(writer.state_dict())
    module.eval()
    return module, module.save_pretrained(tmp_path_factory.mktemp("stages") / "pretrained")


@pytest.fixture(scope="module")
def aligned(
    pretrained: tuple[Moon, Path], search_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Moon, Path]:
    """Post-training 1: experts from the dense networks, InfoNCE, and still some questions."""
    L.seed_everything(1)
    module = Moon(
        **SETTINGS,
        vocab_size=pretrained[0].network.backbone.vocab_size,
        guidance="hard",
        num_experts=4,
        expert_noise=0.0,
        generation=QUESTIONS,
        combinations={"query_to_product": 1.0, "text_to_photo": 1.0},
        optimizer=optimizer(5e-4),
    )
    load_into(module, pretrained[1], allow_missing=True)
    fit(module, search_set, steps=4)
    return module, module.save_pretrained(tmp_path_factory.mktemp("stages") / "aligned")


@pytest.fixture(scope="module")
def finished(aligned: tuple[Moon, Path], search_set: Path) -> Moon:
    """Post-training 2: circle loss, hard negatives and a queue, and no questions at all."""
    L.seed_everything(2)
    module = Moon(
        **SETTINGS,
        vocab_size=aligned[0].network.backbone.vocab_size,
        guidance="hard",
        num_experts=4,
        loss="circle",
        hard_negatives=1,
        queue_size=36,
        matryoshka=[8, 16],
        optimizer=optimizer(2e-4),
    )
    load_into(module, aligned[1], allow_missing=True)
    return fit(module, search_set, steps=4)


def photos_alone(products: list[Product]) -> list[Product]:
    """The products without words: training showed none beside questions for attributes."""
    return [Product(product.item_id, photos=product.photos) for product in products]


def assert_writes(module: Moon) -> None:
    """Categories of unseen photos are named rightly, and attributes in the form that was learned."""
    products = unseen(6)
    subjects = module.generate(products, "main_subject", max_new_tokens=40)
    assert [read_category(answer) for answer in subjects] == [product.category[-1] for product in products], subjects
    answers = module.generate(photos_alone(products), "attributes", max_new_tokens=24)
    assert all(read_attributes(answer).keys() == {"colour", "size"} for answer in answers), answers


def test_after_pretraining(pretrained: tuple[Moon, Path]) -> None:
    assert_writes(pretrained[0])
    colours = [read_attributes(a).get("colour") for a in pretrained[0].generate(photos_alone(unseen(12)), "attributes")]
    assert sum(c == p.attributes["colour"] for c, p in zip(colours, unseen(12), strict=True)) >= 8, colours


def test_after_saving_and_loading(pretrained: tuple[Moon, Path]) -> None:
    module, folder = pretrained
    again = ZooModule.from_pretrained(folder)
    assert isinstance(again, Moon)
    for task in ("attributes", "main_subject", "title"):
        assert again.generate(unseen(4), task) == module.generate(unseen(4), task)


def test_after_its_networks_became_experts(pretrained: tuple[Moon, Path]) -> None:
    module, folder = pretrained
    guided = Moon.from_pretrained(folder, guidance="hard", num_experts=4, expert_noise=0.0, allow_missing=True)
    assert moe_modules(guided) and not moe_modules(module)
    for task in ("attributes", "main_subject"):
        assert guided.generate(unseen(4), task) == module.generate(unseen(4), task)


def test_after_post_training_1(aligned: tuple[Moon, Path]) -> None:
    assert moe_modules(aligned[0])
    assert_writes(aligned[0])


def test_after_post_training_2_that_asks_nothing(finished: Moon) -> None:
    assert finished.inputs.generation is None
    assert_writes(finished)


def test_prediction_writes_columns(pretrained: tuple[Moon, Path], product_set: Path) -> None:
    module = Moon.from_pretrained(pretrained[1], predict_tasks=["attributes"])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    data = ShardDataModule(predict=str(product_set), batch_size=16, num_workers=0)
    batches: Any = trainer.predict(module, datamodule=data)
    answers = [answer for batch in batches for answer in batch["generated_attributes"]]
    assert len(answers) >= 37
    assert "generated_attributes" in module.predict_columns()
    written = module.generate(_products(product_set, 5), "attributes", max_new_tokens=64)
    assert answers[:5] == written


def _products(folder: Path, count: int) -> list[Any]:
    shards = IndexedShards(folder)
    return [shards[number] for number in range(count)]
