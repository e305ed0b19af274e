"""Names of models and sources: a name maps to ``"module:Class"``, and nothing is imported before it is asked for.

Other packages add their own through the entry-point groups ``moon_zoo.models``, ``moon_zoo.data``, ``moon_zoo.sources`` and
``moon_zoo.recipes``; see `entries`. Names and summaries of theirs are read from files too, not imported: a listing stays
quick, and one package that is broken breaks nothing but itself.
"""

from __future__ import annotations

import ast
import importlib
import re
import traceback
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from moon_zoo.errors import UsageError, ZooError, did_you_mean

OWN = "moon-zoo"
"""The distribution that this package is."""

_TARGET = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>\w+)\s*(\[.*\])?")
"""An entry point's value that names a class."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name.

    Args:
        name: What people type.
        target: ``"module:Attribute"``.
        summary: One line for `moon-zoo list`.
        origin: The distribution that registers it.
    """

    name: str
    target: str
    summary: str
    origin: str = OWN

    @property
    def class_path(self) -> str:
        """The dotted path that recipes hold."""
        return self.target.replace(":", ".")

    def load(self) -> Any:
        """Import the target.

        Raises:
            UsageError: It belongs to another package and cannot be imported. A fault of our own keeps its traceback.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ZooError:
            raise
        except Exception as error:
            if self.origin == OWN:
                raise
            raise self.broken(error) from error

    def broken(self, error: BaseException) -> UsageError:
        """What to say when another package's entry cannot be imported."""
        module, _, attribute = self.target.partition(":")
        said = " ".join(str(error).split()) or "no reason given"
        return UsageError(
            f"{self.name!r} of the package {self.origin} cannot be imported: {type(error).__name__}: {said}",
            where=f"{module}:{attribute}{_raised_at(error)}",
            change=f"that package: mend it, `pip install --upgrade {self.origin}`, or `pip uninstall {self.origin}`",
        )


_OWN: dict[str, tuple[Entry, ...]] = {
    "models": (
        Entry(
            "dream", "moon_zoo.models.dream.module:Dream", "a multimodal assistant that notices risks and stays helpful"
        ),
        Entry("dual_flow", "moon_zoo.models.dual_flow.module:DualFlow", "two towers, image and text, contrastive"),
        Entry(
            "followup",
            "moon_zoo.models.followup.module:Followup",
            "asks the next question, with knowledge from outside",
        ),
        Entry("mim", "moon_zoo.models.mim.module:Mim", "content interest in click prediction, over frozen embeddings"),
        Entry(
            "moon", "moon_zoo.models.moon.module:Moon", "a generative multimodal LLM with guided experts, as an encoder"
        ),
    ),
    "data": (
        Entry("shards", "moon_zoo.data.datamodule:ShardDataModule", "your own shards"),
        Entry("shop", "moon_zoo.shop.datamodule:ShopDataModule", "the simulated shop, written on first use"),
    ),
    "sources": (
        Entry("table", "moon_zoo.sources.table:TableSource", "a CSV, Parquet or JSONL table with a folder of photos"),
        Entry("class_folders", "moon_zoo.sources.class_folders:ClassFoldersSource", "a folder of class folders"),
        Entry("mbe", "moon_zoo.sources.mbe:MbeSource", "MBE, MOON's benchmark of products (MM-Bench-E-Commerce)"),
        Entry(
            "boxes",
            "moon_zoo.sources.boxes:BoxesSource",
            "shards of your own, with core regions detected in their photos",
        ),
        Entry(
            "cleaned",
            "moon_zoo.sources.cleaned:CleanedSource",
            "searches of your own, cleaned as MOON's last stage wants them",
        ),
        Entry("grocery_store", "moon_zoo.sources.grocery_store:GroceryStoreSource", "GroceryStoreDataset"),
        Entry("impressions", "moon_zoo.sources.impressions:ImpressionsSource", "a table of impressions and clicks"),
        Entry("movielens", "moon_zoo.sources.movielens:MovieLensSource", "MovieLens with posters and overviews"),
        Entry("fuxictr", "moon_zoo.sources.fuxictr:FuxiCTRSource", "click tables as FuxiCTR's users keep them"),
        Entry("microlens", "moon_zoo.sources.microlens:MicroLensSource", "MicroLens-1M of the MM-CTR challenge"),
        Entry("taobao_mm", "moon_zoo.sources.taobao_mm:TaobaoMMSource", "Taobao-MM"),
        Entry("siuo", "moon_zoo.sources.siuo:SiuoSource", "SIUO: safe inputs, unsafe output"),
        Entry("vlguard", "moon_zoo.sources.vlguard:VLGuardSource", "VLGuard: safe and unsafe images and instructions"),
        Entry("figstep", "moon_zoo.sources.figstep:FigStepSource", "FigStep: requests in images, with benign twins"),
        Entry("xstest", "moon_zoo.sources.xstest:XSTestSource", "XSTest: safe prompts that look unsafe"),
        Entry(
            "followupqg", "moon_zoo.sources.followupqg:FollowupQGSource", "FollowupQG: what people asked next, cleaned"
        ),
        Entry(
            "follow_up_table",
            "moon_zoo.sources.follow_up_table:FollowUpTableSource",
            "a table of questions, answers and follow-ups",
        ),
        Entry(
            "follow_up_knowledge",
            "moon_zoo.sources.follow_up_knowledge:FollowUpKnowledgeSource",
            "follow-ups of your own, with knowledge found for them",
        ),
        Entry("shop", "moon_zoo.sources.shop:ShopSource", "the simulated shop"),
    ),
}


def entries(group: str) -> dict[str, Entry]:
    """Everything registered under ``group`` (``models``, ``data`` or ``sources``), own names first.

    A name of another package that is taken already is reached as ``{package}:{name}``.
    """
    found = {entry.name: entry for entry in _OWN.get(group, ())}
    for point in metadata.entry_points(group=f"moon_zoo.{group}"):
        origin = point.dist.name if point.dist is not None else "unknown"
        target = _TARGET.fullmatch(point.value)
        if target is None:
            summary, path = f"entry point {point.value!r} names no module:Class; from {origin}", point.value
        else:
            path = f"{target['module']}:{target['attribute']}"
            summary = f"{_first_line(target['module'], target['attribute'])}from {origin}"
        name = point.name if point.name not in found else f"{origin}:{point.name}"
        found.setdefault(name, Entry(name, path, summary, origin))
    return found


def entry(group: str, name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UsageError: Nothing of that name is registered.
    """
    known = entries(group)
    if name not in known:
        raise UsageError(
            f"unknown name {name!r} among {group}",
            suggestions=did_you_mean(name, known),
            change=f"the name; known: {', '.join(sorted(known))}",
        )
    return known[name]


def foreign(class_path: str) -> Entry | None:
    """The entry of another package that registers a class path; None where that is ours or nobody's."""
    for group in ("models", "data", "sources"):
        for entry in entries(group).values():
            if entry.class_path == class_path and entry.origin != OWN:
                return entry
    return None


def locate(module: str) -> Path | None:
    """The folder of a package or the file of a module, found without importing anything; None where there is none."""
    top, *inner = module.split(".")
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner and spec.submodule_search_locations is None:
        return Path(spec.origin) if spec.origin is not None else None
    for location in spec.submodule_search_locations or ():
        place = Path(location, *inner)
        if place.is_dir():
            return place
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
    return None


@cache
def _first_line(module: str, attribute: str) -> str:
    """The first sentence of a class's docstring and what joins it to more words, read from its file; else nothing."""
    place = locate(module)
    if place is None:
        return f"module {module} is missing; "
    try:
        tree = ast.parse((place / "__init__.py" if place.is_dir() else place).read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            first = (ast.get_docstring(node) or "").partition("\n")[0].rstrip(".")
            return f"{first}; " if first else ""
    return ""


def _raised_at(error: BaseException) -> str:
    """File and line an import stopped at, for the message; nothing where Python gives none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if frame.filename != __file__]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
