"""Training and evaluation of the two towers.

Source: symmetric InfoNCE (CLIP, arXiv:2103.00020) or the sigmoid loss (SigLIP, arXiv:2303.15343) over photos and texts; the
objectives between query and item, the queue and the cross-device negatives follow MOON (arXiv:2508.11999, section 3). Weights
of the objectives, the fused product and many-to-one positives are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from moon_zoo.data.identity import behaviour_id, wanted_behaviours
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.models.base import ExportPart, LRSchedule
from moon_zoo.models.dual_flow.exporting import export_parts
from moon_zoo.models.dual_flow.inputs import DualFlowInputs
from moon_zoo.models.dual_flow.network import DualFlowNetwork
from moon_zoo.models.dual_flow.objectives import OBJECTIVES, PARTS, Objectives, with_fused
from moon_zoo.models.pretrained import HERE
from moon_zoo.models.retrieval_module import SIDES, RetrievalModule
from moon_zoo.nn.augment import PhotoAugment, replace_white
from moon_zoo.nn.fusion import Fusion
from moon_zoo.nn.grad_cache import grad_cached, split_batch
from moon_zoo.nn.towers import ATTENTIONS, ImageTower, Pooling, TextTower


class DualFlow(RetrievalModule):
    """Two towers, image and text, trained to put a product's photos and texts in one place.

    Args:
        image_tower: A timm model (``resnet10t``, ``vit_base_patch16_siglip_224.webli``), or ``local-dir:FOLDER``.
        image_pretrained: Whether to load timm's weights of that name.
        image_tower_options: Further arguments of the timm model, such as ``channels: [32, 64, 128, 256]``.
        image_size: Side of the square photos, in pixels.
        text_tower: A transformers encoder by hub name or local folder; null builds a small one.
        text_pretrained: Whether to load the encoder's weights or only its configuration.
        text_tower_options: Numbers of the small encoder (``hidden_size``, ``num_hidden_layers``, ...), or overrides of
            the named one's configuration.
        text_pooling: ``mean`` over tokens, ``first`` token, or the model's own ``pooler``.
        tokenizer: Hub name or folder; null takes the text tower's, or trains one on the training shards where no text
            tower is named, or one that is not pretrained and lies in a folder with nothing but its config.json.
        vocab_size: Largest vocabulary of a trained tokenizer.
        max_tokens: Longest text, in tokens.
        text_fields: What a product's text is made of, in order: title, category, attributes, description.
        embedding_dim: Size of the shared space.
        head: Projection after each tower: ``linear``, ``mlp`` or ``identity``.
        loss: ``info_nce`` or ``siglip``.
        fusion: How a product's photo and text become one embedding: ``mean``, or learned ``tfn``, ``gated`` or ``concat``.
        objectives: Weight of each objective; see `moon_zoo.models.dual_flow.objectives`.
        temperature: Initial temperature; 0.05 is a scale of 20.
        min_temperature: Its lower bound.
        learn_temperature: Whether the temperature is trained.
        logit_bias: Initial bias of the sigmoid loss.
        positives: Which identity makes two samples positives of each other: ``spu`` or ``item``.
        behaviours: Of searches, which behaviours are learned from, such as ``[purchase]``; null for all of them.
        queue_size: Item embeddings of past steps kept as further negatives; 0 for none.
        queue_warmup_steps: Steps before the queue is used.
        symmetric: Whether ``info_nce`` also goes from products to queries.
        micro_batch_size: Encode this many samples at a time (GradCache): memory as for them, loss over the whole
            batch; null encodes the batch at once.
        crop_scale: Smallest and largest share of a query photo's area that a training crop keeps.
        horizontal_flip: Whether training photos are mirrored half of the time.
        item_crop_scale: The same for the items' catalogue photos; null for the same.
        item_background: Chance that a catalogue photo's white ground is replaced by another photo in training.
        augment: Arguments of `moon_zoo.nn.augment.PhotoAugment`; null for none.
        resize: How evaluation photos become square: ``crop``, ``letterbox`` or ``squash``.
        channels_last: Whether the image tower runs in channels-last memory order, faster for convolutions.
        compile_towers: Whether the towers go through ``torch.compile``.
        category_prompt: Text whose embedding stands for a category in zero-shot classification.
        attribute_prompt: The same for an attribute's value.
        optimizer: Called with the parameters.
        lr_schedule: ``cosine`` falls to 0 at the end of training; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows from 0.
    """

    inputs: DualFlowInputs
    sample_kinds: ClassVar[tuple[str, ...]] = ("product", "search")
    primary_metric: ClassVar[str] = "val/photo_to_product/recall@1"
    modalities: ClassVar[tuple[str, ...]] = ("product", "photo", "text")
    training_state: ClassVar[tuple[str, ...]] = ("objectives.queues",)

    def __init__(
        self,
        *,
        image_tower: str = "resnet10t",
        image_pretrained: bool = False,
        image_tower_options: dict[str, Any] | None = None,
        image_size: int = 64,
        text_tower: str | None = None,
        text_pretrained: bool = True,
        text_tower_options: dict[str, Any] | None = None,
        text_pooling: Pooling = "mean",
        tokenizer: str | None = None,
        vocab_size: int = 4096,
        max_tokens: int = 48,
        text_fields: Sequence[str] = ("title",),
        embedding_dim: int = 128,
        head: Literal["linear", "mlp", "identity"] = "linear",
        fusion: Fusion = "mean",
        loss: Literal["info_nce", "siglip"] = "info_nce",
        objectives: dict[str, float] | None = None,
        temperature: float = 0.07,
        min_temperature: float = 0.01,
        learn_temperature: bool = True,
        logit_bias: float = -10.0,
        positives: Literal["spu", "item"] = "spu",
        behaviours: Sequence[str] | None = None,
        queue_size: int = 0,
        queue_warmup_steps: int = 0,
        symmetric: bool = True,
        micro_batch_size: int | None = None,
        crop_scale: tuple[float, float] = (0.5, 1.0),
        horizontal_flip: bool = True,
        item_crop_scale: tuple[float, float] | None = None,
        item_background: float = 0.0,
        augment: dict[str, float] | None = None,
        resize: Literal["crop", "letterbox", "squash"] = "squash",
        channels_last: bool = True,
        compile_towers: bool = False,
        category_prompt: str = "{}",
        attribute_prompt: str = "{value}",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        photo = PhotoTransform(image_size, crop_scale=crop_scale, horizontal_flip=horizontal_flip, resize=resize)
        inputs = DualFlowInputs(
            photo,
            item_photo=photo if item_crop_scale is None else replace(photo, crop_scale=item_crop_scale),
            tokenizer=tokenizer if tokenizer is not None else _tokenizer_of(text_tower, text_pretrained),
            vocab_size=vocab_size,
            max_tokens=max_tokens,
            text_fields=text_fields,
        )
        super().__init__(
            inputs,
            category_prompt=category_prompt,
            attribute_prompt=attribute_prompt,
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            lr_scheduler=lr_scheduler,
            warmup_steps=warmup_steps,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        self.network = DualFlowNetwork(
            ImageTower(image_tower, pretrained=image_pretrained, options=image_tower_options),
            TextTower(
                text_tower,
                pretrained=text_pretrained,
                pooling=text_pooling,
                vocab_size=vocab_size,
                max_tokens=max_tokens,
                options=text_tower_options,
            ),
            embedding_dim=embedding_dim,
            head=head,
            fusion=fusion,
        )
        self.objectives = Objectives(
            weights=_checked_weights(objectives),
            loss=loss,
            embedding_dim=embedding_dim,
            temperature=temperature,
            min_temperature=min_temperature,
            learn_temperature=learn_temperature,
            logit_bias=logit_bias,
            queue_size=queue_size,
            queue_warmup_steps=queue_warmup_steps,
            symmetric=symmetric,
        )
        self.augment = PhotoAugment(**augment) if augment is not None else nn.Identity()
        self.item_background = item_background
        self.positives = positives
        self.behaviours = None if behaviours is None else tuple(behaviours)
        for name in self.behaviours or ():
            behaviour_id(name)  # refuses an unknown one now
        self.micro_batch_size = micro_batch_size
        if channels_last:
            self.network.image_tower.to(memory_format=torch.channels_last)
        if compile_towers:
            self.network.image_tower.compile(dynamic=False)
            self.network.text_tower.compile(dynamic=False)
        self.embedding_dim = embedding_dim
        self._channels_last = channels_last

    # One forward for training, evaluation, prediction and export ---------------------------------------------------

    def forward(
        self,
        batch: Mapping[str, Tensor],
        sides: Sequence[str] = ("query", "item"),
        towers: Sequence[str] = ("photo", "text"),
    ) -> dict[str, Tensor]:
        """Unit embeddings of the photos and texts of the given sides: `PARTS` to ``(batch, dim)`` each.

        A tower that is left out does not run, and its parts are missing.
        """
        rows = len(batch["item_photo"])
        embeddings: dict[str, Tensor] = {}
        if "photo" in towers:
            photos = self._photos(torch.cat([self._drawn(batch, side) for side in sides]))
            embeddings |= {f"{side}_photo": part for side, part in zip(sides, photos.split(rows))}
        if "text" in towers:
            # Products have no query text, and running the tower on nothing but padding would be wasted.
            worded = [side for side in sides if f"{side}_token_ids" in batch]
            if worded:
                texts = self.network.encode_text(
                    torch.cat([batch[f"{side}_token_ids"] for side in worded]),
                    torch.cat([batch[f"{side}_token_mask"] for side in worded]),
                )
                embeddings |= {f"{side}_text": part for side, part in zip(worded, texts.split(rows))}
            for side in sides:
                if f"{side}_text" not in embeddings:
                    embeddings[f"{side}_text"] = torch.zeros((rows, self.embedding_dim), device=self.device)
        return embeddings

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of plain texts: ``(len(texts), dim)``."""
        encoded = [self.inputs.encode_text(text) for text in texts]
        token_ids = torch.stack([ids for ids, _ in encoded]).to(self.device)
        token_mask = torch.stack([mask for _, mask in encoded]).to(self.device)
        return self.network.encode_text(token_ids, token_mask)

    def _drawn(self, batch: Mapping[str, Tensor], side: str) -> Tensor:
        """A side's photos; in training some catalogue photos stand in front of other samples' query photos."""
        photos = batch[f"{side}_photo"]
        if not self.training or side != "item" or self.item_background == 0:
            return photos
        return replace_white(photos, batch["query_photo"].roll(1, 0), self.item_background)

    def _photos(self, photos: Tensor) -> Tensor:
        photos = self.augment(photos)
        if self._channels_last:
            photos = photos.contiguous(memory_format=torch.channels_last)
        return self.network.encode_photo(photos)

    # Training ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The weighted objectives over the whole batch (and the other ranks' items, and the queue)."""
        if self.micro_batch_size is None:
            loss = self.objective(self(batch), batch)
        else:
            micro_batches = split_batch(batch, self.micro_batch_size)
            loss = grad_cached(
                self.forward, micro_batches, lambda parts: self.objective(parts, batch), self.network.parameters()
            )
        rows = len(batch["valid"])
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=rows)
        self.log_dict({f"train/{name}": value for name, value in self.objectives.logged.items()}, batch_size=rows)
        return loss

    def objective(self, embeddings: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The training loss of a whole batch; what a subclass with another loss overrides.

        Args:
            embeddings: `PARTS` to unit embeddings with gradient, ``(batch, dim)``.
            batch: As the inputs made it.
        """
        presence = {part: batch[f"has_{part}"] & batch["valid"] for part in PARTS}
        if self.behaviours is not None:
            wanted = wanted_behaviours(batch["behaviour"], self.behaviours)
            # Products chosen otherwise stay: as negatives they are as good as any.
            presence |= {part: presence[part] & wanted for part in ("query_photo", "query_text")}
        groups = batch["spu_id"] if self.positives == "spu" else batch["item_id"]
        return self.objectives(embeddings, presence, groups, self.network.fusion)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Remember this step's items as negatives of later steps."""
        self.objectives.push_to_queue()

    # Evaluation --------------------------------------------------------------------------------------------------------

    def parts(
        self, batch: Mapping[str, Tensor], sides: Sequence[str] = SIDES
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Embeddings of the sides and their presence, with query and item fused."""
        presence = {part: batch[f"has_{part}"] for part in PARTS}
        return with_fused(self(batch, sides=sides), presence, self.network.fusion, sides=sides)

    def logit_scale(self) -> Tensor:
        """``1 / temperature``."""
        return self.objectives.logit_scale()

    # Prediction and search ---------------------------------------------------------------------------------------------

    def embed(
        self, batch: dict[str, Tensor], modalities: Sequence[str], side: Literal["query", "item"] = "item"
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Photo and text embeddings of one side, and ``product``: the two fused where both are there."""
        towers = [tower for tower in ("photo", "text") if {tower, "product"} & set(modalities)]
        parts: Mapping[str, Tensor] = self(batch, sides=(side,), towers=towers)
        presence: Mapping[str, Tensor] = {f"{side}_{tower}": batch[f"has_{side}_{tower}"] for tower in towers}
        if "product" in modalities:
            parts, presence = with_fused(parts, presence, self.network.fusion, sides=(side,))
        names = {"product": side, "photo": f"{side}_photo", "text": f"{side}_text"}
        return {modality: (parts[names[modality]], presence[names[modality]]) for modality in modalities}

    def export_parts(self) -> dict[str, ExportPart]:
        """The photo and the text encoder, each with its projection."""
        return export_parts(self)

    # Checkpoint folders ------------------------------------------------------------------------------------------------

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """The text tower's configuration; and arguments that build both towers without fetching weights or a tokenizer."""
        text_tower = cast(TextTower, self.network.text_tower)
        image_tower, image_options = cast(ImageTower, self.network.image_tower).rebuilt_by()
        changed: dict[str, Any] = {
            "image_tower": image_tower,
            "image_pretrained": False,
            "image_tower_options": image_options or None,
            "tokenizer": None,  # in the inputs' state
        }
        if text_tower.is_named:
            changed["text_tower_options"] = text_tower.write_config(folder / "text_tower")
            changed |= {"text_tower": f"{HERE}/text_tower", "text_pretrained": False}
        return changed

    def pretrained_names(self) -> tuple[str, ...]:
        """The towers that were loaded."""
        given = self.init_args()
        image = given["image_pretrained"] or ":" in given["image_tower"]
        text = given["text_tower"] is not None and given["text_pretrained"]
        return (given["image_tower"],) * bool(image) + (given["text_tower"],) * bool(text)

    @classmethod
    def unsealed(cls, init_args: Mapping[str, Any]) -> str | None:
        """Weights, a configuration or a tokenizer from elsewhere."""
        image_tower, text_tower = init_args.get("image_tower", ""), init_args.get("text_tower")
        if ":" in str(image_tower) or init_args.get("image_pretrained"):
            return f"weights of the image tower {image_tower}"
        if "checkpoint_path" in (init_args.get("image_tower_options") or {}):
            return "image_tower_options.checkpoint_path"
        if init_args.get("tokenizer") is not None:
            return f"the tokenizer {init_args['tokenizer']}"
        if text_tower is not None:
            options = init_args.get("text_tower_options") or {}
            inside = str(text_tower).startswith(f"{HERE}/") and not init_args.get("text_pretrained", True)
            if not inside or options.keys() - {"attn_implementation"}:
                return f"the text tower {text_tower}"
            if options.get("attn_implementation") not in ATTENTIONS:
                return f"the attention {options.get('attn_implementation')}"
        return None

    def predict_columns(self) -> dict[str, str]:
        """What `predict_step` returns."""
        return {
            "query": "unit embedding of the query (photo, words, or both)",
            "item": "unit embedding of the product (photo, text, or both)",
            "score": "cosine of the two, in [-1, 1]",
        }

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Embeddings of queries and items, and their cosine."""
        embeddings, _ = self.parts(batch)
        query, item = embeddings["query"], embeddings["item"]
        return {"query": query, "item": item, "score": (query * item).sum(-1)}


def _tokenizer_of(text_tower: str | None, pretrained: bool) -> str | None:
    """Whose tokenizer a text tower comes with: its own, or none where it is a mere configuration in a folder."""
    if text_tower is None or pretrained or not Path(text_tower).is_dir():
        return text_tower
    return None if {path.name for path in Path(text_tower).iterdir()} == {"config.json"} else text_tower


def _checked_weights(objectives: Mapping[str, float] | None) -> dict[str, float]:
    weights = dict(objectives) if objectives is not None else {"photo_to_text": 1.0, "photo_to_photo": 1.0}
    for name, weight in weights.items():
        if name not in OBJECTIVES:
            raise RecipeError(
                f"unknown objective {name!r}; known: {', '.join(OBJECTIVES)}",
                suggestions=did_you_mean(name, OBJECTIVES),
                change="model.init_args.objectives",
            )
        if weight < 0:
            raise RecipeError(
                f"the objective {name} has the negative weight {weight}", change="model.init_args.objectives"
            )
    return weights
