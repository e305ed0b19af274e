"""Training and use of DREAM's assistant: a multimodal LLM that is fine-tuned on safe answers, then on preferences.

Source: DREAM, arXiv:2504.18053: answers of fine-tuning were written with the risks known, and the student learns them without
(section 3.2); preferences come from judges (section 3.3). Losses, references and filters of the second stage are ours; see
`moon_zoo.nn.preference` for their sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from moon_zoo.data.conversations import Prompt
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import CheckpointError, RecipeError
from moon_zoo.models.base import LRSchedule
from moon_zoo.models.dream import answering
from moon_zoo.models.dream import figures as _figures  # noqa: F401  (known to tables from here on)
from moon_zoo.models.dream.evaluation import DreamEvaluation
from moon_zoo.models.dream.inputs import Answers, DreamInputs, Stage
from moon_zoo.models.dream.network import DreamNetwork, prompts_of
from moon_zoo.models.dream.notes import CutAnswers
from moon_zoo.models.dream.objectives import PreferenceObjective, pair_figures
from moon_zoo.models.dream.observing import WordingsName
from moon_zoo.models.dream.reference import (
    FILE,
    AdapterOff,
    Cached,
    FrozenCopy,
    Reference,
    ReferenceName,
    made_by,
    reference_log_probabilities,
)
from moon_zoo.models.dream.reference_cache import Made
from moon_zoo.models.language_model import (
    LanguageModelModule,
    add_adapters,
    special_tokens,
    tokenizer_of,
)
from moon_zoo.models.numbers import check_at_least
from moon_zoo.models.sample_notes import SampleNotes
from moon_zoo.nn.augment import PhotoAugment, augmented_bytes
from moon_zoo.nn.gathering import sum_over_ranks
from moon_zoo.nn.multimodal.families import build_backbone
from moon_zoo.nn.preference import LossName
from moon_zoo.nn.reaching import reaching

NOTE = "dream_reference"
"""Key of a checkpoint under which it says what the reference was."""


class Dream(LanguageModelModule):
    """A multimodal LLM as an assistant that notices risks and stays helpful.

    Args:
        backbone: A multimodal LLM of transformers (``Qwen/Qwen2.5-VL-3B-Instruct``) by hub name or local folder; null builds
            a tiny one from numbers.
        backbone_pretrained: With a name: whether to load its weights or only its configuration.
        backbone_options: Numbers of the tiny one (``hidden_size``, ``num_hidden_layers``, ``vision_config: {...}``), or
            overrides of the named one's configuration.
        photo_size: Side of the square images, in pixels.
        tokenizer: Hub name or folder; null takes the backbone's, or trains one on the training shards where none is named.
        vocab_size: Rows of the token table, and the largest vocabulary of a trained tokenizer, where no backbone is named.
        system: Text of a system turn for conversations without one; empty for none.
        max_prompt_tokens: Room of a prompt, its image's tokens included; a prompt without room is refused, never cut.
        max_answer_tokens: Room of an answer; a longer one is cut, and then has no end to learn.
        stage: ``sft`` learns answers (kind ``instruction``), ``preference`` which of two is the better (kind ``preference``).
        answers: ``reference`` answers were written with the risks known, which the student is not shown; ``plain`` ones (the
            shop's) are those of an assistant that knows of no risks.
        observation_task: Weight of a further task of fine-tuning, to say what is risky about a prompt; 0 for none.
        observation_prompts: In which words the question for the risks is asked: ``short`` for small models, or ``full``.
        observing_tokens: Room of the question for the risks, image included.
        observation_tokens: Room of its answer.
        loss: Of the stage ``preference``: ``dpo``, ``ipo`` or ``mpo`` (preference, quality and generation together).
        beta: How strongly the policy is held to the reference.
        label_smoothing: How often the judge is believed to be wrong, under 0.5.
        nll_anchor: Weight of the chosen answers' own cross entropy, against both answers becoming less likely.
        length_filter: Pairs are left out whose longer answer has more than so many times the tokens of the shorter; null for
            none.
        reference: What the policy is held to, as it was when training began: ``adapter`` (needs ``lora``), a frozen ``copy``,
            or log-probabilities in a ``cache`` on disk.
        reference_cache: Folder of that cache; null keeps it in the zoo's own.
        generation_samples: Samples of an evaluated split that answers are written for.
        gradient_checkpointing: Whether layers are computed again in the backward pass instead of kept in memory.
        freeze: ``vision`` keeps the part that reads images as it is.
        lora: Low-rank adapters on the backbone's linear layers, which alone are then trained: ``rank``, ``alpha``, ``dropout``,
            ``targets``, ``vision``; null trains all weights.
        crop_scale: Smallest and largest share of an image's area that a crop of fine-tuning keeps.
        horizontal_flip: Whether images of fine-tuning are mirrored half of the time; not where they hold writing.
        augment: Arguments of `moon_zoo.nn.augment.PhotoAugment` for fine-tuning; null for none.
        resize: How images become square: ``squash``, ``letterbox`` or ``crop``.
        optimizer: Called with the parameters.
        lr_schedule: ``cosine`` falls to 0 at the end of training; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows from 0.
    """

    inputs: DreamInputs
    sample_kinds: ClassVar[tuple[str, ...]] = ("instruction", "preference")
    left_out: ClassVar[tuple[str, ...]] = ("tokenizer", "reference_cache")
    training_state: ClassVar[tuple[str, ...]] = ("objective.reward_sums",)

    def __init__(
        self,
        *,
        backbone: str | None = None,
        backbone_pretrained: bool = True,
        backbone_options: dict[str, Any] | None = None,
        photo_size: int = 64,
        tokenizer: str | None = None,
        vocab_size: int = 4096,
        system: str = "",
        max_prompt_tokens: int = 128,
        max_answer_tokens: int = 64,
        stage: Stage = "sft",
        answers: Answers = "reference",
        observation_task: float = 0.0,
        observation_prompts: WordingsName = "short",
        observing_tokens: int = 256,
        observation_tokens: int = 64,
        loss: LossName = "dpo",
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        nll_anchor: float = 0.0,
        length_filter: float | None = 3.0,
        reference: ReferenceName = "cache",
        reference_cache: str | None = None,
        generation_samples: int = 32,
        gradient_checkpointing: bool = False,
        freeze: Literal["none", "vision"] = "none",
        lora: dict[str, Any] | None = None,
        crop_scale: tuple[float, float] = (1.0, 1.0),
        horizontal_flip: bool = False,
        augment: dict[str, float] | None = None,
        resize: Literal["crop", "letterbox", "squash"] = "squash",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_at_least(
            1,
            max_prompt_tokens=max_prompt_tokens,
            max_answer_tokens=max_answer_tokens,
            observing_tokens=observing_tokens,
            observation_tokens=observation_tokens,
        )
        check_at_least(0, observation_task=observation_task)
        if reference == "adapter" and stage == "preference" and lora is None:
            raise RecipeError(
                "the reference adapter is the policy with its adapters off, but there are none",
                change="model.init_args.lora, such as {rank: 16}; or model.init_args.reference to cache or copy",
            )
        built = build_backbone(
            backbone,
            pretrained=backbone_pretrained,
            options=backbone_options,
            photo_size=photo_size,
            vocab_size=vocab_size if backbone is None else None,
            special=special_tokens(backbone, tokenizer),
        )
        super().__init__(
            DreamInputs(
                PhotoTransform(photo_size, crop_scale=crop_scale, horizontal_flip=horizontal_flip, resize=resize),
                photo_tokens=built.photo_tokens,
                stage=stage,
                answers=answers,
                max_prompt_tokens=max_prompt_tokens,
                max_answer_tokens=max_answer_tokens,
                observing=observation_task > 0 and stage == "sft",
                observing_prompts=observation_prompts,
                max_observing_tokens=observing_tokens,
                max_observation_tokens=observation_tokens,
                system=system,
                tokenizer=tokenizer if tokenizer is not None else tokenizer_of(backbone),
                vocab_size=vocab_size,
            ),
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            lr_scheduler=lr_scheduler,
            warmup_steps=warmup_steps,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        if gradient_checkpointing:
            built.set_gradient_checkpointing(True)
        if freeze == "vision":
            built.visual.requires_grad_(False)
        if lora is not None:
            add_adapters(built, lora)
        self.network = DreamNetwork(built)
        self.stage = stage
        self.observation_weight = observation_task if stage == "sft" else 0.0
        self.objective = PreferenceObjective(
            loss, beta=beta, label_smoothing=label_smoothing, nll_anchor=nll_anchor, length_filter=length_filter
        )
        self.reference_name: ReferenceName = reference
        self.reference_cache = reference_cache
        if stage == "preference":
            self.sample_kinds = ("preference", "instruction")  # type: ignore[misc]
        self.augment = PhotoAugment(**augment) if augment is not None and stage == "sft" else nn.Identity()
        self.evaluation = DreamEvaluation(generation_samples)
        self._split = "val"
        self._notes = SampleNotes(self, lambda: CutAnswers(max_answer_tokens))
        self._made: Made | None = None
        self._noted: Made | None = None
        self._hold(AdapterOff() if reference == "adapter" else None)

    _reference: Reference | None

    def build(self) -> None:
        """Tell the backbone what the tokenizer calls its special tokens."""
        if self.inputs.has_tokenizer:
            self.network.backbone.special = self.inputs.tokenizer.special

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of a batch's answers, float32 ``(batch, completions)``, in nats."""
        return self.network(batch)

    # Training ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of answers, or of pairs of them."""
        if self.stage == "sft":
            loss, figures = self._sft_step(self._augmented(batch))
        else:
            loss, figures = self._preference_step(batch)
        loss = reaching(loss, [parameter for parameter in self.parameters() if parameter.requires_grad])
        rows = len(batch["valid"])
        self.log("train/loss", figures.pop("loss"), prog_bar=True, batch_size=rows)
        self.log_dict({f"train/{name}": value.float() for name, value in figures.items()}, batch_size=rows)
        if self.current_epoch == 0:
            self._notes.add("train", batch)
        return loss

    def _sft_step(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.observation_weight > 0:
            batch = self.network.with_photo_states(batch)
        loss, sums = self.network.answer_loss(batch)
        figures = _answer_figures("generation", sums)
        figures["loss"] = figures["generation/loss"]
        if self.observation_weight > 0:
            further, sums = self.network.observation_loss(batch)
            loss = loss + self.observation_weight * further
            figures |= _answer_figures("observation", sums)
            figures["loss"] = figures["loss"] + self.observation_weight * figures["observation/loss"]
        return loss, figures

    def _preference_step(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        policy = self(batch)
        reference = self._reference_of(policy, batch, "train")
        loss, sums = self.objective(policy, reference, batch["completion_mask"], batch["valid"])
        sums = sum_over_ranks(sums)
        self.objective.remember(sums)
        return loss, pair_figures(sums)

    def _reference_of(self, policy: Tensor, batch: Mapping[str, Tensor], split: str) -> Tensor | None:
        if policy.is_meta and not isinstance(self._reference, AdapterOff):
            return policy.detach()  # a check of shapes: what the reference says is a question of values
        if self._reference is None:
            if split == "train":
                raise RuntimeError("there is no reference yet: it is made when a fit starts")
            return None
        return self._reference(self.network, batch, split)

    def _augmented(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Colours changed, every image by itself."""
        if isinstance(self.augment, nn.Identity):
            return batch
        return batch | {"photos": augmented_bytes(self.augment, batch["photos"])}

    def on_train_epoch_end(self) -> None:
        """Say once how many answers were cut."""
        self._notes.say("train")

    # The reference -----------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Before the first step, the reference: the policy as it is now, or as it was where training goes on."""
        super().on_fit_start()
        if self.stage != "preference":
            return
        self._require_pairs()
        self._set_up_reference(("train", "val"), fitting=True)

    def _require_pairs(self) -> None:
        datamodule = getattr(self.trainer, "datamodule", None)
        for split in ("train", "val"):
            if datamodule is None or datamodule.paths.get(split) is None:
                continue
            kind = datamodule.shards(split).manifest.kind
            if kind != "preference":
                raise RecipeError(
                    f"the stage preference learns from pairs of answers, and these are of kind {kind}",
                    where=f"data.init_args.{split} = {datamodule.paths[split]}",
                    change=f"data.init_args.{split}, to a set of kind preference; or model.init_args.stage to sft",
                )

    def _set_up_reference(self, splits: Sequence[str], *, fitting: bool) -> None:
        if self.reference_name == "adapter":
            return
        noted, self._noted = self._noted, None
        if noted is None and not fitting:
            return  # a checkpoint folder does not say what it was held to
        self._made = noted or made_by(self, str(self.trainer.precision))
        self._hold(None)
        begins = fitting and noted is None
        try:
            if self.reference_name == "copy":
                self._set_up_copy(begins)
            else:
                self._set_up_cache(splits, begins)
        except CheckpointError:
            if fitting:
                raise
            # Evaluation without the reference has fewer figures, but has some.

    def _set_up_copy(self, begins: bool) -> None:
        path = Path(self.trainer.default_root_dir) / FILE
        frozen = FrozenCopy(self.network)
        if not begins:
            frozen.load(path)
        elif self.trainer.is_global_zero:
            frozen.save(path)
        self._hold(frozen)

    def _set_up_cache(self, splits: Sequence[str], begins: bool) -> None:
        if begins and isinstance(self.trainer.strategy, (FSDPStrategy, ModelParallelStrategy)):
            raise RecipeError(
                "processes that share weights must all compute alike, and those that make a cache do not",
                change="model.init_args.reference to adapter, or trainer.strategy to ddp",
            )
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        tables: dict[str, Tensor] = {}
        for split in splits if datamodule is not None else ():
            if datamodule.paths.get(split) is None:
                continue
            tables[split] = reference_log_probabilities(
                self,
                datamodule.shards(split),
                folder=None if self.reference_cache is None else Path(self.reference_cache),
                made=self._made,
                may_compute=begins,
                batch_size=datamodule.eval_batch_size,
                forward=self.trainer.precision_plugin.forward_context,
                on_error=datamodule.on_error,
                quiet=not self.trainer.progress_bar_callback,
            )
        self._hold(Cached(tables))

    def _hold(self, reference: Reference | None) -> None:
        """Not as a submodule: a frozen copy's weights are no weights of this model."""
        object.__setattr__(self, "_reference", reference)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note also what the reference was."""
        super().on_save_checkpoint(checkpoint)
        if self._made is not None:
            checkpoint[NOTE] = self._made.as_json()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Know again what the reference was."""
        super().on_load_checkpoint(checkpoint)
        noted = checkpoint.get(NOTE)
        self._noted = None if noted is None else Made(**noted)

    # Evaluation --------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook."""
        self._start("val")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect sums, and let the model answer some prompts."""
        if self.stage == "sft":
            self.evaluation.add("generation", self.network.answer_loss(batch)[1])
            if self.observation_weight > 0:
                self.evaluation.add("observation", self.network.observation_loss(batch)[1])
        else:
            policy = self(batch)
            reference = self._reference_of(policy, batch, self._split)
            _, sums = self.objective(policy, reference, batch["completion_mask"], batch["valid"])
            self.evaluation.add("pairs", sum_over_ranks(sums), known=reference is not None)
        self.evaluation.write(self.network, self.inputs, batch)
        self._notes.add(self._split, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole set."""
        self._log(self._split)

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self._start("test")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._log("test")

    def _start(self, split: str) -> None:
        self._split = split
        self.evaluation.start()
        if self.stage == "preference" and self._reference is None:
            self._set_up_reference((split,), fitting=False)

    def _log(self, split: str) -> None:
        for name, value in self.evaluation.figures(self.observation_weight).items():
            # Sums over all ranks' rows, so nothing is left to reduce.
            self.log(f"{split}/{name}", value, prog_bar=f"{split}/{name}" == self.primary_metric, sync_dist=False)
        self._notes.say(split)

    def report_data(self) -> dict[str, Any]:
        """Some of what the last evaluation wrote, beside what was right."""
        return {f"answers_{self._split}": self.evaluation.examples} if self.evaluation.examples else {}

    # Use: an assistant of `moon_zoo.safety` -----------------------------------------------------------------------------

    def answer(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        batch_size: int = answering.MOST_ANSWERS,
    ) -> list[list[str]]:
        """Answers to prompts.

        Args:
            prompts: What is asked; may be longer than what was trained on.
            samples: Answers of each prompt.
            max_new_tokens: Longest answer.
            temperature: 0 takes the likeliest token each time, and all answers of a prompt are then the same.
            top_p: Draw only among the likeliest tokens that together have this probability.
            seed: Of the draws. The k-th answer to a prompt follows from prompt, k and seed, whatever is asked beside it.
            batch_size: Answers that are written at a time.

        Returns:
            ``samples`` texts per prompt.

        Example:
            ``Dream.from_pretrained("dream/shop").answer([Prompt(user("may a toddler play with this?"), photo)])``
        """
        return answering.answer(
            self.network,
            self.inputs,
            prompts,
            samples=samples,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            batch_size=batch_size,
        )

    def option_log_probabilities(
        self, prompts: Sequence[Prompt], options: Sequence[str], *, batch_size: int = 32
    ) -> Tensor:
        """How likely each option is as the beginning of the next answer.

        Args:
            prompts: What is asked.
            options: Texts, such as ``Yes`` and ``No``.
            batch_size: Prompts at a time.

        Returns:
            float32 ``(prompts, options)``, on the CPU, in nats.
        """
        return answering.option_log_probabilities(self.network, self.inputs, prompts, options, batch_size=batch_size)

    def predict_columns(self) -> dict[str, str]:
        """What `predict_step` returns."""
        return {"answer": "what the model answers, greedily"}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Answers."""
        texts = answering.continued(
            self.network, self.inputs, prompts_of(batch), max_new_tokens=self.inputs.max_answer_tokens
        )
        return {"answer": texts}


def _answer_figures(name: str, sums: Tensor) -> dict[str, Tensor]:
    """Figures of the sums of `moon_zoo.nn.multimodal.answers.answer_loss`."""
    tokens = sums[2].clamp_min(1)
    return {f"{name}/loss": sums[0] / tokens, f"{name}/token_accuracy": sums[1] / tokens, f"{name}/tokens": sums[2]}
