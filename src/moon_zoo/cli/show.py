"""`moon-zoo show`: a model's card, a recipe's text, what a source or a data module is, a checkpoint's card and files."""

from __future__ import annotations

from pathlib import Path

from moon_zoo import recipe_yaml, recipes, registry
from moon_zoo.cli.arguments import Arguments
from moon_zoo.cli.output import is_terminal, say

summary = "a model's card, a recipe, a source, a checkpoint"

EXAMPLES = """\
  moon-zoo show dual_flow                        the model's card
  moon-zoo show dual_flow/quickstart             a recipe as it is written
  moon-zoo show dual_flow/quickstart --merged    as it is after inheritance
  moon-zoo show dual_flow/shop                   a checkpoint's card, files and hub
  moon-zoo show https://host/hub#dual_flow/shop  the same on another hub
"""


def run(args: list[str]) -> int:
    """Print one thing in full."""
    parser = Arguments("show", "Show one thing in full: " + summary + ".", EXAMPLES)
    parser.add_argument("name", help="a name from `moon-zoo list`, or a recipe's path")
    parser.add_argument("--merged", action="store_true", help="a recipe after inheritance and with full class paths")
    parser.add_argument("--checkpoint", action="store_true", help="the checkpoint, where a recipe has the same name")
    options = parser.parse_strict(args)
    path = _recipe(options.name)
    if options.checkpoint:
        _print_checkpoint(options.name)
        return 0
    if options.merged:
        print(recipe_yaml.dump(recipes.load(str(path or recipes.find(options.name))).values), end="")
    elif options.name in registry.entries("models"):
        _print_markdown(_card(registry.entry("models", options.name)))
    elif path is not None:
        _print_yaml(recipes.read_text(path))
        _tell_of_namesake(options.name)
    elif text := _described(options.name):
        _print_markdown(text)
    else:
        _print_checkpoint(options.name)
    return 0


def _recipe(name: str) -> Path | None:
    return recipes.shipped().get(name.removesuffix(".yaml")) or (Path(name) if Path(name).is_file() else None)


def _card(entry: registry.Entry) -> str:
    """The README beside a model's module, found without importing the model's package."""
    module = registry.locate(entry.target.partition(":")[0])
    if module is not None:
        card = (module if module.is_dir() else module.parent) / "README.md"
        if card.is_file():
            return card.read_text("utf-8")
    return f"# {entry.name}\n\n{entry.summary}\n\nclass_path: `{entry.class_path}` ({entry.origin})\n"


def _described(name: str) -> str:
    """Everything registered under ``name`` but models, as Markdown."""
    texts = [
        f"# {name}\n\n{entry.summary}\n\n- kind: {group}\n- class_path: `{entry.class_path}`\n- from: {entry.origin}\n"
        for group in ("data", "sources")
        if (entry := registry.entries(group).get(name)) is not None
    ]
    return "\n".join(texts)


def _print_checkpoint(name: str) -> None:
    from moon_zoo.cli.checkpoint_card import described

    _print_markdown(described(name, _known()))


def _known() -> list[str]:
    """Every other name that can be shown."""
    groups = [*registry.entries("models"), *registry.entries("data"), *registry.entries("sources")]
    return [*groups, *recipes.shipped()]


def _tell_of_namesake(name: str) -> None:
    """A recipe and the checkpoint it made may share their name; only hubs in folders are asked, which costs nothing."""
    from moon_zoo.cli.checkpoint_card import is_on_a_near_hub

    if is_on_a_near_hub(name):
        say(f"there is a checkpoint of that name too: moon-zoo show {name} --checkpoint")


def _print_markdown(text: str) -> None:
    if not is_terminal():
        print(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def _print_yaml(text: str) -> None:
    if not is_terminal():
        print(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "yaml", background_color="default", word_wrap=True))
