"""Questions, answers and knowledge to tensors, and the follow-ups that are to be asked.

What is read is a template with three places; the words of its own are read once. Texts without room are cut: the answer first,
of which the beginning is kept, then knowledge, then the question. Batches are as long as their longest row needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from moon_zoo.data.follow_ups import FollowUp
from moon_zoo.data.inputs import Draw
from moon_zoo.data.tokenized_inputs import TokenizedInputs
from moon_zoo.errors import RecipeError
from moon_zoo.nn.writing.loss import IGNORED
from moon_zoo.nn.writing.tokenizer import WritingTokenizer

KnowledgeUse = Literal["given", "none", "shuffled"]
KNOWLEDGE_USES: Final[tuple[str, ...]] = get_args(KnowledgeUse)
FIELDS: Final = ("question", "answer", "knowledge")
"""Places of a template."""
TEXTS: Final = (*FIELDS, "concept", "reference")
"""Texts of a sample that an evaluation writes back from their ids."""

TEMPLATE: Final = "question: {question}\nanswer: {answer}\nknowledge: {knowledge}\nfollow-up:"
_LEAST: Final = 8
"""Tokens of each text that are kept whatever the room."""
_STEP: Final = 8
_PLACES: Final = re.compile(r"\{(question|answer|knowledge)\}")


class FollowupInputs(TokenizedInputs[WritingTokenizer]):
    """Tensors of one question with its answer, knowledge and follow-up, and batches of them.

    Args:
        seq2seq: Whether an encoder reads what is asked; else a decoder reads it and goes on.
        knowledge: ``given``, ``none`` (the template's place stays empty), or ``shuffled``: that of another sample of the batch.
        template: Text with ``{question}``, ``{answer}`` and ``{knowledge}``; special tokens may be named in it.
        max_tokens: Room of what is read.
        max_follow_up_tokens: Room of what is written; a longer one is cut.
        tokenizer: Hub name or folder, read when it is first needed; None trains one on the training shards' own text.
        vocab_size: Largest vocabulary of a trained tokenizer.

    Raises:
        RecipeError: A template without the three places, or no room for it.
    """

    tokenizer_class = WritingTokenizer

    def __init__(
        self,
        *,
        seq2seq: bool,
        knowledge: KnowledgeUse = "given",
        template: str = TEMPLATE,
        max_tokens: int = 128,
        max_follow_up_tokens: int = 48,
        tokenizer: str | None = None,
        vocab_size: int = 2048,
    ) -> None:
        if knowledge not in KNOWLEDGE_USES:
            raise RecipeError(
                f"knowledge is {knowledge!r}, but must be one of {', '.join(KNOWLEDGE_USES)}",
                change="model.init_args.knowledge",
            )
        found = _PLACES.findall(template)
        if sorted(found) != sorted(FIELDS):
            raise RecipeError(
                f"the template has the places {', '.join(found) or 'none'}, but needs question, answer and knowledge once each",
                change="model.init_args.template",
            )
        super().__init__(tokenizer, vocab_size)
        self.seq2seq = seq2seq
        self.knowledge: KnowledgeUse = knowledge
        self.template = template
        self.max_tokens = max_tokens
        self.max_follow_up_tokens = max_follow_up_tokens
        self._pieces: list[str | list[int]] | None = None

    def _use(self, tokenizer: WritingTokenizer) -> None:
        super()._use(tokenizer)
        self._pieces = None

    # Samples ------------------------------------------------------------------------------------------------------

    def sample(self, sample: FollowUp, draw: Draw) -> dict[str, Tensor]:
        """One sample to ids, each as long as it is.

        Returns:
            ``question``, ``answer`` and ``knowledge`` int64 ``(tokens,)``, cut to their room together; ``follow_up`` int64
            ``(tokens,)`` with its end, at most ``max_follow_up_tokens``; ``cut`` int64 ``(2,)``: whether something read was
            cut, and whether the follow-up was. Outside of training also ``concept`` and ``reference``: ids of the concept
            behind the follow-up, where the set knows it, or else behind the knowledge, and of the whole follow-up.
        """
        known = sample.knowledge
        texts = {
            "question": sample.question,
            "answer": sample.answer,
            "knowledge": known.text if known is not None else "",
        }
        parts, cut = self._fitted(texts)
        whole = self.tokenizer.ids(sample.follow_up)
        written = [*(self.tokenizer.opening if self.seq2seq else ()), *whole, self.tokenizer.end_id]
        tensors = {name: _ids(ids) for name, ids in parts.items()}
        tensors["follow_up"] = _ids(written[: self.max_follow_up_tokens])
        tensors["cut"] = torch.tensor([int(cut), int(len(written) > self.max_follow_up_tokens)])
        if not draw.training:
            true = sample.truth.get("concept")
            concept = true if isinstance(true, str) else known.concept if known is not None else ""
            tensors["concept"] = _ids(self.tokenizer.ids(concept))
            tensors["reference"] = _ids(whole)
        return tensors

    def batch(self, samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Compose and pad samples.

        Returns:
            ``token_ids`` int64 and ``token_mask`` bool ``(batch, length)``: what an encoder reads, or what a decoder reads and
            writes; ``labels`` int64: what is written ``(batch, written)``, or for a decoder ``(batch, length)``, -100
            elsewhere; ``prompt_ids`` and ``prompt_mask``: what is read alone; ``cut`` int64 ``(batch, 2)``. Outside of
            training also ``{text}_ids`` and ``{text}_mask`` of `TEXTS`, for figures of what is written.
        """
        parts = [{name: sample[name].tolist() for name in FIELDS} for sample in samples]
        if self.knowledge == "shuffled":
            own = [part["knowledge"] for part in parts]
            for place, part in enumerate(parts):
                part["knowledge"] = own[_other(own, place)]
        elif self.knowledge == "none":
            for part in parts:
                part["knowledge"] = []
        written = [sample["follow_up"].tolist() for sample in samples]
        prompts = [self._composed(part) for part in parts]
        pad = self.tokenizer.pad_id
        batch: dict[str, Tensor] = {"cut": torch.stack([sample["cut"] for sample in samples])}
        batch["prompt_ids"], batch["prompt_mask"] = _padded(prompts, pad)
        if self.seq2seq:
            batch["token_ids"], batch["token_mask"] = batch["prompt_ids"], batch["prompt_mask"]
            batch["labels"], _ = _padded(written, IGNORED)
        else:
            whole = [[*prompt, *follow_up] for prompt, follow_up in zip(prompts, written, strict=True)]
            batch["token_ids"], batch["token_mask"] = _padded(whole, pad)
            labels = [[IGNORED] * len(prompt) + follow_up for prompt, follow_up in zip(prompts, written, strict=True)]
            batch["labels"], _ = _padded(labels, IGNORED)
        if "reference" in samples[0]:
            for name in TEXTS:
                batch[f"{name}_ids"], batch[f"{name}_mask"] = _padded([one[name].tolist() for one in samples], pad)
        return batch

    def asked(self, texts: Sequence[Mapping[str, str]]) -> tuple[Tensor, Tensor]:
        """Prompts to be gone on from.

        Args:
            texts: Of each, ``question``, ``answer`` and ``knowledge``.

        Returns:
            int64 ids and a bool mask, ``(texts, length)``.
        """
        if self.knowledge == "none":  # what was never seen in training is not shown now
            texts = [{**one, "knowledge": ""} for one in texts]
        return _padded([self._composed(self._fitted(one)[0]) for one in texts], self.tokenizer.pad_id)

    def text(self, ids: Tensor, mask: Tensor) -> list[str]:
        """Rows of ids written back."""
        return [self.tokenizer.decode(row[kept].tolist()) for row, kept in zip(ids.cpu(), mask.cpu(), strict=True)]

    # Parts --------------------------------------------------------------------------------------------------------

    @property
    def pieces(self) -> list[str | list[int]]:
        """The template: names of fields, and ids of the words between them, opening and end included.

        Raises:
            RecipeError: It takes all the room there is.
        """
        if self._pieces is None:
            tokenizer = self.tokenizer
            split = _PLACES.split(self.template)  # words, field, words, field, ...
            found: list[str | list[int]] = [list(tokenizer.opening)]
            found += [part if place % 2 else tokenizer.markup_ids(part) for place, part in enumerate(split)]
            found += [[tokenizer.end_id]] if self.seq2seq else []
            taken = sum(len(part) for part in found if isinstance(part, list))
            if taken + len(FIELDS) * _LEAST > self.max_tokens:
                raise RecipeError(
                    f"the template alone takes {taken} tokens, and there is room for {self.max_tokens}",
                    change=f"model.init_args.max_tokens to {taken + len(FIELDS) * _LEAST} or more, or template",
                )
            self._pieces = found
        return self._pieces

    def _fitted(self, texts: Mapping[str, str]) -> tuple[dict[str, list[int]], bool]:
        """Ids of the three texts, cut to their room together; and whether anything was."""
        room = self.max_tokens - sum(len(part) for part in self.pieces if isinstance(part, list))
        # of an enormous text the beginning is enough: no token of ours spans more than a few dozen characters
        most = 40 * self.max_tokens
        ids = {name: self.tokenizer.ids(texts[name][:most]) for name in FIELDS}
        over = sum(len(one) for one in ids.values()) - room
        cut = over > 0 or any(len(texts[name]) > most for name in FIELDS)
        for name in ("answer", "knowledge", "question"):
            if over > 0:
                kept = max(len(ids[name]) - over, min(_LEAST, len(ids[name])))
                over -= len(ids[name]) - kept
                ids[name] = ids[name][:kept]
        return ids, cut

    def _composed(self, parts: Mapping[str, list[int]]) -> list[int]:
        fixed = sum(len(piece) if isinstance(piece, list) else 0 for piece in self.pieces)
        room = max(self.max_tokens - fixed - len(parts["question"]) - len(parts["answer"]), 0)
        found: list[int] = []
        for piece in self.pieces:
            if isinstance(piece, list):
                found += piece
            else:  # another sample's knowledge may be longer than one's own
                found += parts[piece][:room] if piece == "knowledge" else parts[piece]
        return found

    def _texts(self, sample: FollowUp) -> Iterator[str]:
        """What a tokenizer should have seen of a sample."""
        known = sample.knowledge
        said = [sample.question, sample.answer, sample.follow_up, *_PLACES.sub("\n", self.template).split("\n")]
        said += [known.text, known.concept] if known is not None else []
        yield from (text for text in said if text)


def _other(own: Sequence[list[int]], place: int) -> int:
    """Another place whose knowledge is other than that at ``place``, half a batch away where it can be; itself if none is."""
    count = len(own)
    for step in range(count):
        other = (place + count // 2 + step) % count
        if own[other] != own[place]:
            return other
    return place


def _ids(ids: Sequence[int]) -> Tensor:
    return torch.tensor(ids, dtype=torch.int64)


def _padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[Tensor, Tensor]:
    """Rows as int64 ``(rows, length)``, and a bool mask of what is real; the length is a multiple of 8, at least 8."""
    longest = -(-max(1, *map(len, rows)) // _STEP) * _STEP
    ids = torch.full((len(rows), longest), fill, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[number, : len(row)] = True
    return ids, mask
