"""Training and evaluation of MOON: one generative multimodal LLM embeds queries and products, and still writes.

Source: MOON, arXiv:2508.11999 (network, negatives, zero-shot evaluation), arXiv:2511.11305 (stages, modality combinations,
circle loss, Matryoshka), arXiv:2511.12449 (dual-level alignment, filter of samples). What each file takes from which is said
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from moon_zoo.data.identity import behaviour_id, wanted_behaviours
from moon_zoo.data.kinds import Product
from moon_zoo.data.product_text import check_text_fields
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.models.base import LRSchedule
from moon_zoo.models.language_model import (
    LanguageModelModule,
    add_adapters,
    special_tokens,
    tokenizer_of,
)
from moon_zoo.models.moon import figures as _figures  # noqa: F401  (known to tables from here on)
from moon_zoo.models.moon.building import FIELD_SEPARATOR, check_generation, install_experts
from moon_zoo.models.moon.combinations import (
    COMBINATIONS,
    ITEMS,
    Parts,
    checked_combinations,
    drawn_combinations,
    has_any,
    passed_over,
)
from moon_zoo.models.moon.generation import generate, generation_loss, predicted_columns, spread_rows
from moon_zoo.models.moon.generation_evaluation import GenerationEvaluation
from moon_zoo.models.moon.generation_inputs import GenerationInputs
from moon_zoo.models.moon.inputs import MoonInputs
from moon_zoo.models.moon.network import MoonNetwork, Pooling, add_statistics, embed_rows, joined, per_sample
from moon_zoo.models.moon.notes import CutNotes
from moon_zoo.models.moon.objectives import (
    Encoded,
    LossName,
    MoonObjectives,
    Positives,
    check_sizes,
    identities,
)
from moon_zoo.models.moon.photos import Crop, MissingBoxes, PhotoBlocks
from moon_zoo.models.moon.texts import TextBlock
from moon_zoo.models.numbers import check_at_least
from moon_zoo.models.retrieval_module import SIDES, RetrievalModule
from moon_zoo.models.sample_notes import SampleNotes
from moon_zoo.nn.augment import PhotoAugment, augmented_bytes
from moon_zoo.nn.grad_cache import cached_embeddings, split_batch
from moon_zoo.nn.moe.install import upcycled
from moon_zoo.nn.moe.losses import expert_load, load_balance, unstack, z_loss
from moon_zoo.nn.moe.routing import Guidance
from moon_zoo.nn.multimodal.backbone import Attention
from moon_zoo.nn.multimodal.families import build_backbone
from moon_zoo.nn.reaching import reaching

TEXTS_AT_A_TIME = 256
"""Plain texts that are embedded at once."""


class Moon(LanguageModelModule, RetrievalModule):
    """A generative multimodal LLM with guided experts, as an encoder of queries and products.

    Args:
        backbone: A multimodal LLM of transformers (``Qwen/Qwen2.5-VL-3B-Instruct``) by hub name or local folder; null builds
            a tiny one from numbers.
        backbone_pretrained: With a name: whether to load its weights or only its configuration.
        backbone_options: Numbers of the tiny one (``hidden_size``, ``num_hidden_layers``, ``vision_config: {...}``), or
            overrides of the named one's configuration.
        photo_size: Side of the square photos and crops, in pixels.
        max_photos: Most photos of an item that are read; catalogue photos first.
        crop: Which photos are followed by the crop of their core region: ``none``, ``first`` or ``all``.
        missing_boxes: What stands for the crop of a photo without a box: the ``whole`` photo once more, or what the detector
            without weights finds (``saliency``).
        tokenizer: Hub name or folder; null takes the backbone's, or trains one on the training shards where none is named.
        vocab_size: Rows of the token table, and the largest vocabulary of a trained tokenizer, where no backbone is named.
        max_tokens: Longest text of an item, in tokens; photos come on top and are never cut.
        max_query_tokens: Longest words of a query; null for the same.
        text_fields: What an item's text is made of, in order: title, category, attributes, description.
        text_priority: Which fields are given room first; what is last is cut first.
        attention: ``bidirectional`` or ``causal``. Writing is always causal.
        pooling: ``tokens``: the embedding is the mean over all tokens; ``parts``: the mean of the photos' and the text's means,
            so that photos of many tokens do not outweigh few words.
        guidance: How experts are chosen: ``hard`` by field, ``additive`` field's expert beside the router's, ``none`` by the
            router alone; ``dense`` for no experts.
        num_experts: Experts of a layer, the category's and the attributes' included.
        top_k: General experts of a token.
        moe_layers: Layers that get experts: ``all``, the last so many, or a list of numbers from 0.
        experts: ``full`` networks, or ``lora``: low-rank updates of a shared one.
        expert_lora_rank: Rank of those.
        expert_noise: Noise on copies of the dense network that experts start as, in standard deviations of its weights.
        load_balance_weight: Weight of the load balance loss over plain tokens and general experts.
        z_loss_weight: Weight of the router z-loss.
        loss: ``info_nce`` or ``circle``.
        temperature: Initial temperature; 0.05 is a scale of 20.
        min_temperature: Its lower bound.
        learn_temperature: Whether it is trained.
        symmetric: Whether ``info_nce`` also goes from items to queries.
        circle_margin: m of the circle loss.
        circle_scale: Its gamma.
        combinations: Ratio of each modality combination, of which every batch draws one; null for ``query_to_product`` alone.
            See `moon_zoo.models.moon.combinations`.
        combinations_per_batch: How many different ones a batch draws. The paper's is 1; more are learned from the same samples,
            and share what the vision tower makes of the photos.
        combination_seed: Of these draws.
        positives: Which identity makes two samples positives of each other: ``spu`` or ``item``.
        behaviours: Of searches, which behaviours are learned from, such as ``[purchase]``; null for all of them.
        hard_negatives: Items passed over that are read of each search, at most.
        spatial_negatives: Whether other ranks' items are negatives.
        queue_size: Item embeddings of past steps kept as further negatives (temporal ones); 0 for none.
        queue_warmup_steps: Steps before the queue is used.
        similarity_ceiling: Negatives whose cosine to the query exceeds that of its positive by more than this are left out as
            probably no negatives; null keeps all.
        dual_level: Weight of the alignment of items' photos with their own titles, both directions; 0 for none.
        filter_threshold: Pairs that look wrong to the model (MOON2's phi under this, such as 0.6) count less; null counts all
            alike.
        contrastive_weight: Weight of everything above; 0 for a training that only writes, whose best checkpoint is then the one
            of the least ``val/generation/loss``.
        generation: Ratio of each generative task that is trained beside: describe, attributes, title, main_subject; null
            for none.
        generation_weight: Weight of their loss.
        generation_share: Share of every batch that is also written about.
        generation_photos: Most photos that a question shows.
        generation_tokens: Longest question, in tokens; photos come on top.
        answer_tokens: Longest answer, in tokens.
        words_share: How often a question shows the seller's words beside the photos.
        generation_samples: Samples of an evaluated split that answers are written for; the loss is of all samples.
        predict_tasks: Tasks whose answers ``predict`` adds as columns; they need ``generation``.
        matryoshka: Prefix sizes of the embedding that are trained to stand alone; null for none.
        micro_batch_size: Encode this many samples at a time (GradCache): memory as for them, loss over the whole batch; null
            encodes the batch at once.
        gradient_checkpointing: Whether layers are computed again in the backward pass instead of kept in memory.
        freeze: ``vision`` keeps the part that reads photos as it is.
        lora: Low-rank adapters on the backbone's linear layers, which alone (and the experts) are then trained: ``rank``,
            ``alpha``, ``dropout``, ``targets``, ``vision``, ``train_experts``; null trains all weights.
        crop_scale: Smallest and largest share of a photo's area that a training crop keeps; crops of core regions are only
            shifted a little.
        horizontal_flip: Whether training photos are mirrored half of the time.
        augment: Arguments of `moon_zoo.nn.augment.PhotoAugment`; null for none.
        resize: How evaluation photos become square: ``crop``, ``letterbox`` or ``squash``.
        category_prompt: Text whose embedding stands for a category in zero-shot classification.
        attribute_prompt: The same for an attribute's value.
        optimizer: Called with the parameters.
        lr_schedule: ``cosine`` falls to 0 at the end of training; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows from 0.
    """

    inputs: MoonInputs
    sample_kinds: ClassVar[tuple[str, ...]] = ("product", "search")
    primary_metric: ClassVar[str] = "val/photo_to_product/recall@1"
    modalities: ClassVar[tuple[str, ...]] = ("product", "photo", "text")
    training_state: ClassVar[tuple[str, ...]] = ("objectives.queue",)

    def __init__(
        self,
        *,
        backbone: str | None = None,
        backbone_pretrained: bool = True,
        backbone_options: dict[str, Any] | None = None,
        photo_size: int = 64,
        max_photos: int = 2,
        crop: Crop = "first",
        missing_boxes: MissingBoxes = "whole",
        tokenizer: str | None = None,
        vocab_size: int = 4096,
        max_tokens: int = 48,
        max_query_tokens: int | None = None,
        text_fields: Sequence[str] = ("title", "category", "attributes"),
        text_priority: Sequence[str] = ("title", "category", "attributes"),
        attention: Attention = "bidirectional",
        pooling: Pooling = "tokens",
        guidance: Guidance = "hard",
        num_experts: int = 4,
        top_k: int = 1,
        moe_layers: Literal["all"] | int | list[int] = "all",
        experts: Literal["full", "lora"] = "full",
        expert_lora_rank: int = 16,
        expert_noise: float = 0.01,
        load_balance_weight: float = 0.01,
        z_loss_weight: float = 0.001,
        loss: LossName = "info_nce",
        temperature: float = 0.07,
        min_temperature: float = 0.01,
        learn_temperature: bool = True,
        symmetric: bool = False,
        circle_margin: float = 0.25,
        circle_scale: float = 64.0,
        combinations: dict[str, float] | None = None,
        combinations_per_batch: int = 1,
        combination_seed: int = 0,
        positives: Positives = "spu",
        behaviours: Sequence[str] | None = None,
        hard_negatives: int = 0,
        spatial_negatives: bool = True,
        queue_size: int = 0,
        queue_warmup_steps: int = 0,
        similarity_ceiling: float | None = None,
        dual_level: float = 0.0,
        filter_threshold: float | None = None,
        contrastive_weight: float = 1.0,
        generation: dict[str, float] | None = None,
        generation_weight: float = 1.0,
        generation_share: float = 1.0,
        generation_photos: int = 1,
        generation_tokens: int = 64,
        answer_tokens: int = 48,
        words_share: float = 0.5,
        generation_samples: int = 64,
        predict_tasks: Sequence[str] = (),
        matryoshka: Sequence[int] | None = None,
        micro_batch_size: int | None = None,
        gradient_checkpointing: bool = False,
        freeze: Literal["none", "vision"] = "none",
        lora: dict[str, Any] | None = None,
        crop_scale: tuple[float, float] = (0.5, 1.0),
        horizontal_flip: bool = True,
        augment: dict[str, float] | None = None,
        resize: Literal["crop", "letterbox", "squash"] = "squash",
        category_prompt: str = "{}",
        attribute_prompt: str = "{value}",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_at_least(
            1,
            max_photos=max_photos,
            max_tokens=max_tokens,
            max_query_tokens=max_query_tokens,
            micro_batch_size=micro_batch_size,
        )
        check_at_least(
            0,
            hard_negatives=hard_negatives,
            dual_level=dual_level,
            contrastive_weight=contrastive_weight,
            generation_weight=generation_weight,
        )
        check_generation(generation, generation_share, contrastive_weight, predict_tasks)
        fields = check_text_fields(text_fields, "text_fields")
        priority = check_text_fields(text_priority, "text_priority")
        photo = PhotoTransform(photo_size, crop_scale=crop_scale, horizontal_flip=horizontal_flip, resize=resize)
        built = build_backbone(
            backbone,
            pretrained=backbone_pretrained,
            options=backbone_options,
            photo_size=photo_size,
            vocab_size=vocab_size if backbone is None else None,
            special=special_tokens(backbone, tokenizer),
        )
        tasks = None
        if generation is not None:
            tasks = GenerationInputs(
                photo,
                generation,
                photo_tokens=built.photo_tokens,
                max_photos=generation_photos,
                max_tokens=generation_tokens,
                max_answer_tokens=answer_tokens,
                words_share=words_share,
                predict_tasks=tuple(predict_tasks),
            )
        named = tokenizer if tokenizer is not None else tokenizer_of(backbone)
        separator = "" if named is None and backbone is None else FIELD_SEPARATOR
        query_tokens = max_tokens if max_query_tokens is None else max_query_tokens
        super().__init__(
            MoonInputs(
                PhotoBlocks(photo, 1, crop=crop, missing_boxes=missing_boxes),
                PhotoBlocks(photo, max_photos, crop=crop, missing_boxes=missing_boxes),
                query_text=TextBlock(query_tokens, ("title",), ("title",)),
                item_text=TextBlock(max_tokens, fields, priority, separator),
                tokenizer=named,
                vocab_size=vocab_size,
                generation=tasks,
                hard_negatives=hard_negatives,
            ),
            category_prompt=category_prompt,
            attribute_prompt=attribute_prompt,
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            lr_scheduler=lr_scheduler,
            warmup_steps=warmup_steps,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        install_experts(
            built,
            guidance=guidance,
            num_experts=num_experts,
            top_k=top_k,
            which=moe_layers,
            experts=experts,
            lora_rank=expert_lora_rank,
            noise=expert_noise,
        )
        if gradient_checkpointing:
            built.set_gradient_checkpointing(True)
        if freeze == "vision":
            built.visual.requires_grad_(False)
        if lora is not None:
            add_adapters(built, lora)
        self.network = MoonNetwork(built, attention=attention, pooling=pooling)
        if generation is None:
            self.network.freeze_output_layer()
        self.embedding_dim = self.network.dim
        self.matryoshka = self.prefixes = check_sizes(matryoshka or (), self.embedding_dim)
        self.objectives = MoonObjectives(
            self.embedding_dim,
            loss=loss,
            temperature=temperature,
            min_temperature=min_temperature,
            learn_temperature=learn_temperature,
            symmetric=symmetric,
            circle_margin=circle_margin,
            circle_scale=circle_scale,
            positives=positives,
            spatial_negatives=spatial_negatives,
            queue_size=queue_size,
            queue_warmup_steps=queue_warmup_steps,
            similarity_ceiling=similarity_ceiling,
            matryoshka_sizes=self.matryoshka,
            filter_threshold=filter_threshold,
        )
        self.augment = PhotoAugment(**augment) if augment is not None else nn.Identity()
        self.combinations = checked_combinations(combinations)
        self.combinations_per_batch, self.combination_seed = combinations_per_batch, combination_seed
        self.behaviours = None if behaviours is None else tuple(behaviours)
        for name in self.behaviours or ():
            behaviour_id(name)  # refuses an unknown one now
        self.load_balance_weight, self.z_loss_weight = load_balance_weight, z_loss_weight
        self.dual_level_weight, self.contrastive_weight = dual_level, contrastive_weight
        self.micro_batch_size = micro_batch_size
        self.generation_weight, self.generation_share = generation_weight, generation_share
        if contrastive_weight == 0:
            self.primary_metric = "val/generation/loss"  # type: ignore[misc]
        self.written = None if generation is None else GenerationEvaluation(generation_samples, answer_tokens)
        self._notes = SampleNotes(self, lambda: CutNotes(self.inputs.item.max_photos, self.inputs.item_text.length))

    def build(self) -> None:
        """Tell the backbone what the tokenizer calls its special tokens."""
        if self.inputs.has_tokenizer:
            self.network.backbone.special = self.inputs.tokenizer.special

    # One forward for training, evaluation, prediction and export ---------------------------------------------------

    def forward(self, batch: Mapping[str, Tensor], parts: Parts, there: Tensor | None = None) -> dict[str, Tensor]:
        """Embed some parts of one side.

        Args:
            batch: As the inputs made it.
            parts: Which.
            there: Rows that are wanted, bool ``(batch,)``; None for those that have the parts.

        Returns:
            ``embedding``: unit, float32 ``(batch, dim)``, zeros in other rows; router statistics, ``router/...``.
        """
        rows = parts.there(batch) if there is None else there
        sequence = self.network.sequence(batch, parts.side, photos=parts.photos, text=parts.text)
        return embed_rows(self.network, sequence, rows)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of plain texts, read as a query's words: ``(len(texts), dim)``."""
        found = []
        for start in range(0, len(texts), TEXTS_AT_A_TIME):
            batch = self.inputs.batch(
                [self.inputs.encode_words(text) for text in texts[start : start + TEXTS_AT_A_TIME]]
            )
            batch = {name: value.to(self.device) for name, value in batch.items()}
            found.append(self(batch, COMBINATIONS["text_to_product"][0])["embedding"])
        return torch.cat(found) if found else torch.zeros((0, self.embedding_dim), device=self.device)

    # Training ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The contrastive losses of the step's combination, what keeps experts in use, and the loss of what is written."""
        batch = self._augmented(batch)
        figures: dict[str, Tensor] = {}
        losses, statistics = [], []
        if self.contrastive_weight > 0:
            drawn = drawn_combinations(
                self.combinations, self.combination_seed, self.global_step, self.combinations_per_batch
            )
            encoded = self._encoded(batch, drawn)
            for combination in reversed(drawn):  # figures and queue are those of the first
                loss, found = self.objective(encoded, batch, combination)
                losses.append(self.contrastive_weight / len(drawn) * loss)
                figures |= found
            statistics.append(encoded)
        if self.inputs.generation is not None and self.generation_weight > 0:
            chosen = spread_rows(len(batch["valid"]), self.generation_share)
            loss, found = generation_loss(self.network, {name: value[chosen] for name, value in batch.items()})
            losses.append(self.generation_weight * loss)
            statistics.append(self.network.statistics())
            figures |= found
        total = torch.stack(losses).sum() + self._router_losses(joined(statistics), figures)
        total = reaching(total, [parameter for parameter in self.parameters() if parameter.requires_grad])
        rows = len(batch["valid"])
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=rows)
        self.log_dict({f"train/{name}": value for name, value in figures.items()}, batch_size=rows)
        if self.current_epoch == 0:
            self._notes.add("train", batch)
        return total

    def on_train_epoch_end(self) -> None:
        """Say once what of the training samples was not read."""
        self._notes.say("train")

    def _encoded(self, batch: dict[str, Tensor], combinations: Sequence[str]) -> dict[str, Tensor]:
        """Everything that the losses need, ``(batch, ...)`` each, at once or in micro-batches."""

        def encode(part: dict[str, Tensor]) -> dict[str, Tensor]:
            return self.encode(part, combinations)

        if self.micro_batch_size is None:
            return encode(batch)
        return cached_embeddings(encode, split_batch(batch, self.micro_batch_size), self.network.parameters())

    def encode(self, batch: Mapping[str, Tensor], combinations: Sequence[str]) -> dict[str, Tensor]:
        """Embeddings of a micro-batch and what the routers did, all with a batch axis.

        Args:
            batch: As the inputs made it.
            combinations: Which parts meet, of `COMBINATIONS`. What several of them read is read once.

        Returns:
            `Parts.name` of all that the combinations, dual-level alignment and hard negatives need to embeddings
            ``(batch, dim)``, of negatives ``(batch, negatives, dim)``; ``router/...`` summed over all of these.
        """
        wanted = [parts for combination in combinations for parts in COMBINATIONS[combination]]
        if self.dual_level_weight > 0:
            wanted += [ITEMS["photo"], ITEMS["title"]]
        if "negative_mask" in batch:
            wanted += [passed_over(COMBINATIONS[combination][1]) for combination in combinations]
        read = {parts.name: parts for parts in wanted}
        showing = [parts.side for parts in read.values() if parts.photos]
        batch = self.network.with_photos_read(batch, sorted({side for side in showing if showing.count(side) > 1}))
        found = {
            name: self._negatives(batch, parts)
            if parts.side == "negative"
            else self(batch, parts, has_any(batch, parts))
            for name, parts in read.items()
        }
        embeddings = {name: one["embedding"] for name, one in found.items()}
        return embeddings | add_statistics(*found.values())

    def _negatives(self, batch: Mapping[str, Tensor], parts: Parts) -> dict[str, Tensor]:
        """What was passed over, with the parts that items answer with."""
        rows = len(batch["negative_mask"])
        flat = {name: value.flatten(0, 1) for name, value in batch.items() if "negative_" in name}
        there = parts.there(flat) & flat["negative_mask"]
        return per_sample(self(flat, parts, there), rows)

    def objective(
        self, encoded: Mapping[str, Tensor], batch: Mapping[str, Tensor], combination: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The training loss of a whole batch; what a subclass with another loss overrides.

        Args:
            encoded: From `encode`, of the whole batch.
            batch: As the inputs made it.
            combination: Which parts met, of `COMBINATIONS`.

        Returns:
            The loss, a scalar, and figures to log, detached. What keeps experts in use is added elsewhere.
        """
        asks, answers = COMBINATIONS[combination]
        valid = batch["valid"]
        wanted = valid & wanted_behaviours(batch["behaviour"], self.behaviours)
        negative = encoded.get(passed_over(answers).name)
        own = identities(batch)
        loss, figures = self.objectives(
            Encoded(
                query=encoded[asks.name],
                item=encoded[answers.name],
                negative=negative,
                # Products chosen otherwise stay: as negatives they are as good as any.
                query_there=asks.there(batch) & wanted,
                item_there=answers.there(batch) & valid,
                negative_there=None if negative is None else batch["negative_mask"] & valid[:, None],
                own=own,
                passed_over=None if negative is None else identities(batch, "negative"),
            ),
            self.global_step,
        )
        figures |= {f"loss/{combination}": loss.detach()}
        if self.dual_level_weight > 0:
            there = ITEMS["photo"].there(batch) & ITEMS["title"].there(batch) & valid
            dual = self.objectives.dual_level(encoded[ITEMS["photo"].name], encoded[ITEMS["title"].name], there, own)
            figures["loss/dual_level"] = dual.detach()
            loss = loss + self.dual_level_weight * dual
        return loss, figures

    def _router_losses(self, encoded: Mapping[str, Tensor], figures: dict[str, Tensor]) -> Tensor:
        """What keeps experts in use, weighted; figures of it are added to ``figures``."""
        statistics = unstack(encoded)
        if not statistics:
            return torch.zeros((), device=self.device)
        balance, squared = load_balance(statistics), z_loss(statistics)
        figures |= {"loss/load_balance": balance.detach(), "loss/router_z": squared.detach()}
        if not balance.is_meta:  # which fields occurred is a question of values
            figures |= {f"expert_load/{name}": share for name, share in expert_load(statistics).items()}
        return self.load_balance_weight * balance + self.z_loss_weight * squared

    def _augmented(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Colours changed, every photo and crop by itself, before encoding: both passes of GradCache see the same."""
        if isinstance(self.augment, nn.Identity):
            return batch
        return batch | {
            name: augmented_bytes(self.augment, value) for name, value in batch.items() if name.endswith("_photos")
        }

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Remember this step's items as negatives of later steps."""
        self.objectives.push_to_queue()

    # Evaluation --------------------------------------------------------------------------------------------------------

    def parts(
        self, batch: Mapping[str, Tensor], sides: Sequence[str] = SIDES
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What evaluation compares, and which samples have it.

        A query is one sequence of all that it has: of one with a photo alone it is the photo's, with words alone the words'.
        """
        embeddings: dict[str, Tensor] = {}
        has: dict[str, Tensor] = {}
        if "query" in sides:
            query = self(batch, COMBINATIONS["query_to_product"][0])["embedding"]
            embeddings |= dict.fromkeys(("query", "query_photo", "query_text"), query)
            photo, text = batch["has_query_photo"], batch["has_query_text"]
            has |= {"query": photo | text, "query_photo": photo, "query_text": text}
        if "item" in sides:
            batch = self.network.with_photos_read(batch, ["item"])
            for name, parts in (("item", "product"), ("item_photo", "photo"), ("item_text", "text")):
                embeddings[name] = self(batch, ITEMS[parts])["embedding"]
                has[name] = ITEMS[parts].there(batch)
        return embeddings, has

    def logit_scale(self) -> Tensor:
        """``1 / temperature``."""
        return self.objectives.logit_scale()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect embeddings, and let the model write about some samples."""
        super().validation_step(batch, batch_idx, dataloader_idx)
        if dataloader_idx == 1:
            return
        if self.written is not None and self.inputs.generation is not None:
            self.written.update(self.network, self.inputs.generation, batch)
        self._notes.add(self._evaluated_split, batch)

    def start_evaluation(self, split: str, vocabularies: Mapping[str, Any]) -> None:
        """Forget also what was written."""
        super().start_evaluation(split, vocabularies)
        if self.written is not None:
            self.written.start(vocabularies.get("attributes", {}), self.device)

    def evaluation_figures(self) -> dict[str, float]:
        """Of retrieval, and of what was written."""
        figures = super().evaluation_figures()
        if self.written is not None:
            figures |= self.written.compute()
        self._notes.say(self._evaluated_split)
        return figures

    def report_data(self) -> dict[str, Any]:
        """Some of what the last evaluation wrote, beside what was right."""
        if self.written is None or not self.written.examples:
            return {}
        return {f"generation_{self._evaluated_split}": self.written.examples}

    # Prediction and search ---------------------------------------------------------------------------------------------

    def embed(
        self, batch: dict[str, Tensor], modalities: Sequence[str], side: Literal["query", "item"] = "item"
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Embeddings of one side: of all it has (``product``), of its photos and crops, of its text."""
        names = {
            "product": Parts(side, True, "all", False, False),
            "photo": Parts(side, True, "none", True, False),
            "text": Parts(side, False, "all", False, True),
        }
        if {"product", "photo"} <= set(modalities):
            batch = self.network.with_photos_read(batch, [side])
        return {name: (self(batch, names[name])["embedding"], names[name].there(batch)) for name in modalities}

    def predict_columns(self) -> dict[str, str]:
        """What `predict_step` returns."""
        columns = {
            "query": "unit embedding of the query (photo, words, or both)",
            "item": "unit embedding of the product (photos, crops and text)",
            "score": "cosine of the two, in [-1, 1]",
        }
        tasks = () if self.inputs.generation is None else self.inputs.generation.predict_tasks
        return columns | {f"generated_{task}": f"the model's own answer to the task {task}" for task in tasks}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Embeddings of queries and items, their cosine, and the answers asked for."""
        query, item = (self(batch, parts)["embedding"] for parts in COMBINATIONS["query_to_product"])
        columns: dict[str, Any] = {"query": query, "item": item, "score": (query * item).sum(-1)}
        if self.inputs.generation is not None:
            columns |= predicted_columns(self.network, self.inputs.generation, batch)
        return columns

    def generate(self, products: Sequence[Product], task: str, **options: Any) -> list[str]:
        """What the model writes about products.

        Args:
            products: What is asked about.
            task: ``describe``, ``attributes``, ``title`` or ``main_subject``.
            options: ``max_new_tokens``, ``temperature``, ``top_p``, ``seed``, ``batch_size``; see
                `moon_zoo.models.moon.generation.generate`.

        Returns:
            One text per product.

        Raises:
            RecipeError: There is no such task.
        """
        return generate(self.network, self._questions(), products, task, **options)

    def _questions(self) -> GenerationInputs:
        """How questions are laid out: as the recipe says, or by default where it trains no writing."""
        if self.inputs.generation is not None:
            _ = self.inputs.tokenizer  # read by now, and so known to the tasks
            return self.inputs.generation
        photo_tokens = self.network.backbone.photo_tokens
        questions = GenerationInputs(self.inputs.item.transform, photo_tokens=photo_tokens, words_share=1.0)
        questions.tokenizer = self.inputs.tokenizer
        return questions

    # Checkpoint folders ------------------------------------------------------------------------------------------------

    def fitted_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A dense checkpoint's feed-forward networks fill the experts that this model has in their place; weights without
        adapters go beside the adapters that this model has."""
        return upcycled(super().fitted_weights(weights), self)
