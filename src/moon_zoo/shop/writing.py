"""The shop into shards: what to render, who renders it, and the truth that goes into the manifest.

One SPU is one piece of work, a pure function of the plan and the SPU's number. Pieces are rendered by any number of
processes and written in order, so the bytes on disk do not depend on that number.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moon_zoo.data.conversations import Instruction
from moon_zoo.data.follow_ups import FollowUp
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.machine import usable_cores
from moon_zoo.data.manifest import Manifest
from moon_zoo.data.publishing import MANIFEST_NAME
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.shop import VERSION
from moon_zoo.shop.catalogue import Item, Spu, split_numbers, spu
from moon_zoo.shop.conversations.combinations import SITUATIONS, dealt
from moon_zoo.shop.conversations.samples import conversation, count_of
from moon_zoo.shop.drawing.photos import photo, role
from moon_zoo.shop.follow_ups.facts import STORE_FILE, write_encyclopedia
from moon_zoo.shop.follow_ups.plan import DEFAULT_FOLLOW_UPS, FollowUpPlan
from moon_zoo.shop.follow_ups.plan import KIND as FOLLOW_UPS
from moon_zoo.shop.impression_plan import DEFAULT_IMPRESSIONS, DEFAULT_USERS, ImpressionPlan
from moon_zoo.shop.impression_plan import KIND as IMPRESSIONS
from moon_zoo.shop.processes import in_processes
from moon_zoo.shop.searches import FORMS, search
from moon_zoo.shop.vocabulary import LEAVES
from moon_zoo.shop.words import TITLE_SHARES, title, title_facts

if TYPE_CHECKING:
    from moon_zoo.data.impressions.raw import RawImpressions

log = logging.getLogger(__name__)

DEFAULT_PRODUCTS = 3000
DEFAULT_SPLITS: dict[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
SEARCHES_PER_ITEM = 2
CONVERSATIONS = Instruction.kind
LICENCE = "CC0-1.0"
SOURCE = "moon_zoo's simulated shop: drawn by a seed, no real product, brand or person"

Sample = Product | Search | Instruction
AnyPlan = Union["Plan", ImpressionPlan, FollowUpPlan]
Drawn = tuple[str, str, Sample]
Packed = tuple[str, str, Union[Sample, FollowUp, "RawImpressions"]]
"""``(split, key, sample)``: of what is drawn, and of all kinds."""

_SPUS_PER_TASK = 8
_SMALL = 60  # below this many SPUs, starting processes takes longer than rendering


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what the shop's shards hold.

    Args:
        kind: Kind of the samples, a key of `RENDERERS`.
        num_products: Number of SPUs; each has 1 to 3 items, 1.7 on average. Of conversations: of things talked about, every
            fourth of them twice.
        photos_per_product: Photos of each item: one for the catalogue, the others by customers; 1 of conversations.
        photo_px: Side of the photos in pixels.
        seed: The shop's seed.
        splits: Names of the splits and their fractions.
    """

    kind: str
    num_products: int
    photos_per_product: int
    photo_px: int
    seed: int
    splits: tuple[tuple[str, float], ...]

    def check(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UsageError: An argument is out of its range.
        """
        if self.kind not in RENDERERS:
            raise unknown_kind(self.kind)
        for name, value, low, high in (
            ("num_products", self.num_products, 1, 10_000_000),
            ("photos_per_product", self.photos_per_product, 1, 100),
            ("photo_px", self.photo_px, 32, 1024),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{name} is {value!r}", change=f"{name}, to a whole number from {low:,} to {high:,}")
        if not self.splits or any(not fraction > 0 for _, fraction in self.splits):
            raise UsageError(f"splits are {dict(self.splits)}", change="splits, to names with fractions above 0")
        empty = [name for name, numbers in self.numbers().items() if not numbers]
        if empty:
            raise UsageError(
                f"{self.num_products} products leave none for the split {empty[0]!r}", change="num_products or splits"
            )

    def numbers(self) -> dict[str, list[int]]:
        """SPU numbers of each split."""
        return split_numbers(self.seed, self.num_products, dict(self.splits))


def plan_of(
    *,
    kind: str,
    num_products: int,
    photos_per_product: int,
    photo_px: int,
    seed: int,
    num_users: int,
    num_impressions: int,
    num_follow_ups: int,
    splits: dict[str, float] | None = None,
) -> AnyPlan:
    """The plan of a kind; arguments that it has no use for are left out of it.

    Raises:
        UsageError: There is no such kind, or an argument is out of its range.
    """
    fractions = tuple((splits or DEFAULT_SPLITS).items())
    plan: AnyPlan
    if kind == IMPRESSIONS:
        plan = ImpressionPlan(num_products, seed, num_users, num_impressions, fractions)
    elif kind == FOLLOW_UPS:
        plan = FollowUpPlan(num_follow_ups, seed, fractions)
    else:
        photos = 1 if kind == CONVERSATIONS else photos_per_product
        plan = Plan(kind, num_products, photos, photo_px, seed, fractions)
    plan.check()
    return plan


def unknown_kind(kind: str) -> UsageError:
    """That the shop has no such samples."""
    return UsageError(
        f"the shop has no samples of kind {kind!r}",
        suggestions=did_you_mean(kind, KINDS),
        change=f"kind, to one of {', '.join(KINDS)}",
    )


def product_sample(product: Spu, item: Item, num_photos: int, photo_px: int) -> Product:
    """An item with its first ``num_photos`` photos."""
    taken = [photo(product, item, number, photo_px) for number in range(num_photos)]
    return Product(
        item_id=product.item_id(item),
        title=title(product, item),
        photos=[one.jpeg() for one in taken],
        spu_id=product.spu_id,
        category=product.leaf.path,
        attributes=product.attributes(item),
        photo_roles=[role(number) for number in range(num_photos)],
        core_boxes=[one.box for one in taken],
    )


def _products(plan: Plan, split: str, number: int) -> Iterator[tuple[str, Sample]]:
    product = spu(plan.seed, number)
    for item in product.items:
        yield product.item_id(item), product_sample(product, item, plan.photos_per_product, plan.photo_px)


def _searches(plan: Plan, split: str, number: int) -> Iterator[tuple[str, Sample]]:
    product = spu(plan.seed, number)
    peers = _peers(plan, split)[product.leaf.name]
    for item in product.items:
        sample = product_sample(product, item, plan.photos_per_product, plan.photo_px)
        for place in range(SEARCHES_PER_ITEM):
            wanted = search(product, item, place, peers)
            asked = None
            if wanted.shown is not None:
                asked = photo(product, wanted.shown, wanted.photo_number, plan.photo_px)
            yield (
                f"{product.item_id(item)}-q{place}",
                Search(
                    item=sample,
                    query_text=wanted.text,
                    query_photo=None if asked is None else asked.jpeg(),
                    query_box=None if asked is None else asked.box,
                    behaviour=wanted.behaviour,
                    hard_negatives=[product_sample(*pair, 1, plan.photo_px) for pair in wanted.passed_over],
                ),
            )


def _conversations(plan: Plan, split: str, number: int) -> Iterator[tuple[str, Sample]]:
    for place in range(count_of(number)):
        sample = conversation(plan.seed, plan.splits, split, number, place, plan.photo_px)
        yield sample.conversation_id, sample


RENDERERS: dict[str, Callable[[Plan, str, int], Iterator[tuple[str, Sample]]]] = {
    "product": _products,
    "search": _searches,
    CONVERSATIONS: _conversations,
}
"""Kind to ``(plan, split, SPU number) -> (key, sample)``; must be pure, and must import no torch."""

KINDS: tuple[str, ...] = (*RENDERERS, FOLLOW_UPS, IMPRESSIONS)
"""Kinds of the shop's samples: those that are drawn, follow-ups in words alone (`moon_zoo.shop.follow_ups`), and impressions,
which are simulated (`moon_zoo.shop.impressions`)."""


@lru_cache(maxsize=8)
def _peers(plan: Plan, split: str) -> dict[str, list[int]]:
    """SPU numbers of a split by leaf category."""
    leaves: dict[str, list[int]] = {leaf.name: [] for leaf in LEAVES}
    for number in plan.numbers()[split]:
        leaves[spu(plan.seed, number).leaf.name].append(number)
    return leaves


def samples(plan: Plan, workers: int | None = None, progress: bool = False) -> Iterator[Drawn]:
    """Every sample of the shop as ``(split, key, sample)``, split by split, in the order of SPU numbers.

    Args:
        plan: What to draw.
        workers: Processes; None takes one per core, 1 draws in this process.
        progress: Whether to show a bar on a terminal.

    Raises:
        UsageError: The plan cannot be drawn.
    """
    plan.check()
    tasks = [
        (split, numbers[start : start + _SPUS_PER_TASK])
        for split, numbers in plan.numbers().items()
        for start in range(0, len(numbers), _SPUS_PER_TASK)
    ]
    if workers is None:
        workers = 1 if plan.num_products < _SMALL else usable_cores()
    draw = partial(_render, plan)
    rendered = in_processes(draw, tasks, workers) if workers > 1 else itertools.starmap(draw, tasks)
    with _bar(progress) as bar:
        watch = bar.add_task(f"drawing the shop ({plan.photo_px} px)", total=plan.num_products)
        for (_, numbers), batch in zip(tasks, rendered):
            yield from batch
            bar.advance(watch, len(numbers))


def _render(plan: Plan, split: str, numbers: list[int]) -> list[Drawn]:
    draw = RENDERERS[plan.kind]
    return [(split, key, sample) for number in numbers for key, sample in draw(plan, split, number)]


def _bar(progress: bool) -> Progress:
    """A progress bar on stderr; nothing at all in a pipe."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("products"),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
    )


def write_shop(
    folder: str | os.PathLike[str],
    *,
    kind: str = "product",
    num_products: int = DEFAULT_PRODUCTS,
    photos_per_product: int = 3,
    photo_px: int = 128,
    seed: int = 0,
    num_users: int = DEFAULT_USERS,
    num_impressions: int = DEFAULT_IMPRESSIONS,
    num_follow_ups: int = DEFAULT_FOLLOW_UPS,
    splits: dict[str, float] | None = None,
    workers: int | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> dict[str, Manifest]:
    """Draw the shop and write it as shards, one set per split.

    The same arguments give the same bytes, whatever ``workers`` is.

    Args:
        folder: Where to; ``folder/train`` and so on. It appears as a whole or not at all.
        kind: ``product`` (items), ``search`` (queries with the item chosen), ``instruction`` (conversations about a photo, of
            which two in three are risky in some way), ``follow_up`` (a question, its answer and what is asked next; the
            store of knowledge behind them is ``folder/knowledge.sqlite``) or ``impressions`` (items shown to users, and which
            they clicked); of the last two nothing is drawn.
        num_products: Number of products (SPUs); each comes in 1 to 3 colours that are items of their own, 1.7 on average.
            Of conversations: number of things talked about; five conversations come of four.
        photos_per_product: Photos per item: the first for the catalogue, the others by customers.
        photo_px: Side of the photos in pixels, 32 to 1024.
        seed: The shop's seed.
        num_users: Of impressions: number of users.
        num_impressions: Of impressions: rows of all splits together, 20 : 3 : 6.
        num_follow_ups: Of follow-ups: number of them in all splits together.
        splits: Fraction of products per split; 0.8 train, 0.1 val, 0.1 test when None. A product stands in one split only;
            of impressions, products of val and test are new there; of conversations, what is asked about in which context; of
            follow-ups, which product is asked about in which regard.
        workers: Processes that draw; the machine's cores when None.
        progress: Whether to show a progress bar, on a terminal only.
        overwrite: Replace shards that are at ``folder``.

    Returns:
        The manifest of each split. ``manifest.extra["shop"]`` holds the shop's truth: arguments, version, counts, the
        share of titles that say each fact.

    Raises:
        UsageError: An argument is out of its range.
        DataError: The folder is taken or cannot be written.
    """
    plan = plan_of(
        kind=kind,
        num_products=num_products,
        photos_per_product=photos_per_product,
        photo_px=photo_px,
        seed=seed,
        num_users=num_users,
        num_impressions=num_impressions,
        num_follow_ups=num_follow_ups,
        splits=splits,
    )
    return _write(Path(folder), plan, workers, progress, overwrite)


def write_once(folder: str | os.PathLike[str], plan: AnyPlan) -> None:
    """Make sure that ``folder`` holds the shop; another process that is writing it is waited for.

    Raises:
        DataError: The folder cannot be written.
    """
    target = Path(folder)

    def there() -> bool:
        whole = not isinstance(plan, FollowUpPlan) or (target / STORE_FILE).is_file()
        return whole and all((target / split / MANIFEST_NAME).is_file() for split, _ in plan.splits)

    if there():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            if not there():
                if isinstance(plan, FollowUpPlan):
                    log.info("writing the shop's %s follow-ups into %s, once", f"{plan.num_follow_ups:,}", target)
                else:
                    done = "drawing" if isinstance(plan, Plan) else "simulating"
                    log.info("%s the shop of %s products into %s, once", done, f"{plan.num_products:,}", target)
                _write(target, plan, overwrite=isinstance(plan, FollowUpPlan))  # its store may be missing alone
    except OSError as error:
        raise DataError(
            f"cannot write the shop: {error.strerror or error}",
            where=str(target),
            change="the environment variable MOON_ZOO_CACHE, to a folder that can be written",
        ) from error


def _write(
    folder: Path,
    plan: AnyPlan,
    workers: int | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> dict[str, Manifest]:
    stock = stock_of(plan, workers, progress)
    manifests = write_splits(
        folder,
        stock.samples(),
        overwrite=overwrite,
        extras=stock.extras,
        source=SOURCE,
        licence=LICENCE,
        command=command(plan),
    )
    write_beside(folder, plan)
    return manifests


def write_beside(folder: Path, plan: AnyPlan) -> None:
    """Write what belongs beside the sets: of follow-ups the store of knowledge behind them."""
    if isinstance(plan, FollowUpPlan):
        write_encyclopedia(folder / STORE_FILE, plan.seed, overwrite=True)


@dataclass(frozen=True)
class Stock:
    """A shop to be written: its samples, and the truth about them, which is complete once all were drawn.

    Args:
        samples: Makes every sample, split by split.
        extras: Split to free JSON for its manifest: ``shop``, and of impressions ``bayes``.
    """

    samples: Callable[[], Iterator[Packed]]
    extras: dict[str, dict[str, Any]]


def stock_of(plan: AnyPlan, workers: int | None = None, progress: bool = False) -> Stock:
    """What there is to write of a plan.

    Args:
        plan: What to draw or to simulate.
        workers: Processes that draw; None takes one per core. Impressions need none.
        progress: Whether to show a bar on a terminal.

    Raises:
        UsageError: The plan cannot be drawn.
    """
    plan.check()
    if isinstance(plan, ImpressionPlan):
        from moon_zoo.shop.impressions import Impressions  # arrays and Arrow, which processes that draw do without

        shown = Impressions(plan)
        extras = {split: {"shop": shown.record, "bayes": best} for split, best in shown.best.items()}
        return Stock(shown.samples, extras)
    if isinstance(plan, FollowUpPlan):
        return Stock(plan.samples, {split: {"shop": plan.record()} for split, _ in plan.splits})
    truth = Truth(plan)
    extras = {split: {"shop": truth.record} for split, _ in plan.splits}
    return Stock(lambda: truth.watch(samples(plan, workers, progress)), extras)


def command(plan: AnyPlan) -> str:
    """The command that writes this shop again."""
    if isinstance(plan, ImpressionPlan):
        return (
            f"moon-zoo pack shop --kind {plan.kind} --num-products {plan.num_products} --seed {plan.seed} "
            f"--num-users {plan.num_users} --num-impressions {plan.num_impressions}"
        )
    if isinstance(plan, FollowUpPlan):
        return f"moon-zoo pack shop --kind {plan.kind} --num-follow-ups {plan.num_follow_ups} --seed {plan.seed}"
    if plan.kind == CONVERSATIONS:
        return (
            f"moon-zoo pack shop --kind {plan.kind} --num-products {plan.num_products} "
            f"--photo-px {plan.photo_px} --seed {plan.seed}"
        )
    return (
        f"moon-zoo pack shop --kind {plan.kind} --num-products {plan.num_products} "
        f"--photos-per-product {plan.photos_per_product} --photo-px {plan.photo_px} --seed {plan.seed}"
    )


class Truth:
    """What is known of a shop that is being written; complete once all samples went through `watch`.

    Attributes:
        record: Free JSON for the manifests. The writer keeps a reference and stores it when it closes.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.record: dict[str, Any] = {
            "version": VERSION,
            "arguments": {**asdict(plan), "splits": dict(plan.splits)},
            "categories": [list(leaf.path) for leaf in LEAVES],
            "splits": {
                split: {"spus": len(numbers), "items": 0, "samples": 0, "photos": 0}
                for split, numbers in plan.numbers().items()
            },
        }
        if plan.kind == CONVERSATIONS:
            del self.record["categories"]
            self.record["splits"] = {
                split: {
                    "samples": 0,
                    "photos": 0,
                    "situations": dict.fromkeys(SITUATIONS, 0),
                    "combinations": sorted(one.key for one in combinations),
                }
                for split, combinations in dealt(plan.seed, plan.splits).items()
            }
        if plan.kind == "search":
            for counts in self.record["splits"].values():
                counts["queries"] = dict.fromkeys(FORMS, 0)
        self._said = dict.fromkeys(TITLE_SHARES, 0)
        self._items = 0

    def watch(self, stream: Iterator[Drawn]) -> Iterator[Drawn]:
        """Count what goes by."""
        seen: set[str] = set()
        for split, key, sample in stream:
            counts = self.record["splits"][split]
            counts["samples"] += 1
            if isinstance(sample, Instruction):
                counts["photos"] += 1
                counts["situations"][sample.situation] += 1
                yield split, key, sample
                continue
            if isinstance(sample, Search):
                photos = sample.query_photo is not None
                form = "combined" if photos and sample.query_text is not None else "photo" if photos else "text"
                counts["queries"][form] += 1
                counts["photos"] += photos
                item = sample.item
            else:
                item = sample
            if item.item_id not in seen:
                seen = {item.item_id}  # searches of an item follow one another
                counts["items"] += 1
                counts["photos"] += len(item.photos)
                self._note(item)
            yield split, key, sample
        if self._items:
            self.record["titles_that_say"] = {fact: round(said / self._items, 4) for fact, said in self._said.items()}

    def _note(self, item: Product) -> None:
        self._items += 1
        _, number, variant = item.item_id.split("-")
        product = spu(self._plan.seed, int(number))
        for fact in title_facts(product, product.items[int(variant)]):
            self._said[fact] += 1
