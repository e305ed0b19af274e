"""`moon-zoo copy`: a recipe copied out to be edited; what it inherits stays reachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moon_zoo import recipe_yaml, recipes
from moon_zoo.cli.arguments import Arguments
from moon_zoo.errors import UsageError

summary = "a recipe copied out, to be edited"

EXAMPLES = """\
  moon-zoo copy dual_flow/base my_shop.yaml      then edit and check it
  moon-zoo copy dual_flow/base my_shop.yaml --merged     with all it inherits
"""


def run(args: list[str]) -> int:
    """Copy a recipe."""
    parser = Arguments(
        "copy", "Copy a recipe out, to be edited. Its base stays reachable from the new place.", EXAMPLES
    )
    parser.add_argument("recipe", help="a shipped name or a path")
    parser.add_argument("target", nargs="?", help="file or folder to write; the recipe's file name here when left out")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--merged", action="store_true", help="write out what it inherits, instead of naming it")
    options = parser.parse_strict(args)
    source = recipes.find(options.recipe)
    target = Path(options.target or source.name)
    if target.is_dir():
        target = target / source.name
    if target.suffix not in (".yaml", ".yml"):
        target = target.with_name(f"{target.name}.yaml")
    if target.exists() and not options.force:
        raise UsageError(
            f"{target} is there already", where="moon-zoo copy", change="the target, or add --force to replace it"
        )
    text = merged_text(source) if options.merged else copied_text(source, target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    print(f"{target}\nnext: moon-zoo check --config {target}")
    return 0


def copied_text(source: Path, folder: Path) -> str:
    """The recipe's text with relative bases rewritten so that they hold from ``folder``."""
    text = recipes.read_text(source)
    changes = []
    for base in recipes.bases(recipe_yaml.parse(text, recipes.shown(source))):
        path = recipes.find(base.value, beside=source.parent)
        name = recipes.name_of(path)
        reachable = name if name in recipes.shipped() else str(path.resolve())
        if reachable != base.value:
            changes.append((base.value, reachable))
    return _with_bases(text, dict(changes)) if changes else text


def merged_text(source: Path) -> str:
    """The recipe after inheritance, under its own header."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in recipes.header(source).splitlines())
    return comment + recipe_yaml.dump(recipes.load(str(source)).values)


def _with_bases(text: str, changes: dict[str, str]) -> str:
    """Replace the names under ``base`` at the very places they stand, so that comments and layout survive."""
    import yaml

    document: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    named = [value for key, value in document.value if key.value == "base"]
    scalars = [one for node in named for one in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    for node in sorted(scalars, key=lambda one: -one.start_mark.index):
        if node.value in changes:
            quoted = yaml.safe_dump(changes[node.value], default_flow_style=True, width=10_000).removesuffix("\n...\n")
            text = text[: node.start_mark.index] + quoted.strip() + text[node.end_mark.index :]
    return text
