"""Samples to tensors for MOON: several photos with crops, and texts with the field of every token, of static shapes.

A search becomes the query's photo (with its crop) and words, the chosen item's photos, crops and text, and the items passed
over (hard negatives). A product becomes a pair of its own: a customer's photo asks, and the item answers without that photo,
where it has others. What a sample lacks is zeros with a False in its mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moon_zoo.data.identity import identity_tensors
from moon_zoo.data.ids import stable_id
from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.product_text import field_texts
from moon_zoo.data.tokenized_inputs import CatalogueInputs
from moon_zoo.models.moon.photos import Photo, PhotoBlocks, item_photos, photo_at
from moon_zoo.models.moon.texts import TextBlock, TextTensors
from moon_zoo.nn.multimodal.tokenizer import MultimodalTokenizer

if TYPE_CHECKING:
    from moon_zoo.models.moon.generation_inputs import GenerationInputs


class MoonInputs(CatalogueInputs[MultimodalTokenizer]):
    """Tensors of one sample, and batches of them.

    Args:
        query: Photo and crop of a query.
        item: Photos and crops of an item.
        query_text: The text block of queries.
        item_text: The text block of items.
        tokenizer: Hub name or folder, read when it is first needed; None trains one on the training shards' own text.
        vocab_size: Largest vocabulary of a trained tokenizer.
        generation: The generative tasks, whose tensors every sample then has too; None without.
        hard_negatives: Items passed over that training reads of each search, at most.
    """

    tokenizer_class = MultimodalTokenizer

    def __init__(
        self,
        query: PhotoBlocks,
        item: PhotoBlocks,
        *,
        query_text: TextBlock,
        item_text: TextBlock,
        tokenizer: str | None = None,
        vocab_size: int = 4096,
        generation: GenerationInputs | None = None,
        hard_negatives: int = 0,
    ) -> None:
        super().__init__(tokenizer, vocab_size)
        self.query = query
        self.item = item
        self.query_text = query_text
        self.item_text = item_text
        self.hard_negatives = hard_negatives
        self.generation = generation

    def _use(self, tokenizer: MultimodalTokenizer) -> None:
        super()._use(tokenizer)
        if self.generation is not None:
            self.generation.tokenizer = tokenizer

    # Samples ------------------------------------------------------------------------------------------------------

    def sample(self, sample: Product | Search, draw: Draw) -> dict[str, Tensor]:
        """One sample to tensors.

        Returns:
            For each side (``query``, ``item``): ``{side}_photos`` uint8 ``(blocks, 3, size, size)``, ``{side}_photo_mask``
            ``(blocks,)``; ``{side}_token_ids`` int64, ``{side}_token_mask``, ``{side}_token_type`` int8 and
            ``{side}_token_title`` bool, ``(tokens,)``; bool scalars ``has_{side}_photo`` and ``has_{side}_text``. In training
            with hard negatives the same of ``negative`` with a leading ``(negatives,)``, and ``negative_mask``,
            ``negative_item_id``, ``negative_spu_id`` ``(negatives,)``. ``item_id``, ``spu_id``, ``category``, ``behaviour``,
            ``attributes`` as in `moon_zoo.data.identity`. ``photos_cut`` and ``tokens_cut``: what found no room, int64
            scalars. With generation what its tasks add.

        Raises:
            DataError: A photo cannot be decoded.
        """
        if isinstance(sample, Search):
            asking = [] if sample.query_photo is None else [Photo(sample.query_photo, sample.query_box)]
            item, words, photos = sample.item, sample.query_text or "", item_photos(sample.item)
        else:
            place = self._asking_place(sample, draw)
            asking = [] if place is None else [photo_at(sample, place)]
            item, words, photos = sample, "", item_photos(sample, without=place)
        tensors = self._side("query", self.query, asking, self._words(words), draw, words)
        text = self._product_text(item)
        tensors |= self._side("item", self.item, photos, text, draw, item.title)
        tensors |= identity_tensors(sample, self.attribute_names)
        tensors["photos_cut"] = torch.tensor(max(len(photos) - self.item.max_photos, 0))
        tensors["tokens_cut"] = torch.tensor(text.num_cut)
        if self.hard_negatives > 0 and draw.training:
            tensors |= self._negatives(sample.hard_negatives if isinstance(sample, Search) else [], draw)
        if self.generation is not None:
            assert self.tokenizer is not None  # read by now, and known to the tasks
            tensors |= self.generation.sample(item, draw)
        return tensors

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Stack samples: every shape gains a leading ``batch``."""
        return stack(samples)

    def encode_words(self, text: str) -> dict[str, Tensor]:
        """A query of words alone, as `sample` gives one, without a batch axis."""
        return self._side("query", self.query, [], self._words(text), Draw(), "")

    def _words(self, text: str) -> TextTensors:
        return self.query_text.words(text, self.tokenizer)

    def _product_text(self, product: Product) -> TextTensors:
        return self.item_text.product(field_texts(product), self.tokenizer)

    def _side(
        self, side: str, blocks: PhotoBlocks, photos: Sequence[Photo], text: TextTensors, draw: Draw, title: str
    ) -> dict[str, Tensor]:
        pixels, mask = blocks(photos, draw, title)
        return {
            f"{side}_photos": pixels,
            f"{side}_photo_mask": mask,
            f"{side}_token_ids": text.ids,
            f"{side}_token_mask": text.mask,
            f"{side}_token_type": text.type,
            f"{side}_token_title": text.title,
            f"has_{side}_photo": mask.any(),
            f"has_{side}_text": text.mask.any(),
        }

    def _negatives(self, passed_over: Sequence[Product], draw: Draw) -> dict[str, Tensor]:
        """Up to `hard_negatives` of the items passed over, drawn among them; what is missing is empty."""
        order = torch.randperm(len(passed_over), generator=draw.generator).tolist()[: self.hard_negatives]
        rows = []
        for place in [*order, *[None] * (self.hard_negatives - len(order))]:
            product = Product("none") if place is None else passed_over[place]
            text = self._product_text(product)
            row = self._side("negative", self.item, item_photos(product), text, draw, product.title)
            row["negative_mask"] = torch.tensor(place is not None)
            row["negative_item_id"] = torch.tensor(stable_id(product.item_id))
            row["negative_spu_id"] = torch.tensor(stable_id(product.spu_id))
            rows.append(row)
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _asking_place(self, product: Product, draw: Draw) -> int | None:
        """Which photo asks: a customer's where there is one, drawn among them in training."""
        places = product.customer_places
        if not places:
            return None
        return places[int(torch.randint(len(places), (), generator=draw.generator)) if draw.training else 0]

    def _texts(self, sample: Product | Search) -> list[str]:
        found: list[str] = []
        if isinstance(sample, Search) and sample.query_text:
            found.append(sample.query_text)
        product = sample.item if isinstance(sample, Search) else sample
        texts = field_texts(product)
        found += [texts[field] for field in self.item_text.fields if texts[field]]
        return found if self.generation is None else found + self.generation.training_texts(product)
