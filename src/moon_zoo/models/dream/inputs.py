"""Conversations to tensors: an image, what was said so far, and what is to be answered.

A prompt is Qwen's chat: perhaps a system turn, the user's first turn with the image before its words, further turns,
and the opening of the assistant's. Earlier turns of the assistant are context, whoever wrote them; only the answer is
learned. Prompt and answers have places of fixed number, so shapes are static; answers that are too long are cut,
prompts and images never are: one without room is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from moon_zoo.data.conversations import Instruction, Preference, Prompt
from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.tokenized_inputs import TokenizedInputs
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import DataError
from moon_zoo.models.dream.observing import WordingsName, observations_text, observing_prompt
from moon_zoo.nn.multimodal.chat import Places, answer_ids, photo_block, turn_begins, turn_ends
from moon_zoo.nn.multimodal.token_types import IMAGE
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

Stage = Literal["sft", "preference"]
Answers = Literal["reference", "plain"]

PROMPT, OBSERVING = "prompt_", "observing_"
"""Beginnings of the names of a prompt's tensors: of the user's own, and of the question for its risks."""

PLAIN = "plain_answer"
"""Name, in the truth of an instruction, of the answer of an assistant that knows of no risks."""


class DreamInputs(TokenizedInputs[MultimodalTokenizer]):
    """Tensors of one conversation, and batches of them.

    Args:
        photo: Size and training crops of images.
        photo_tokens: How many tokens an image has.
        stage: ``sft`` gives one answer per prompt, ``preference`` the better and the worse.
        answers: Which answer of an instruction is learned: ``reference``, or ``plain``, of an assistant that knows of no risks.
        max_prompt_tokens: Places of a prompt, its image's tokens included.
        max_answer_tokens: Places of an answer; a longer one is cut.
        observing: Whether instructions also give the question for their risks.
        observing_prompts: In which words it is asked.
        max_observing_tokens: Places of that question, image included.
        max_observation_tokens: Places of its answer.
        system: Text of a system turn for conversations without one; empty for none.
        tokenizer: Hub name or folder, read when it is first needed; None trains one on the training shards' own text.
        vocab_size: Largest vocabulary of a trained tokenizer.
    """

    tokenizer_class = MultimodalTokenizer

    def __init__(
        self,
        photo: PhotoTransform,
        *,
        photo_tokens: int,
        stage: Stage = "sft",
        answers: Answers = "reference",
        max_prompt_tokens: int = 128,
        max_answer_tokens: int = 64,
        observing: bool = False,
        observing_prompts: WordingsName = "short",
        max_observing_tokens: int = 256,
        max_observation_tokens: int = 64,
        system: str = "",
        tokenizer: str | None = None,
        vocab_size: int = 4096,
    ) -> None:
        super().__init__(tokenizer, vocab_size)
        self.photo = photo
        self.photo_tokens = photo_tokens
        self.stage = stage
        self.answers = answers
        self.max_prompt_tokens = max_prompt_tokens
        self.max_answer_tokens = max_answer_tokens
        self.observing = observing
        self.observing_prompts: WordingsName = observing_prompts
        self.max_observing_tokens = max_observing_tokens
        self.max_observation_tokens = max_observation_tokens
        self.system = system

    def settings(self) -> dict[str, Any]:
        """What else decides which tokens and pixels the network sees of a pair of answers."""
        return {
            "photo_size": self.photo.size,
            "resize": self.photo.resize,
            "system": self.system,
            "max_answer_tokens": self.max_answer_tokens,
        }

    # Samples ------------------------------------------------------------------------------------------------------

    def sample(self, sample: Instruction | Preference, draw: Draw) -> dict[str, Tensor]:
        """One conversation to tensors.

        Returns:
            ``photos`` uint8 ``(1, 3, size, size)``, ``photo_mask`` bool ``(1,)``; ``prompt_token_ids``,
            ``prompt_token_mask`` and ``prompt_token_type`` ``(max_prompt_tokens,)``; ``completion_ids`` int64 and
            ``completion_mask`` bool ``(1 or 2, max_answer_tokens)``: what is answered, or the better and the worse
            answer, ends included; ``completions_cut``, int64 scalar, how many of them found no room. With ``observing``
            also ``observing_token_*`` ``(max_observing_tokens,)``, and ``observation_ids`` and ``observation_mask``
            ``(1, max_observation_tokens)``, empty where the risks are not known.

        Raises:
            DataError: The image cannot be decoded, the prompt finds no room, or an answer that is wanted is not there.
        """
        prompt = sample.prompt
        wanted = self._answers(sample, draw)
        tensors = self._image(prompt, draw)
        tensors |= self._prompt(prompt, self.max_prompt_tokens, "max_prompt_tokens").tensors(PROMPT)
        rows = [answer_ids(self.tokenizer, answer, self.max_answer_tokens + 1) for answer in wanted]
        tensors["completion_ids"], tensors["completion_mask"] = self._completions(rows, self.max_answer_tokens)
        tensors["completions_cut"] = torch.tensor(sum(len(row) > self.max_answer_tokens for row in rows))
        if self.observing:
            tensors |= self._observing(sample)
        return tensors

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Stack samples: every shape gains a leading ``batch``."""
        return stack(samples)

    def asked(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """A batch of prompts to be answered: ``photos``, ``photo_mask`` and ``prompt_token_*``, as long as the longest needs.

        What is asked for an answer may be longer than what is trained on.
        """
        places = [self._places(prompt) for prompt in prompts]
        longest = max(len(one.ids) for one in places)
        for one in places:
            one.pad(longest)
        return stack(
            [self._image(prompt, Draw()) | one.tensors(PROMPT) for prompt, one in zip(prompts, places, strict=True)]
        )

    def completions(self, answers: Sequence[str], *, ends: bool = True) -> tuple[Tensor, Tensor]:
        """Ids and mask of some answers, ``(answers, tokens)`` each; nothing is cut.

        Args:
            answers: What is answered.
            ends: Whether with the end of the turn; without it they are the beginnings of answers.
        """
        rows = [self.tokenizer.ids(answer) + ([self.tokenizer.special.im_end] if ends else []) for answer in answers]
        return self._completions(rows, max(map(len, rows), default=1))

    def prompt_tokens(self, prompt: Prompt) -> int:
        """How many places a prompt takes, its image included; those that take more than ``max_prompt_tokens`` are refused."""
        return len(self._places(prompt).ids)

    def check(self, prompt: Prompt) -> None:
        """Refuse a prompt that finds no room, before anything is trained on it: when shards are made, say.

        Raises:
            DataError: By how much, and which option to change.
        """
        self._prompt(prompt, self.max_prompt_tokens, "max_prompt_tokens")

    # Parts --------------------------------------------------------------------------------------------------------

    def _answers(self, sample: Instruction | Preference, draw: Draw) -> list[str]:
        if isinstance(sample, Preference):
            return [sample.chosen, sample.rejected] if self.stage == "preference" else [sample.chosen]
        if self.stage == "preference":
            return ["", ""]
        if self.answers == "reference":
            return [sample.answer]
        plain = sample.truth.get(PLAIN)
        if not isinstance(plain, str) and not draw.training:
            return [""]  # a set for prediction need not know how a model was trained
        if not isinstance(plain, str):
            raise DataError(
                f"conversation {sample.conversation_id} has no plain answer (truth.{PLAIN})",
                change="model.init_args.answers to reference, or the set",
            )
        return [plain]

    def _image(self, prompt: Prompt, draw: Draw) -> dict[str, Tensor]:
        whole = tuple(self.photo.crop_scale) == (1.0, 1.0) and not self.photo.horizontal_flip
        pixels = self.photo(prompt.image, Draw() if whole or self.stage == "preference" else draw)
        return {"photos": pixels[None], "photo_mask": torch.tensor([prompt.image is not None])}

    def _prompt(self, prompt: Prompt, room: int, option: str) -> Places:
        places = self._places(prompt)
        found = len(places.ids)
        if found > room:
            image = self.photo_tokens + 2 if prompt.image is not None else 0
            raise DataError(
                f"the prompt {prompt.key} takes {found} tokens ({image} of them its image's), but there is room for {room}; "
                "prompts and images are not cut",
                change=f"model.init_args.{option} to {found} or more, the prompt"
                + (", or model.init_args.photo_size for an image of fewer tokens" if image else ""),
            )
        places.pad(room)
        return places

    def _places(self, prompt: Prompt) -> Places:
        tokenizer = self.tokenizer
        places = Places(tokenizer.special.end)
        if self.system and all(turn.role != "system" for turn in prompt.turns):
            places.add([*turn_begins(tokenizer, "system", self.system), *turn_ends(tokenizer)])
        image = prompt.image is not None
        for turn in prompt.turns:
            places.add(turn_begins(tokenizer, turn.role))
            if image and turn.role == "user":
                places.add(photo_block(tokenizer, self.photo_tokens), token_type=IMAGE)
                image = False
            places.add([*tokenizer.ids(turn.text), *turn_ends(tokenizer)])
        places.add(turn_begins(tokenizer, "assistant"))
        return places

    def _completions(self, rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
        ids = torch.full((len(rows), length), self.tokenizer.special.end)
        mask = torch.zeros((len(rows), length), dtype=torch.bool)
        for number, row in enumerate(rows):
            kept = row[:length]
            ids[number, : len(kept)] = torch.tensor(kept, dtype=torch.int64)
            mask[number, : len(kept)] = True
        return ids, mask

    def _observing(self, sample: Instruction | Preference) -> dict[str, Tensor]:
        asked = self._prompt(
            observing_prompt(sample.prompt, self.observing_prompts), self.max_observing_tokens, "observing_tokens"
        )
        known = sample.observations is not None
        text = observations_text(sample.observations) if sample.observations is not None else ""
        row = answer_ids(self.tokenizer, text, self.max_observation_tokens) if known else []
        ids, mask = self._completions([row], self.max_observation_tokens)
        return {**asked.tensors(OBSERVING), "observation_ids": ids, "observation_mask": mask}

    def _texts(self, sample: Instruction | Preference) -> Iterator[str]:
        """What a tokenizer should have seen of a conversation."""
        said = [*(turn.text for turn in sample.turns), self.system]
        said += [f"{turn.role}\n" for turn in sample.turns] + ["assistant\n"]
        if isinstance(sample, Preference):
            said += [sample.chosen, sample.rejected]
        else:
            plain = sample.truth.get(PLAIN)
            said += [sample.answer, plain if isinstance(plain, str) else ""]
        if sample.observations is not None:
            said.append(observations_text(sample.observations))
        if self.observing:
            said += [turn.text for turn in observing_prompt(sample.prompt, self.observing_prompts).turns]
        yield from (text for text in said if text)
