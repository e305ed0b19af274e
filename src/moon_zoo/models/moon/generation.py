"""Generation as training and use see it: the loss of next-token prediction over answers, and answers to questions.

Source: MOON's generative pretraining, arXiv:2511.11305. The loss is the mean over the answers' tokens of all ranks; the
question, the photos and the pads are not predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from moon_zoo.data.inputs import stack
from moon_zoo.data.kinds import Product
from moon_zoo.models.moon.generation_inputs import PREFIX, GenerationInputs
from moon_zoo.models.moon.tasks import TASKS
from moon_zoo.nn.multimodal import answers
from moon_zoo.nn.multimodal.chat import IGNORED
from moon_zoo.nn.multimodal.generation import generate as write
from moon_zoo.nn.multimodal.sequence import Sequence as TokenSequence

__all__ = [
    "TASKS",
    "GenerationInputs",
    "answer_places",
    "continued",
    "generate",
    "generation_loss",
    "predicted_columns",
    "question_of",
    "sequence_of",
]

MAX_NEW_TOKENS: Final = 64

PREDICTED: Final[Mapping[str, str]] = {
    "describe": "what the model writes as the product's description",
    "attributes": "the attributes that the model names, as name: value; name: value",
    "title": "the title that the model writes",
    "main_subject": "where the first photo shows the product and what it is, as JSON in thousandths of the photo's sides",
}
"""Task to the meaning of its column ``generated_<task>``."""


def sequence_of(batch: Mapping[str, Tensor], task: str | None = None) -> TokenSequence:
    """The sequences of a batch of `GenerationInputs`.

    Args:
        batch: As the inputs made it.
        task: One of ``predict_tasks``, for its question; None for the question and answer that were drawn.
    """
    prefix = PREFIX if task is None else f"{PREFIX}{task}_"
    return TokenSequence(
        token_ids=batch[f"{prefix}token_ids"],
        mask=batch[f"{prefix}token_mask"],
        token_type=batch[f"{prefix}token_type"],
        photos=batch["generation_photos" if task is None else "generation_predict_photos"],
        photo_mask=batch[f"{prefix}photo_mask"],
    )


def question_of(batch: Mapping[str, Tensor]) -> TokenSequence:
    """The drawn questions of a batch of `GenerationInputs`, without their answers."""
    answer = batch["generation_labels"].shape[1]
    whole = sequence_of(batch)
    return replace(
        whole,
        token_ids=whole.token_ids[:, :-answer],
        mask=whole.mask[:, :-answer],
        token_type=whole.token_type[:, :-answer],
    )


def answer_places(backbone: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states before each token of the answers, and those tokens.

    Answers stand in the last places of the sequences, so only those meet the vocabulary: the logits of everything else would
    be most of the memory.

    Args:
        backbone: A `moon_zoo.nn.multimodal.backbone.MultimodalLM`.
        batch: As the inputs made it; rows whose ``valid`` is False have nothing to predict.

    Returns:
        ``(tokens, hidden_size)``, the int64 labels ``(tokens,)``, and each one's row of the batch, int64 ``(tokens,)``. On
        devices that want static shapes all places are kept, with the label -100 where there is nothing to predict.
    """
    return answers.answer_places(backbone, sequence_of(batch), _labels(batch))


def _labels(batch: Mapping[str, Tensor]) -> Tensor:
    """What is to be predicted, ``(batch, answer)``; nothing in rows that are not valid."""
    labels = batch["generation_labels"]
    return labels.masked_fill(~batch["valid"][:, None], IGNORED) if "valid" in batch else labels


def generation_loss(network: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of the answers' tokens under a causal mask.

    Args:
        network: A `moon_zoo.nn.multimodal.backbone.MultimodalLM`, or what holds one as ``backbone``.
        batch: As the inputs made it.

    Returns:
        The loss, a scalar: averaged over ranks, as DDP averages gradients, it is the mean over all ranks' tokens, whatever
        each rank's share of them. And figures, detached, equal on all ranks: ``generation/loss`` in nats,
        ``generation/token_accuracy`` and ``generation/tokens`` (of answers, all ranks).
    """
    backbone = getattr(network, "backbone", network)
    loss, sums = answers.answer_loss(backbone, sequence_of(batch), _labels(batch))
    tokens = sums[2].clamp_min(1)
    figures = {
        "generation/loss": sums[0] / tokens,
        "generation/token_accuracy": sums[1] / tokens,
        "generation/tokens": sums[2],
    }
    return loss, figures


@torch.no_grad()
def generate(
    network: Any,
    inputs: GenerationInputs,
    products: Sequence[Product],
    task: str,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
) -> list[str]:
    """A model's answers about products.

    Args:
        network: As for `generation_loss`.
        inputs: Of the model.
        products: What is asked about.
        task: One of `TASKS`.
        max_new_tokens: Longest answer.
        temperature: 0 takes the likeliest token each time.
        top_p: Draw only among the likeliest tokens that together have this probability.
        seed: Of the draws.
        batch_size: Products at a time.

    Returns:
        One text per product, as the model said it.
    """
    backbone = getattr(network, "backbone", network)
    device = next(backbone.parameters()).device
    texts: list[str] = []
    generator = torch.Generator(device).manual_seed(seed)
    for start in range(0, len(products), batch_size):
        asked = [inputs.prompt(product, task) for product in products[start : start + batch_size]]
        batch = {name: tensor.to(device) for name, tensor in stack(asked).items()}
        texts += continued(
            backbone,
            inputs,
            sequence_of(batch),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            generator=generator,
        )
    return texts


@torch.no_grad()
def continued(network: Any, inputs: GenerationInputs, sequence: TokenSequence, **options: Any) -> list[str]:
    """Texts that continue sequences which end in a question.

    Args:
        network: As for `generation_loss`.
        inputs: Of the model.
        sequence: From `sequence_of`.
        options: As for `moon_zoo.nn.multimodal.generation.generate`.
    """
    backbone = getattr(network, "backbone", network)
    tokenizer = inputs.tokenizer
    assert tokenizer is not None, "the inputs have no tokenizer yet"
    return [tokenizer.decode(ids) for ids in write(backbone, sequence, **options)]


def predicted_columns(
    network: Any, inputs: GenerationInputs, batch: Mapping[str, Tensor], max_new_tokens: int = MAX_NEW_TOKENS
) -> dict[str, list[str]]:
    """Answers to the ``predict_tasks`` of the inputs, as columns of text.

    Args:
        network: As for `generation_loss`.
        inputs: Of the model.
        batch: As the inputs made it outside training.
        max_new_tokens: Longest answer.

    Returns:
        ``generated_<task>`` to one text per row.
    """
    return {
        f"generated_{task}": continued(network, inputs, sequence_of(batch, task), max_new_tokens=max_new_tokens)
        for task in inputs.predict_tasks
    }


def spread_rows(count: int, share: float) -> list[int]:
    """Places of about ``share`` of a batch, evenly spread, at least one: so that two ranks choose what one process would, where
    their batches hold a whole number of chosen rows."""
    return [row for row in range(count) if int((row + 1) * share + 1e-9) > int(row * share + 1e-9)] or [0]
