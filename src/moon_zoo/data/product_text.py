"""A product's texts, field by field, the way every model reads them."""

from __future__ import annotations

from collections.abc import Sequence

from moon_zoo.data.kinds import Product
from moon_zoo.errors import RecipeError, did_you_mean

TEXT_FIELDS = ("title", "category", "attributes", "description")
"""Fields of a product that can be text of a model."""


def field_texts(product: Product) -> dict[str, str]:
    """`TEXT_FIELDS` to their words; an empty text where the product lacks one.

    Attributes are all that the product has, whether training knew their names or not.
    """
    return {
        "title": product.title,
        "category": " ".join(product.category),
        "attributes": ", ".join(f"{name} {value}" for name, value in product.attributes.items()),
        "description": product.description,
    }


def check_text_fields(fields: Sequence[str], setting: str) -> tuple[str, ...]:
    """The fields, each of them known and named once.

    Args:
        fields: Names.
        setting: The model's argument that holds them, for the message.

    Raises:
        RecipeError: A field that products do not have, or one twice.
    """
    for field in fields:
        if field not in TEXT_FIELDS:
            raise RecipeError(
                f"products have no text field {field!r}; fields are {', '.join(TEXT_FIELDS)}",
                suggestions=did_you_mean(field, TEXT_FIELDS),
                change=f"model.init_args.{setting}",
            )
        if list(fields).count(field) > 1:
            raise RecipeError(f"the text field {field} is named twice", change=f"model.init_args.{setting}")
    return tuple(fields)
