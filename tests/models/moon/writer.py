"""A tiny multimodal model that has learned to write about `tests.conftest`'s products, in seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor

from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Product
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.models.moon.generation import GenerationInputs, generation_loss
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.families import build_backbone
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer
from tests.conftest import make_product

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "vision_config": {"hidden_size": 32, "depth": 1, "num_heads": 2, "intermediate_size": 64, "patch_size": 8},
}
PHOTO_SIZE = 32
PHOTO_TOKENS = 4


def make_inputs(*tasks: str, words_share: float = 0.0, predict_tasks: tuple[str, ...] = ()) -> GenerationInputs:
    """Inputs with a tokenizer of the products' words."""
    inputs = GenerationInputs(
        PhotoTransform(PHOTO_SIZE, crop_scale=(0.8, 1.0)),
        dict.fromkeys(tasks, 1.0) or None,
        photo_tokens=PHOTO_TOKENS,
        max_photos=2,
        max_tokens=32,
        max_answer_tokens=40,
        words_share=words_share,
        single_share=0.0,
        predict_tasks=predict_tasks,
    )
    texts = [text for number in range(37) for text in inputs.training_texts(make_product(number))]
    inputs.tokenizer = MultimodalTokenizer.train(texts, vocab_size=500)
    return inputs


def make_backbone(inputs: GenerationInputs, seed: int = 0) -> MultimodalLM:
    """An untrained model."""
    assert inputs.tokenizer is not None
    torch.manual_seed(seed)
    special, size = inputs.tokenizer.special, inputs.tokenizer.vocab_size
    return build_backbone(None, options=TINY, photo_size=PHOTO_SIZE, vocab_size=size, special=special)


def make_batch(inputs: GenerationInputs, numbers: range, seed: int | None = None) -> dict[str, Tensor]:
    """A batch of products, of training where there is a seed."""

    def draw(number: int) -> Draw:
        return Draw() if seed is None else Draw(True, torch.Generator().manual_seed(1000 * seed + number))

    batch = stack([inputs.sample(make_product(number), draw(number)) for number in numbers])
    return batch | {"index": torch.tensor(numbers), "valid": torch.ones(len(numbers), dtype=torch.bool)}


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of tests, the same for all of its processes."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def trained(inputs: GenerationInputs, folder: Path) -> MultimodalLM:
    """A model that has learned the products 0 to 36; trained once for all test processes that share ``folder``."""
    backbone = make_backbone(inputs)
    kept = folder / "writer.safetensors"
    with FileLock(folder / "writer.lock"):
        if kept.exists():
            backbone.load_state_dict(load_file(kept))
        else:
            _train(backbone, inputs)
            save_file({name: value.clone() for name, value in backbone.state_dict().items()}, kept)
    return backbone.eval()


def _train(backbone: MultimodalLM, inputs: GenerationInputs, steps: int = 180) -> None:
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=3e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 10, 2 * (1 - step / steps))
        loss, _ = generation_loss(backbone, make_batch(inputs, range(37), seed=step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 1.0)
        optimizer.step()


def unseen(count: int = 12) -> list[Product]:
    """Products of the same colours with photos that training never showed."""
    return [make_product(number) for number in range(700, 700 + count)]
