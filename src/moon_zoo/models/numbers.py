"""Checks of a model's arguments, which are told by their names in a recipe."""

from __future__ import annotations

from moon_zoo.errors import RecipeError


def check_at_least(least: float, **values: float | None) -> None:
    """Refuse a number that is too small.

    Args:
        least: The smallest that means anything.
        values: Argument to value; None is never too small.

    Raises:
        RecipeError: Which one is.
    """
    for name, value in values.items():
        if value is not None and not value >= least:  # nor is it no number
            raise RecipeError(f"{name} is {value}, but must be at least {least:g}", change=f"model.init_args.{name}")
