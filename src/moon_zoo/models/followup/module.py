"""Training and use of a model that asks follow-up questions with knowledge from outside of the conversation.

Source: "Follow-up question generation enhanced by external knowledge", arXiv:2504.05801: a language model is fine-tuned on
question, answer and knowledge to the follow-up. Padding is masked in the labels (the paper's baselines forgot it); knowledge is
looked up by `moon_zoo.knowledge` before, and lies in the shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.knowledge.finding import Found, KnowledgeFinder
from moon_zoo.knowledge.recognition import Recognised
from moon_zoo.knowledge.selection import Selected
from moon_zoo.models.base import LRSchedule
from moon_zoo.models.checkpoint_config import HERE
from moon_zoo.models.followup import figures as _figures  # noqa: F401  (known to tables from here on)
from moon_zoo.models.followup.asking import Asked, ask_in_steps, asked, write_questions
from moon_zoo.models.followup.evaluation import FollowupEvaluation, written
from moon_zoo.models.followup.inputs import TEMPLATE, FollowupInputs, KnowledgeUse
from moon_zoo.models.followup.network import LORA_SETTINGS, FollowupNetwork, load_adapters
from moon_zoo.models.followup.notes import CutTexts
from moon_zoo.models.language_model import FOLDER, LanguageModelModule
from moon_zoo.models.numbers import check_at_least
from moon_zoo.models.sample_notes import SampleNotes
from moon_zoo.nn.reaching import reaching
from moon_zoo.nn.writing.generation import Writing
from moon_zoo.nn.writing.lm import build_lm, write_config
from moon_zoo.nn.writing.sizes import Architecture

TRAINED_PAD, TRAINED_END = 0, 2
"""Ids of a trained tokenizer's special tokens (`moon_zoo.nn.multimodal.special_tokens.NAMES`, in their order)."""


class Followup(LanguageModelModule):
    """A language model that asks follow-up questions.

    Args:
        backbone: An encoder-decoder (``facebook/bart-large``) or decoder (``Qwen/Qwen2.5-3B-Instruct``) of transformers by hub
            name or local folder; null builds a tiny one from numbers.
        backbone_pretrained: With a name: whether to load its weights or only its configuration.
        backbone_options: Numbers of the tiny one (``hidden_size``, ``num_hidden_layers``; ``d_model``, ``num_layers``), or
            overrides of the named one's configuration.
        architecture: Of the tiny one: ``causal`` goes on with what it reads, ``seq2seq`` reads both ways and then writes.
        tokenizer: Hub name or folder; null takes the backbone's, or trains one on the training shards where none is named.
        vocab_size: Rows of the tiny one's table of tokens, and the largest vocabulary of a trained tokenizer.
        knowledge: ``given`` by the shards, ``none`` (a baseline), or ``shuffled`` among the samples of a batch (a control).
        template: What is read, with the places ``{question}``, ``{answer}`` and ``{knowledge}``.
        max_tokens: Room of what is read; answers, knowledge and questions without room are cut, in this order.
        max_follow_up_tokens: Room of what is written.
        length_groups: Into how many groups of like length a batch is cut, so that little padding is computed; the loss and its
            gradient stay those of the whole batch.
        beams: Beginnings that are kept at a time when a question is written; 1 takes the likeliest token each time.
        temperature: Above 0 tokens are drawn, with ``beams`` 1.
        top_p: Draw only among the likeliest tokens that together have this probability.
        no_repeat: No run of so many tokens is written twice in a question; 0 for any.
        retries: How often a text that is no question is drawn anew.
        generation_samples: Samples of an evaluated split that questions are written for.
        gradient_checkpointing: Whether layers are computed again in the backward pass instead of kept in memory.
        lora: Low-rank adapters on the backbone's linear layers, which alone are then trained: ``rank``, ``alpha``, ``dropout``,
            ``targets``; null trains all weights.
        optimizer: Called with the parameters.
        lr_schedule: ``cosine`` falls to 0 at the end of training; ``constant`` does not.
        lr_scheduler: A scheduler of one's own instead, called with the optimiser and stepped every step.
        warmup_steps: Optimiser steps over which the learning rate grows from 0.
    """

    inputs: FollowupInputs
    sample_kinds: ClassVar[tuple[str, ...]] = ("follow_up",)

    def __init__(
        self,
        *,
        backbone: str | None = None,
        backbone_pretrained: bool = True,
        backbone_options: dict[str, Any] | None = None,
        architecture: Architecture = "causal",
        tokenizer: str | None = None,
        vocab_size: int = 2048,
        knowledge: KnowledgeUse = "given",
        template: str = TEMPLATE,
        max_tokens: int = 128,
        max_follow_up_tokens: int = 48,
        length_groups: int = 4,
        beams: int = 4,
        temperature: float = 0.0,
        top_p: float = 1.0,
        no_repeat: int = 3,
        retries: int = 2,
        generation_samples: int = 64,
        gradient_checkpointing: bool = False,
        lora: dict[str, Any] | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: LRSchedule = "cosine",
        lr_scheduler: LRSchedulerCallable | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_at_least(1, max_tokens=max_tokens, max_follow_up_tokens=max_follow_up_tokens, length_groups=length_groups)
        check_at_least(0, retries=retries, generation_samples=generation_samples)
        lm = build_lm(
            backbone,
            pretrained=backbone_pretrained,
            options=backbone_options,
            architecture=architecture,
            vocab_size=vocab_size,
            pad_id=TRAINED_PAD,
            end_id=TRAINED_END,
        )
        super().__init__(
            FollowupInputs(
                seq2seq=bool(lm.config.is_encoder_decoder),
                knowledge=knowledge,
                template=template,
                max_tokens=max_tokens,
                max_follow_up_tokens=max_follow_up_tokens,
                tokenizer=tokenizer if tokenizer is not None else _tokenizer_of(backbone),
                vocab_size=vocab_size,
            ),
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            lr_scheduler=lr_scheduler,
            warmup_steps=warmup_steps,
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"])
        if gradient_checkpointing:
            enable = getattr(lm, "activation_checkpointing_enable", None)  # its name from transformers 5.2 on
            # not reentrant, as DDP wants it
            (enable or lm.gradient_checkpointing_enable)({"use_reentrant": False})
        if lora is not None:
            unknown = sorted(lora.keys() - set(LORA_SETTINGS))
            if unknown:
                raise RecipeError(
                    f"lora has no setting {unknown[0]!r}; settings are {', '.join(LORA_SETTINGS)}",
                    suggestions=did_you_mean(unknown[0], LORA_SETTINGS),
                    change="model.init_args.lora",
                )
            lm = load_adapters(lm, lora)
        self.network = FollowupNetwork(lm, length_groups=length_groups)
        self.writing = Writing(
            max_new_tokens=max_follow_up_tokens,
            beams=beams,
            temperature=temperature,
            top_p=top_p,
            no_repeat=no_repeat,
        )
        self.retries = retries
        self.evaluation = FollowupEvaluation(generation_samples)
        self._split = "val"
        self._notes = SampleNotes(self, lambda: CutTexts(max_tokens, max_follow_up_tokens))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and sums of a batch; see `moon_zoo.nn.writing.loss.writing_loss`."""
        found: tuple[Tensor, Tensor] = self.network(batch)
        return found

    # Training ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of follow-ups."""
        loss, sums = self(batch)
        loss = reaching(loss, [parameter for parameter in self.parameters() if parameter.requires_grad])
        rows, tokens = len(batch["valid"]), sums[2].clamp_min(1)
        self.log("train/loss", sums[0] / tokens, prog_bar=True, batch_size=rows)
        self.log("train/token_accuracy", sums[1] / tokens, batch_size=rows)
        if self.current_epoch == 0:
            self._notes.add("train", batch)
        return loss

    def on_train_epoch_end(self) -> None:
        """Say once how many texts were cut."""
        self._notes.say("train")

    # Evaluation --------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook."""
        self._split = "val"
        self.evaluation.start()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect losses, and let the model ask some questions."""
        self.evaluation.add(self(batch)[1])
        self.evaluation.write(self._write, self.inputs, batch)
        self._notes.add(self._split, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole set."""
        self._log(self._split)

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self._split = "test"
        self.evaluation.start()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._log("test")

    def _log(self, split: str) -> None:
        for name, value in self.evaluation.figures().items():
            # of all ranks' rows, so nothing is left to reduce
            self.log(f"{split}/{name}", value, prog_bar=f"{split}/{name}" == self.primary_metric, sync_dist=False)
        self._notes.say(split)

    def report_data(self) -> dict[str, Any]:
        """Some of what the last evaluation asked, beside what people asked."""
        return {f"follow_ups_{self._split}": self.evaluation.examples} if self.evaluation.examples else {}

    # Use ---------------------------------------------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        answer: str,
        *,
        finder: KnowledgeFinder | None = None,
        writing: Writing | None = None,
    ) -> Asked:
        """The next question after one question and its answer.

        Args:
            question: What was asked; may be empty, long, in any language.
            answer: What was answered.
            finder: Looks knowledge up; None asks without.
            writing: How; the model's own settings where None.

        Returns:
            The question, the knowledge behind it, and how that was found. No question is no error.

        Example:
            ``print(Followup.from_pretrained("followup/shop").ask("Is the mug safe to heat?", "Yes, it is stoneware."))``
        """
        *_, last = self.ask_in_steps(question, answer, finder=finder, writing=writing)
        assert isinstance(last, Asked)
        return last

    def ask_in_steps(
        self,
        question: str,
        answer: str,
        *,
        finder: KnowledgeFinder | None = None,
        writing: Writing | None = None,
    ) -> Iterator[Recognised | Selected | Found | Asked]:
        """As `ask`, step by step: what was recognised, selected and found, and at last what is asked."""
        yield from ask_in_steps(
            self.network, self.inputs, question, answer, finder, writing or self.writing, retries=self.retries
        )

    def ask_all(
        self,
        questions: Sequence[str],
        answers: Sequence[str],
        knowledge: Sequence[str] | None = None,
        *,
        writing: Writing | None = None,
        batch_size: int = 32,
    ) -> list[str | None]:
        """The next questions after many.

        Args:
            questions: What was asked.
            answers: What was answered.
            knowledge: A text for each; None for none.
            writing: How; the model's own settings where None.
            batch_size: At a time.

        Returns:
            A question for each; None where none came.
        """
        given = knowledge if knowledge is not None else [""] * len(questions)
        texts = [
            {"question": one, "answer": other, "knowledge": known}
            for one, other, known in zip(questions, answers, given, strict=True)
        ]
        said = asked(
            self.network, self.inputs, texts, writing or self.writing, retries=self.retries, batch_size=batch_size
        )
        return [one or None for one in said]

    def _write(self, prompt_ids: Tensor, prompt_mask: Tensor) -> list[str]:
        return write_questions(self.network, self.inputs, prompt_ids, prompt_mask, self.writing, retries=self.retries)

    def predict_columns(self) -> dict[str, str]:
        """What `predict_step` returns."""
        return {
            "follow_up": "what the model asks; empty where no question came",
            "question": "what had been asked, as the model reads it",
            "answer": "what had been answered, as the model reads it",
            "knowledge": "the sample's knowledge",
            "concept": "the true concept behind the follow-up, where the set knows it, or else that of the knowledge",
            "reference": "what a person asked",
        }

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Questions, and what is behind each."""
        said = self._write(batch["prompt_ids"], batch["prompt_mask"])
        rows = torch.arange(len(said))
        found = written(self.inputs, batch, rows, said)
        return {name: [getattr(one, name) for one in found] for name in self.predict_columns()}

    # Checkpoint folders ------------------------------------------------------------------------------------------------

    def write_backbone(self, folder: Path) -> dict[str, Any]:
        """Write what builds the named backbone again."""
        options = write_config(self.network.lm, folder / FOLDER)
        return {"backbone": f"{HERE}/{FOLDER}", "backbone_pretrained": False, "backbone_options": options}


def _tokenizer_of(backbone: str | None) -> str | None:
    """Whose tokenizer a backbone comes with: its own, or none where it is a mere configuration of a checkpoint."""
    if backbone is None:
        return None
    folder = Path(backbone)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return None
    return backbone
