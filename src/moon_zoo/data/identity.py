"""What a product is, as integers: its own id, its SPU, its category, its attributes and how it was chosen.

Every model that compares queries with products reads these; so they are made in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moon_zoo.data.ids import stable_id
from moon_zoo.data.kinds import BEHAVIOURS, Product, Search
from moon_zoo.errors import RecipeError, did_you_mean


def identity_tensors(sample: Product | Search, attribute_names: Sequence[str]) -> dict[str, Tensor]:
    """Identities of a product, or of the item of a search.

    Args:
        sample: The sample.
        attribute_names: Which attributes, in the order of the result's.

    Returns:
        int64 scalars ``item_id``, ``spu_id``, ``category`` (of the leaf; 0 where there is none) and ``behaviour`` (place in
        `BEHAVIOURS`, -1 of products); ``attributes`` int64 ``(num_attributes,)``, 0 where unknown.
    """
    item = sample.item if isinstance(sample, Search) else sample
    return {
        "item_id": torch.tensor(stable_id(item.item_id)),
        "spu_id": torch.tensor(stable_id(item.spu_id)),
        "category": torch.tensor(stable_id(item.category[-1]) if item.category else 0),
        "behaviour": torch.tensor(behaviour_id(sample.behaviour) if isinstance(sample, Search) else -1),
        "attributes": torch.tensor([_attribute(item, name) for name in attribute_names], dtype=torch.int64),
    }


def attribute_id(name: str, value: str) -> int:
    """The integer of an attribute's value; equal values of different attributes differ."""
    return stable_id(f"{name}={value}")


def behaviour_id(name: str) -> int:
    """The integer of a behaviour.

    Raises:
        RecipeError: There is no such behaviour.
    """
    if name not in BEHAVIOURS:
        raise RecipeError(
            f"unknown behaviour {name!r}; known: {', '.join(BEHAVIOURS)}",
            suggestions=did_you_mean(name, BEHAVIOURS),
            change="model.init_args.behaviours",
        )
    return BEHAVIOURS.index(name)


def wanted_behaviours(behaviour: Tensor, names: Sequence[str] | None) -> Tensor:
    """Which samples were chosen in one of the given ways, bool ``(batch,)``; products are nobody's choice and always count.

    Args:
        behaviour: As `identity_tensors` made it, int64 ``(batch,)``.
        names: Of `BEHAVIOURS`; None for all.
    """
    if names is None:
        return torch.ones_like(behaviour, dtype=torch.bool)
    wanted = torch.stack([behaviour == behaviour_id(name) for name in names]).any(0)
    return wanted | (behaviour < 0)


def _attribute(item: Product, name: str) -> int:
    value = item.attributes.get(name)
    return 0 if value is None else attribute_id(name, value)
