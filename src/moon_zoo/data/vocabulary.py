"""Vocabularies of a set: the leaf categories and attribute values of all its products, gathered while writing."""

from __future__ import annotations

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

    def add(self, sample: Sample) -> None:
        """Take in a sample's products; kinds without products have no ``products`` method."""
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
        """``{"category": [...], "attributes": {name: [...]}}``, sorted; empty where no sample had products."""
        if not self._any:
            return {}
        return {
            "category": sorted(self._categories),
            "attributes": {
                name: sorted(values) for name, values in sorted(self._attributes.items()) if len(values) <= MAX_VALUES
            },
        }
