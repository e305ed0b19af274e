"""A recipe's data module without its model, for verbs that only look at samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moon_zoo.recipes import Recipe

if TYPE_CHECKING:
    from moon_zoo.data.datamodule import ShardDataModule


def data_module(recipe: Recipe) -> ShardDataModule:
    """Build the data module that a recipe describes.

    Raises:
        RecipeError: Its settings are refused.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from moon_zoo.data.datamodule import ShardDataModule

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ShardDataModule, "data", fail_untyped=False)
    try:
        return parser.instantiate_classes(parser.parse_object({"data": recipe.values["data"]})).data
    except (ArgumentError, TypeError, ValueError, KeyError) as error:
        from moon_zoo.cli.checks import refused

        raise refused(error, recipe) from error
