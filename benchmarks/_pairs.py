"""Pairs of answers for the benchmark of preference training: words of which each is one token, drawn images, and a small model.

Prompts of 128 tokens, answers of 64, template and ends included: so long for everybody, since the tokenizer knows words alone.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROMPT_TOKENS, ANSWER_TOKENS = 128, 64
PHOTO_SIZE, PHOTO_TOKENS = 64, 16
VOCAB = 4096
MODEL: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 656,
    "tie_word_embeddings": False,
    "vision_config": {
        "hidden_size": 64,
        "depth": 2,
        "num_heads": 2,
        "intermediate_size": 128,
        "patch_size": 8,
        "spatial_merge_size": 2,
    },
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %} <|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
"""The layout of moon-zoo's prompts; the tokenizer has no word for spaces and line ends."""


@dataclass(frozen=True)
class Pair:
    """One pair.

    Args:
        question: Words of the user's turn.
        chosen: Words of the better answer.
        rejected: Words of the worse one.
        image: Encoded PNG, or None.
    """

    question: str
    chosen: str
    rejected: str
    image: bytes | None


def tokenizer() -> Any:
    """Of the ``tokenizers`` library: every word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = [*SPECIAL, "<|video_pad|>", "user", "assistant", "system"]
    words = names + [f"w{number}" for number in range(VOCAB - len(names))]
    found = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="w0"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.add_special_tokens([*SPECIAL, "<|video_pad|>"])
    return found


def make_pairs(count: int, *, images: bool) -> list[Pair]:
    """So many pairs, always the same."""
    rng = np.random.default_rng(0)
    # the turn's two ends and names take five tokens, an image and its brackets two more than its own
    words = PROMPT_TOKENS - 5 - (PHOTO_TOKENS + 2 if images else 0)

    def text(length: int) -> str:
        return " ".join(f"w{number}" for number in rng.integers(1, VOCAB - 20, length))

    return [
        Pair(text(words), text(ANSWER_TOKENS - 1), text(ANSWER_TOKENS - 1), _photo(rng) if images else None)
        for _ in range(count)
    ]


def _photo(rng: np.random.Generator) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    pixels = rng.integers(0, 256, (PHOTO_SIZE, PHOTO_SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def save_shards(pairs: list[Pair], folder: Path) -> Path:
    """The pairs as our users keep them."""
    from moon_zoo.data.conversations import Preference, user
    from moon_zoo.data.writing import ShardWriter

    with ShardWriter(folder, kind="preference", source="made up", licence="CC0-1.0", max_samples=256) as writer:
        for number, pair in enumerate(pairs):
            name = f"p{number:05d}"
            writer.write(name, Preference(name, user(pair.question), pair.chosen, pair.rejected, image=pair.image))
    return folder


def backbone(seed: int = 0) -> Any:
    """The model of all contenders, as moon-zoo builds it."""
    import torch

    from moon_zoo.nn.multimodal.families import build_backbone
    from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

    torch.manual_seed(seed)
    special = MultimodalTokenizer(tokenizer()).special
    return build_backbone(None, options=MODEL, photo_size=PHOTO_SIZE, vocab_size=VOCAB, special=special)


def text_model(seed: int = 0) -> Any:
    """The same weights in transformers' model of text alone, for those who train on text."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    whole = backbone(seed)
    given = whole.text_model.config.to_dict()
    names = set(Qwen2Config().to_dict()) - {"model_type", "architectures", "rope_parameters", "layer_types", "dtype"}
    config = Qwen2Config(**{name: given[name] for name in names if name in given})
    config.rope_parameters = {
        "rope_type": "default",
        "rope_theta": whole.text_model.config.rope_parameters["rope_theta"],
    }
    model = Qwen2ForCausalLM(config)
    weights = {
        name.replace("model.language_model.", "model."): value
        for name, value in whole.lm.state_dict().items()
        if "visual" not in name
    }
    model.load_state_dict(weights)
    return model
