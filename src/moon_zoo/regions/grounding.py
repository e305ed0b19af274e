"""The product by asking a multimodal language model: photo and title in, words out, a box read from them.

Source: MOON, arXiv:2508.11999: a frozen grounding model is shown the photo *and the title*, since only the title says which
of the things in a photo is for sale. The model may be any that writes: one that transformers loads from a local folder
(`TransformersWriter`), or a model of this zoo that was trained on the task `main_subject` (`ZooWriter`).

Answers are read by `parsing`; one that cannot be read gives a region without a box, which says what the model said.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from PIL import Image
from torch import Tensor

from moon_zoo.data.images import decode_photo
from moon_zoo.data.kinds import Product
from moon_zoo.errors import CheckpointError, ZooError
from moon_zoo.nn.pretrained_lm import quietly
from moon_zoo.regions.parsing import Scale, parse_box
from moon_zoo.regions.region import CoreRegionDetector, Region, check_lengths, check_pixels

MAX_NEW_TOKENS = 96
SCALES: dict[str, Scale] = {
    "qwen2_5_vl": "pixels",
    "qwen2_vl": "thousandths",
    "qwen3_vl": "thousandths",
    "qwen3_vl_moe": "thousandths",
}
"""transformers' ``model_type`` to what its numbers count; of others it is guessed from the answer."""

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""How Qwen's family lays out a question, for folders of that family without a ``chat_template``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said about one photo.

    Args:
        text: Its words.
        scale: What its numbers count.
        shown_size: Height and width in pixels of the picture as the model saw it, None where unknown.
    """

    text: str
    scale: Scale = "auto"
    shown_size: tuple[int, int] | None = None


class Writer(Protocol):
    """A model that answers where the product is."""

    def about(self) -> dict[str, object]:
        """Plain values that say which model it is."""
        ...

    def answer(self, photos: Sequence[bytes], titles: Sequence[str]) -> list[Answer]:
        """One answer per photo; the photos can be decoded."""
        ...


class GroundingDetector(CoreRegionDetector):
    """Asks a model for the box.

    Args:
        writer: The model.
        batch_size: Photos asked about at once.
    """

    name: ClassVar[str] = "grounding"

    def __init__(self, writer: Writer, batch_size: int = 16) -> None:
        self.writer = writer
        self.batch_size = batch_size

    def about(self) -> dict[str, object]:
        """The detector and its model."""
        return {"name": self.name, **self.writer.about()}

    def detect_all(self, photos: Sequence[bytes | Tensor], titles: Sequence[str]) -> list[Region]:
        """The region that the model names for each photo."""
        check_lengths(photos, titles)
        checked = [_readable(photo) for photo in photos]
        asked = [place for place, photo in enumerate(checked) if isinstance(photo, bytes)]
        found: dict[int, Region] = {}
        for start in range(0, len(asked), self.batch_size):
            places = asked[start : start + self.batch_size]
            answers = self.writer.answer([checked[place] for place in places], [titles[place] for place in places])  # type: ignore[misc]
            found |= {place: _region(answer) for place, answer in zip(places, answers, strict=True)}
        return [found[place] if isinstance(photo, bytes) else photo for place, photo in enumerate(checked)]


class ZooWriter:
    """A model of this zoo with ``generate(products, task)``, such as `moon`, trained on `main_subject`.

    Args:
        model: The model.
        name: What manifests call it.
    """

    def __init__(self, model: Any, name: str) -> None:
        if not callable(getattr(model, "generate", None)):
            raise CheckpointError(
                f"{name} is a {type(model).__name__}, which does not write", change="--model, to one that generates"
            )
        self.model = model
        self.name = name

    def about(self) -> dict[str, object]:
        """Its name and fingerprint."""
        return {"model": self.name, "fingerprint": self.model.fingerprint()}

    @torch.no_grad()
    def answer(self, photos: Sequence[bytes], titles: Sequence[str]) -> list[Answer]:
        """See `Writer`. Boxes are thousandths of the whole photo, as the task taught them."""
        products = [
            Product(item_id=str(number), title=title, photos=[photo])
            for number, (photo, title) in enumerate(zip(photos, titles, strict=True))
        ]
        texts = self.model.generate(products, "main_subject", max_new_tokens=MAX_NEW_TOKENS)
        return [Answer(text, "thousandths") for text in texts]


class TransformersWriter:
    """A multimodal model in a local folder as transformers writes it: safetensors, tokenizer, how photos are read.

    Args:
        folder: The folder. Nothing is fetched, no code in it is run, pickled weights are not read.
        device: ``auto`` (a GPU where there is one), or a device as torch names it.

    Raises:
        CheckpointError: There is no such model in the folder, or it cannot read photos.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self.folder = folder
        self.processor, self.model = _load(folder)
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.model.to(chosen).eval()
        self.processor.tokenizer.padding_side = "left"  # answers begin where all questions end
        self.scale: Scale = SCALES.get(self.model.config.model_type, "auto")

    def about(self) -> dict[str, object]:
        """The folder's name and the family."""
        return {"model": self.folder.absolute().name, "family": self.model.config.model_type}

    @torch.no_grad()
    def answer(self, photos: Sequence[bytes], titles: Sequence[str]) -> list[Answer]:
        """See `Writer`."""
        pictures = [Image.fromarray(decode_photo(photo).permute(1, 2, 0).numpy()) for photo in photos]
        inputs = self.processor(
            text=[self._question(title) for title in titles], images=pictures, padding=True, return_tensors="pt"
        ).to(self.model.device)
        written = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        texts = self.processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        sizes = self._shown(inputs, pictures)
        return [Answer(text, self.scale, size) for text, size in zip(texts, sizes, strict=True)]

    def _question(self, title: str) -> str:
        words = question(title)
        content = [{"type": "image"}, {"type": "text", "text": words}]
        return str(
            self.processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        )

    def _shown(self, inputs: Any, pictures: Sequence[Image.Image]) -> list[tuple[int, int]]:
        """Height and width as the model saw each picture: of Qwen's family the grid of patches tells."""
        grids = inputs.get("image_grid_thw")
        patch = getattr(self.processor.image_processor, "patch_size", None)
        if grids is None or not isinstance(patch, int):
            return [(picture.height, picture.width) for picture in pictures]
        return [(int(height) * patch, int(width) * patch) for _, height, width in grids.tolist()]


def question(title: str) -> str:
    """What a model that was never trained here is asked."""
    named = f' The seller calls it "{" ".join(title.split())}".' if title.strip() else ""
    return (
        f"Which part of this photo shows the product that is on sale?{named} Give its bounding box, all of the product "
        'and nothing else, as JSON: {"bbox_2d": [left, top, right, bottom]}'
    )


def _region(answer: Answer) -> Region:
    parsed = parse_box(answer.text, scale=answer.scale, shown_size=answer.shown_size)
    return Region.none(parsed.reason, answer.text) if parsed.box is None else Region(parsed.box, raw=answer.text)


def _readable(photo: bytes | Tensor) -> bytes | Region:
    """The photo's bytes (PNG of pixels), or why it cannot be asked about."""
    if isinstance(photo, Tensor):
        buffer = io.BytesIO()
        Image.fromarray(check_pixels(photo).permute(1, 2, 0).numpy()).save(buffer, "PNG")
        return buffer.getvalue()
    try:
        decode_photo(photo, 8)
    except ZooError as error:
        return Region.none(error.what)
    return photo


def _load(folder: Path) -> tuple[Any, Any]:
    """Processor and model of a folder."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds no model: there is no config.json", where=str(folder), change="--model, to its folder"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quietly():
            processor = AutoProcessor.from_pretrained(folder, **local)
            model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, dtype="auto", **local)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder.name} cannot be loaded as a multimodal model: {reason}",
            where=str(folder),
            change="--model; the folder needs config.json, safetensors, a tokenizer and preprocessor_config.json",
        ) from error
    if getattr(processor, "image_processor", None) is None:
        raise CheckpointError(
            f"the processor in {folder.name} does not read photos", where=str(folder), change="--model"
        )
    if not getattr(processor, "chat_template", None):
        if model.config.model_type not in SCALES:
            raise CheckpointError(
                f"{folder.name} has no chat_template, so it is not known how it is asked",
                where=str(folder),
                change="--model",
            )
        processor.chat_template = CHAT
    return processor, model
