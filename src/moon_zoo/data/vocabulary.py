"""Vocabularies of a set, gathered while writing: leaf categories and attribute values of products; of conversations, how many
there are of each situation and kind of harm."""

from __future__ import annotations

from collections import Counter
from typing import Any

from moon_zoo.data.kinds import Sample

MAX_VALUES = 1000
"""An attribute with more values than this is free text rather than a category, and is left out."""


class VocabularyBuilder:
    """Gathers categories and attributes of products, also of those inside other samples."""

    def __init__(self) -> None:
        self._any = False
        self._categories: set[str] = set()
        self._attributes: dict[str, set[str]] = {}
        self._labels: dict[str, Counter[str]] = {}

    def add(self, sample: Sample) -> None:
        """Take in a sample's products, or its labels; kinds have the methods ``products`` or ``labels`` for it, or neither."""
        labels = getattr(sample, "labels", None)
        if labels is not None:
            for name, values in labels().items():
                self._labels.setdefault(name, Counter()).update(values)
        products = getattr(sample, "products", None)
        if products is None:
            return
        self._any = True
        for product in products():
            if product.category:
                self._categories.add(product.category[-1])
            for name, value in product.attributes.items():
                values = self._attributes.setdefault(name, set())
                # One beyond the limit is enough to know that it is exceeded.
                if len(values) <= MAX_VALUES:
                    values.add(value)

    def build(self) -> dict[str, Any]:
        """``{"category": [...], "attributes": {name: [...]}}`` of products; of samples with labels ``{name: {value: count}}``;
        sorted, and empty where no sample had either. Labels of more than `MAX_VALUES` values are left out."""
        if not self._any:
            return {
                name: dict(sorted(counts.items()))
                for name, counts in sorted(self._labels.items())
                if 0 < len(counts) <= MAX_VALUES
            }
        return {
            "category": sorted(self._categories),
            "attributes": {
                name: sorted(values) for name, values in sorted(self._attributes.items()) if len(values) <= MAX_VALUES
            },
        }
