"""Samples to tensors for the two towers: photos as uint8, texts as token ids, identities as integers.

A product becomes a pair of its own photos (one as the query, one as the item) and its text; a search becomes the query's
photo and words, and the chosen item's photo and text. Everything has a static shape: what a sample lacks is zeros with a
False in its ``has_`` flag.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moon_zoo.data.identity import identity_tensors
from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.product_text import check_text_fields, field_texts
from moon_zoo.data.text import TextTokenizer
from moon_zoo.data.tokenized_inputs import CatalogueInputs
from moon_zoo.data.transforms import PhotoTransform


class DualFlowInputs(CatalogueInputs[TextTokenizer]):
    """Tensors of one sample, and batches of them.

    Args:
        photo: Decodes, crops and resizes photos to one size.
        item_photo: The same for the items' catalogue photos; None for the same.
        tokenizer: Hub name or local folder of a tokenizer; None trains one on the training shards' own text.
        vocab_size: Largest vocabulary of a trained tokenizer.
        max_tokens: Longest text in tokens; what is longer is cut.
        text_fields: Fields of a product that make up its text, in order; among `moon_zoo.data.product_text.TEXT_FIELDS`.

    Raises:
        RecipeError: A text field that products do not have.
    """

    tokenizer_class = TextTokenizer

    def __init__(
        self,
        photo: PhotoTransform,
        *,
        item_photo: PhotoTransform | None = None,
        tokenizer: str | None = None,
        vocab_size: int = 4096,
        max_tokens: int = 48,
        text_fields: Sequence[str] = ("title",),
    ) -> None:
        super().__init__(tokenizer, vocab_size)
        self.photo = photo
        self.item_photo = item_photo if item_photo is not None else photo
        self.max_tokens = max_tokens
        self.text_fields = check_text_fields(text_fields, "text_fields")

    # Samples ------------------------------------------------------------------------------------------------------

    def sample(self, sample: Product | Search, draw: Draw) -> dict[str, Tensor]:
        """One sample to tensors; see the class for shapes.

        Returns:
            ``query_photo`` and ``item_photo`` uint8 ``(3, size, size)``; ``item_token_ids``, ``item_token_mask``
            ``(max_tokens,)``, and of searches ``query_token_ids``, ``query_token_mask``; bool scalars ``has_query_photo``,
            ``has_query_text``, ``has_item_photo``, ``has_item_text``; int64 scalars ``item_id``, ``spu_id``,
            ``category``, ``behaviour`` (place in `BEHAVIOURS`, -1 of products); ``attributes`` int64
            ``(num_attributes,)``, 0 where unknown.
        """
        if isinstance(sample, Search):
            item, query_photo, query_text = sample.item, sample.query_photo, sample.query_text
            item_photo = item.photos[0] if item.photos else None
        else:
            item, query_text = sample, None
            query_photo, item_photo = self._photo_pair(sample, draw)
        item_text = self.product_text(item)
        item_ids, item_mask = self.encode_text(item_text)
        tensors = {
            "query_photo": self.photo(query_photo, draw),
            "item_photo": self.item_photo(item_photo, draw),
            "item_token_ids": item_ids,
            "item_token_mask": item_mask,
            "has_query_photo": torch.tensor(query_photo is not None),
            "has_query_text": torch.tensor(bool(query_text)),
            "has_item_photo": torch.tensor(item_photo is not None),
            "has_item_text": torch.tensor(bool(item_text)),
            **identity_tensors(sample, self.attribute_names),
        }
        if isinstance(sample, Search):
            tensors["query_token_ids"], tensors["query_token_mask"] = self.encode_text(query_text or "")
        return tensors

    def batch(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Stack samples: every shape gains a leading ``batch``."""
        return stack(samples)

    def encode_text(self, text: str) -> tuple[Tensor, Tensor]:
        """Token ids and mask of one text, ``(max_tokens,)`` each.

        Raises:
            RuntimeError: The inputs were neither fitted nor loaded: a fault of the calling code.
        """
        return self.tokenizer.encode(text, self.max_tokens)

    def product_text(self, product: Product) -> str:
        """The product's text fields joined, in the order of ``text_fields``."""
        parts = field_texts(product)
        return " . ".join(parts[field] for field in self.text_fields if parts[field])

    def _photo_pair(self, product: Product, draw: Draw) -> tuple[bytes | None, bytes | None]:
        """A query photo and an item photo: customer against catalogue; in training the query photo is drawn."""
        if not product.photos:
            return None, None
        asking = product.customer_photos
        choice = int(torch.randint(len(asking), (), generator=draw.generator)) if draw.training else 0
        return asking[choice], product.photos[0]

    def _texts(self, sample: Product | Search) -> list[str]:
        if isinstance(sample, Search):
            return [text for text in (sample.query_text, self.product_text(sample.item)) if text]
        return [self.product_text(sample)]
