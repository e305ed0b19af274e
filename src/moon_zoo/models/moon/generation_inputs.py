"""Products to questions with answers, as tensors: what generative pretraining trains on and what generation begins with.

A sequence is one turn of Qwen's chat: ``<|im_start|>user``, the photos' blocks, the question, ``<|im_end|>``, then
``<|im_start|>assistant``, the answer, ``<|im_end|>``. Photos, question and answer have places of fixed length each, padded
at their ends, so that all shapes are static and answers stand in the last places of every sequence; pads change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from moon_zoo.data.ids import stable_id
from moon_zoo.data.images import decode_photo, photo_size, random_box
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Box, Product, Search
from moon_zoo.data.transforms import PhotoTransform
from moon_zoo.errors import RecipeError, did_you_mean
from moon_zoo.models.moon.prompts import Segments
from moon_zoo.models.moon.tasks import TASKS, ask, attribute_text, description, possible
from moon_zoo.nn.multimodal.chat import IGNORED, Places, add_photos, answer_ids, answer_labels, turn_begins, turn_ends
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

PREFIX = "generation_"

_ALL_TASKS = {"describe": 1.0, "attributes": 2.0, "title": 1.0, "main_subject": 1.0}


class GenerationInputs:
    """Questions about products, with the photos they are about.

    Args:
        photo: Size and training crops of photos. Crops keep the product's box, if it is known, in whole.
        tasks: Task (among `TASKS`) to how often it is drawn, relative to the others; null for all four.
        photo_tokens: How many tokens a photo has.
        max_photos: Most photos a question shows.
        max_tokens: Places of a question, in tokens; of a longer one the longest field is cut, photos never are.
        max_answer_tokens: Places of an answer, in tokens; a longer one is cut, and then has no end to learn.
        words_share: How often a question shows the seller's words beside the photos, in ``[0, 1]``: without them the
            answer must come from the photos.
        single_share: How many of training's questions for attributes ask for one alone, in ``[0, 1]``: short answers teach to
            look at photos.
        predict_tasks: Tasks that prediction asks of every product.
        system: Text of a system turn before the question; empty for none.

    Raises:
        RecipeError: A task that does not exist, a share below 0, or nothing to draw.
    """

    def __init__(
        self,
        photo: PhotoTransform,
        tasks: Mapping[str, float] | None = None,
        *,
        photo_tokens: int,
        max_photos: int = 1,
        max_tokens: int = 64,
        max_answer_tokens: int = 64,
        words_share: float = 0.5,
        single_share: float = 0.5,
        predict_tasks: Sequence[str] = (),
        system: str = "",
    ) -> None:
        self.photo = photo
        self.tasks = _checked(_ALL_TASKS if tasks is None else tasks, "model.init_args.generation")
        self.photo_tokens = photo_tokens
        self.max_photos = max_photos
        self.max_tokens = max_tokens
        self.max_answer_tokens = max_answer_tokens
        self.words_share = words_share
        self.single_share = single_share
        self.predict_tasks = tuple(predict_tasks)
        if self.predict_tasks:
            _checked(dict.fromkeys(self.predict_tasks, 1.0), "model.init_args.predict_tasks")
        self.system = system
        self.tokenizer: MultimodalTokenizer | None = (
            None  # set by the inputs that this is a part of, once they have one
        )

    def training_texts(self, product: Product) -> list[str]:
        """What a tokenizer should have seen of a product: answers, and a few boxes as numbers."""
        texts = [description(product), attribute_text(product.attributes), product.title]
        texts += [
            ask("main_subject", product, words=True, box=box).answer for box in product.core_boxes if box is not None
        ]
        texts += ["".join(text for text, _ in ask(task, product, words=True).prompt) for task in TASKS]
        return [text for text in texts if text]

    # Samples ------------------------------------------------------------------------------------------------------

    def sample(self, sample: Product | Search, draw: Draw) -> dict[str, Tensor]:
        """One question about a product, or about the item of a search.

        The task is drawn in training; otherwise it follows from the item's id, so that evaluation asks the same each time.

        Returns:
            ``generation_photos`` uint8 ``(max_photos, 3, size, size)``, ``generation_photo_mask`` bool
            ``(max_photos,)``, ``generation_photo`` int64, the place of the first of them among the product's, -1 of none;
            ``generation_token_ids``, ``generation_token_mask``, ``generation_token_type``
            ``(length,)`` with question and answer; ``generation_labels`` int64 ``(answer,)``: ids to predict at the
            sequence's last places, -100 where there is none; ``generation_task`` int64, place in `TASKS`, -1 where the
            product tells nothing; bool ``generation_shows_words``. Outside training also, for each of ``predict_tasks``,
            ``generation_<task>_token_ids``, ``_mask``, ``_type`` ``(length - answer,)`` of its question,
            ``generation_<task>_photo_mask``, and ``generation_predict_photos``, which all of them are about.
        """
        product = sample.item if isinstance(sample, Search) else sample
        chance = _Chance(draw, product.item_id)
        task = self._draw_task(product, chance)
        chosen = self._choose_photos(product, task, draw, chance)
        photos, boxes = self._photos(product, chosen, draw)
        tensors = {
            "generation_photos": photos,
            "generation_photo_mask": torch.arange(self.max_photos) < len(chosen),
            "generation_photo": torch.tensor(chosen[0] if chosen else -1),
            "generation_task": torch.tensor(-1 if task is None else TASKS.index(task)),
        }
        if task is None:
            tensors |= self._sequence([], "", len(chosen))
            tensors["generation_shows_words"] = torch.tensor(False)
        else:
            words = chance("words") < self.words_share
            box = boxes[0] if boxes else None
            only = self._one_attribute(product, draw, chance) if task == "attributes" else None
            question = ask(
                task, product, words=words, box=box, locate=box is not None, only=only, wording=chance.wording()
            )
            tensors |= self._sequence(question.prompt, question.answer, len(chosen))
            tensors["generation_shows_words"] = torch.tensor(question.shows_words)
        if not draw.training and self.predict_tasks:
            tensors |= self._predictions(product)
        return tensors

    def prompt(self, product: Product, task: str) -> dict[str, Tensor]:
        """A question without its answer, with all that is known of the product: what generation begins with.

        Returns:
            ``generation_photos``, ``generation_photo_mask``, ``generation_token_ids``, ``_mask``, ``_type``
            ``(length - answer,)``, as `sample` without a batch axis.

        Raises:
            RecipeError: There is no such task.
        """
        _checked({task: 1.0}, "the task")
        shown = self._shown(product, task)
        return {
            "generation_photos": self._photos(product, range(shown), Draw())[0],
            "generation_photo_mask": torch.arange(self.max_photos) < shown,
            **self._question(product, task),
        }

    def answers(self, labels: Tensor) -> list[str]:
        """The texts of labels ``(batch, answer)``: what was to be said."""
        tokenizer = self._tokenizer()
        return [tokenizer.decode([token for token in row if token != IGNORED]) for row in labels.tolist()]

    # Tasks and photos ---------------------------------------------------------------------------------------------

    def _draw_task(self, product: Product, chance: _Chance) -> str | None:
        weights = {task: weight for task, weight in self.tasks.items() if weight > 0 and possible(task, product)}
        left = chance("task") * sum(weights.values())
        for task, weight in weights.items():
            left -= weight
            if left < 0:
                return task
        return next(reversed(weights), None)

    def _one_attribute(self, product: Product, draw: Draw, chance: _Chance) -> str | None:
        """The one attribute that a question of training asks for; None for all."""
        names = sorted(name for name, value in product.attributes.items() if name.strip() and value.strip())
        if not draw.training or not names or chance("single") >= self.single_share:
            return None
        return names[min(int(chance("attribute") * len(names)), len(names) - 1)]

    def _choose_photos(self, product: Product, task: str | None, draw: Draw, chance: _Chance) -> list[int]:
        """Places of the photos shown: one with a known box to find the subject in, else the first, or in training any."""
        count = len(product.photos)
        if count == 0:
            return []
        if task == "main_subject":
            boxed = [place for place, box in enumerate(product.core_boxes) if box is not None] or list(range(count))
            return [boxed[min(int(chance("photo") * len(boxed)), len(boxed) - 1)]]
        most = min(self.max_photos, count)
        if not draw.training:
            return list(range(most))
        shown = 1 + min(int(chance("photo") * most), most - 1)
        return torch.randperm(count, generator=draw.generator)[:shown].tolist()

    def _photos(self, product: Product, chosen: Iterable[int], draw: Draw) -> tuple[Tensor, list[Box | None]]:
        """Photos in whole, or crops of them in training, and the boxes in them; stretched, as boxes count in sides."""
        size = self.photo.size
        photos = torch.zeros((self.max_photos, 3, size, size), dtype=torch.uint8)
        boxes: list[Box | None] = []
        for number, place in enumerate(chosen):
            photo, box = product.photos[place], product.core_boxes[place]
            if draw.training:
                photos[number], box = _drawn_photo(photo, box, self.photo, draw)
            else:
                photos[number] = decode_photo(photo, size, mode="squash")
            boxes.append(box)
        return photos, boxes

    # Sequences ----------------------------------------------------------------------------------------------------

    def _predictions(self, product: Product) -> dict[str, Tensor]:
        """Questions of ``predict_tasks``, with the photos that they are about."""
        first = range(min(self.max_photos, len(product.photos)))
        tensors = {"generation_predict_photos": self._photos(product, first, Draw())[0]}
        for task in self.predict_tasks:
            asked = self._question(product, task)
            tensors |= {f"{PREFIX}{task}_{name.removeprefix(PREFIX)}": tensor for name, tensor in asked.items()}
            tensors[f"{PREFIX}{task}_photo_mask"] = torch.arange(self.max_photos) < self._shown(product, task)
        return tensors

    def _shown(self, product: Product, task: str) -> int:
        """How many photos a question of prediction shows: the first for the main subject, as many as there is room else."""
        return min(1 if task == "main_subject" else self.max_photos, len(product.photos))

    def _question(self, product: Product, task: str) -> dict[str, Tensor]:
        tensors = self._sequence(ask(task, product, words=True).prompt, "", self._shown(product, task))
        answer = len(tensors.pop(f"{PREFIX}labels"))
        return {name: tensor[:-answer] for name, tensor in tensors.items()}

    def _sequence(self, prompt: Segments, answer: str, photos: int) -> dict[str, Tensor]:
        """Ids, mask, types and labels of one turn; ``photos`` blocks are there, the others are pads."""
        tokenizer = self._tokenizer()
        encode = tokenizer.ids
        places = Places(tokenizer.special.end)
        if self.system:
            places.add([*turn_begins(tokenizer, "system", self.system), *turn_ends(tokenizer)])
        places.add(turn_begins(tokenizer, "user"))
        add_photos(places, tokenizer, self.photo_tokens, photos, self.max_photos)
        start = len(places.ids)
        # a tokenizer that begins every text with a space needs none before a later piece
        spaced = encode("a b") == [*encode("a"), *encode("b")]
        pieces = [encode(text.removeprefix(" ") if spaced else text) for text, _ in prompt]
        for ids, (_, kind) in zip(_cut(pieces, self.max_tokens), prompt, strict=True):
            places.add(ids, token_type=kind)
        places.pad(start + self.max_tokens)
        places.add([*turn_ends(tokenizer), *turn_begins(tokenizer, "assistant")])
        answered = answer_ids(tokenizer, answer, self.max_answer_tokens)
        places.add(answered, self.max_answer_tokens)
        return {**places.tensors(PREFIX), f"{PREFIX}labels": answer_labels(answered, self.max_answer_tokens)}

    def _tokenizer(self) -> MultimodalTokenizer:
        if self.tokenizer is None:
            raise RuntimeError("the inputs have no tokenizer yet: call fit or load_state_dict first")
        return self.tokenizer


class _Chance:
    """Numbers in ``[0, 1)``: drawn in training, otherwise fixed by the item's id."""

    def __init__(self, draw: Draw, item_id: str) -> None:
        self._draw = draw
        self._item_id = item_id

    def __call__(self, what: str) -> float:
        if self._draw.training:
            return float(torch.rand((), generator=self._draw.generator))
        return stable_id(f"{self._item_id}/{what}") / 2**63

    def wording(self) -> float:
        """Which wording: any in training, the first otherwise."""
        return self("wording") if self._draw.training else 0.0


def _cut(pieces: Sequence[list[int]], room: int) -> list[list[int]]:
    """Pieces cut to ``room`` tokens in all, at the end of whichever is the longest: a long title, not the question."""
    pieces = [list(piece) for piece in pieces]
    for _ in range(sum(map(len, pieces)) - room):
        max(pieces, key=len).pop()
    return pieces


def _drawn_photo(photo: bytes, box: Box | None, transform: PhotoTransform, draw: Draw) -> tuple[Tensor, Box | None]:
    """A random crop, perhaps mirrored, and the product's box in it; the crop is widened to keep the box in whole."""
    left, top, right, bottom = random_box(*photo_size(photo), draw.generator, scale=tuple(transform.crop_scale))
    flip = transform.horizontal_flip and bool(torch.rand((), generator=draw.generator) < 0.5)
    if box is not None:
        left, top = min(left, box[0]), min(top, box[1])
        right, bottom = max(right, box[2]), max(bottom, box[3])
        width, height = right - left, bottom - top
        box = ((box[0] - left) / width, (box[1] - top) / height, (box[2] - left) / width, (box[3] - top) / height)
        if flip:
            box = (1 - box[2], box[1], 1 - box[0], box[3])
    pixels = decode_photo(photo, transform.size, mode="squash", box=(left, top, right, bottom), flip=flip)
    return pixels, box


def _checked(tasks: Mapping[str, float], where: str) -> dict[str, float]:
    for task, weight in tasks.items():
        if task not in TASKS:
            raise RecipeError(
                f"there is no generation task {task!r}; tasks are {', '.join(TASKS)}",
                suggestions=did_you_mean(task, TASKS),
                change=where,
            )
        if not weight >= 0:
            raise RecipeError(f"the task {task} has the weight {weight}; it must be 0 or more", change=where)
    if sum(tasks.values()) <= 0:
        raise RecipeError("no generation task has a weight above 0", change=where)
    return dict(tasks)
