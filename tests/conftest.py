"""Fixtures shared by all tests: tiny sets of shards, written by the real writer from photos drawn on the spot."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # several processes share few cores; spinning threads would slow all of them
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from moon_zoo.data.conversations import Instruction, Observation, Preference, Turn, user
from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.impressions.raw import RawImpressions
from moon_zoo.data.impressions.schema import Categorical, Numeric, Schema, Sequence
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.writing import ShardWriter, write_splits

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200)}
THINGS = ("mug", "shirt", "lamp")
NUM_PRODUCTS = 37
NUM_SEARCHES = 23
NUM_IMPRESSIONS = 61


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or left in the cache of whoever runs the tests."""
    before = os.environ.get("MOON_ZOO_CACHE")
    os.environ["MOON_ZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["MOON_ZOO_CACHE"]
    else:
        os.environ["MOON_ZOO_CACHE"] = before


def draw_photo(number: int = 0, width: int = 48, height: int = 40, fmt: str = "JPEG") -> bytes:
    """An encoded photo: a block of one of the `COLOURS` on a bright ground, a little different for every number."""
    from PIL import Image

    pixels = np.random.default_rng(number).integers(225, 255, (height, width, 3), dtype=np.uint8)
    colour = list(COLOURS.values())[number % len(COLOURS)]
    left, top = width // 4 + number % 3, height // 4 + number % 5
    pixels[top : top + height // 2, left : left + width // 2] = colour
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, fmt, quality=92)
    return stream.getvalue()


def make_product(number: int, photos: int = 2) -> Product:
    """Product ``number``; two products share an SPU."""
    colour, thing = list(COLOURS)[number % 3], THINGS[number % len(THINGS) - number // 9 % 2]
    return Product(
        item_id=f"item-{number:03d}",
        spu_id=f"spu-{number // 2:03d}",
        title=f"{colour} {thing} number {number}",
        photos=[draw_photo(number + 100 * view) for view in range(photos)],
        category=("home", thing),
        attributes={"colour": colour, "size": "small" if number % 2 else "large"},
        core_boxes=[(0.25, 0.25, 0.75, 0.75)] + [None] * (photos - 1) if photos else [],
    )


def make_search(number: int) -> Search:
    """Search ``number``: by text, by photo or by both, for item ``number``."""
    return Search(
        item=make_product(number, photos=1),
        query_text=None if number % 3 == 1 else f"some {list(COLOURS)[number % 3]} thing",
        query_photo=None if number % 3 == 0 else draw_photo(number + 50),
        behaviour=("click", "cart", "purchase")[number % 3],
        hard_negatives=[make_product(number + 1, photos=1)] if number % 2 else [],
    )


def write_products(folder: Path, count: int = NUM_PRODUCTS, max_samples: int = 5, photos: int = 2) -> Path:
    """A set of products 0 to count - 1 at ``folder``."""
    with ShardWriter(folder, kind="product", source="drawn", licence="CC0-1.0", max_samples=max_samples) as writer:
        for number in range(count):
            writer.write(f"p{number:03d}", make_product(number, photos))
    return folder


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    """`draw_photo`."""
    return draw_photo


@pytest.fixture(scope="session")
def product_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 products in 8 shards, two photos each. Read only."""
    return write_products(tmp_path_factory.mktemp("shards") / "products")


@pytest.fixture(scope="session")
def item_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 products in 2 shards, one photo each: a gallery. Read only."""
    return write_products(tmp_path_factory.mktemp("shards") / "items", 11, max_samples=8, photos=1)


@pytest.fixture(scope="session")
def search_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 searches in 3 shards. Read only."""
    folder = tmp_path_factory.mktemp("shards") / "searches"
    with ShardWriter(folder, kind="search", source="drawn", licence="CC0-1.0", max_samples=10) as writer:
        for number in range(NUM_SEARCHES):
            writer.write(f"s{number:03d}", make_search(number))
    return folder


def impressions_schema() -> Schema:
    """Of `make_impressions`."""
    return Schema(
        categorical=(
            Categorical("user_id", "user", "user_id"),
            Categorical("item_id", "item", "item_id"),
            Categorical("category", "item", "category"),
            Categorical("query_item_id", "query", "item_id"),
        ),
        numeric=(Numeric("price", "item"),),
        sequences=(Sequence("history", ("item_id", "category")),),
        query="query_item_id",
        time="time",
    )


def make_impressions(count: int = NUM_IMPRESSIONS, first: int = 0) -> pa.Table:
    """Rows ``first`` to ``first + count - 1``: nine users, items of `make_product` 0 to 19 (their id and leaf category),
    histories of 0 to 24 items, a price that is missing in every eleventh row."""
    numbers = [(7 * row + row // 5) % 20 for row in range(first, first + count)]
    histories = [[(row + 3 * step) % 20 for step in range(row % 5 * (row % 7))] for row in range(first, first + count)]
    names, leaves = (
        [f"item-{number:03d}" for number in range(20)],
        [THINGS[number % 3 - number // 9 % 2] for number in range(20)],
    )
    rows = range(first, first + count)
    return pa.table(
        {
            "user_id": [f"user-{row % 9}" for row in rows],
            "item_id": [names[number] for number in numbers],
            "category": [leaves[number] for number in numbers],
            "query_item_id": [names[(number + row % 3) % 20] for number, row in zip(numbers, rows)],
            "price": [None if row % 11 == 4 else 1.5 * number + 1 for number, row in zip(numbers, rows)],
            "history.item_id": [[names[number] for number in history] for history in histories],
            "history.category": [[leaves[number] for number in history] for history in histories],
            "click": [int((row + number) % 3 == 0) for number, row in zip(numbers, rows)],
            "time": [1_700_000_000 + 60 * row for row in rows],
        }
    )


@pytest.fixture(scope="session")
def impressions_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """61 rows of impressions in 2 shards, `make_impressions`. Read only."""
    out = tmp_path_factory.mktemp("shards") / "clicks"
    rows = RawImpressions(impressions_schema(), make_impressions())
    write_splits(out, [("train", "rows", rows)], source="drawn", licence="CC0-1.0", block_rows=32, max_samples=1)
    return out / "train"


@pytest.fixture(scope="session")
def content_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Content embeddings, 8 numbers each, of items 0 to 17 of `make_impressions`: two items have none. Read only."""
    import pyarrow.parquet as pq

    path = tmp_path_factory.mktemp("content") / "items.parquet"
    vectors = np.random.default_rng(0).normal(size=(18, 8)).astype(np.float32)
    ids = [f"item-{number:03d}" for number in range(18)]
    pq.write_table(
        pa.table({"item_id": ids, "vector": pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), 8)}), path
    )
    return path


def make_instruction(number: int) -> Instruction:
    """Conversation ``number``: about a photo, every fourth without one; every third is risky, every fifth is longer."""
    colour, thing = list(COLOURS)[number % 3], THINGS[number % len(THINGS)]
    risky = number % 3 == 0
    turns = user(f"is this {thing} fit for a toddler?" if risky else f"what colour is this {thing}?")
    if number % 5 == 4:
        turns = (Turn("system", "answer briefly"), *user("hello"), Turn("assistant", "hello, ask me"), *turns)
    return Instruction(
        conversation_id=f"talk-{number:03d}",
        turns=turns,
        image=None if number % 4 == 3 else draw_photo(number),
        answer=f"better not: a {colour} {thing} may break; keep it out of reach" if risky else f"it is {colour}",
        observations=(Observation(f"a {thing} and a toddler", "image_content", "violence"),) if risky else (),
        safe=not risky,
        situation="joint" if risky else "benign",
        truth={"plain_answer": f"yes, the {colour} {thing} is nice" if risky else f"it is {colour}"},
    )


def make_preference(number: int) -> Preference:
    """A pair of answers to `make_instruction`'s conversation of that number; of every seventh one is far longer."""
    asked = make_instruction(number)
    chosen = "no" if number % 7 == 6 else asked.answer
    rejected = f"yes, it is fine for all of you {number}" if not asked.safe or chosen == "no" else f"no idea {number}"
    return Preference(asked.conversation_id, asked.turns, chosen, rejected, image=asked.image, round=1)


def write_conversations(folder: Path, kind: str, count: int = 23, max_samples: int = 10) -> Path:
    """A set of instructions or preferences 0 to count - 1 at ``folder``."""
    make = make_instruction if kind == "instruction" else make_preference
    with ShardWriter(folder, kind=kind, source="drawn", licence="CC0-1.0", max_samples=max_samples) as writer:
        for number in range(count):
            writer.write(f"c{number:03d}", make(number))
    return folder


@pytest.fixture(scope="session")
def instruction_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 conversations in 3 shards. Read only."""
    return write_conversations(tmp_path_factory.mktemp("shards") / "instructions", "instruction")


@pytest.fixture(scope="session")
def preference_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 pairs of answers in 3 shards. Read only."""
    return write_conversations(tmp_path_factory.mktemp("shards") / "preferences", "preference")


def make_follow_up(number: int) -> FollowUp:
    """Follow-up ``number``: about one of `THINGS`, with knowledge of a material."""
    thing, colour = THINGS[number % 3], list(COLOURS)[number % 2]
    concept = ("glaze", "wool", "brass", "cork", "linen")[number % 5]
    return FollowUp(
        conversation_id=f"follow-{number:03d}",
        question=f"is the {colour} {thing} number {number} new?",
        answer=f"yes, the {thing} came in this week.",
        follow_up=f"does the {thing} go with {concept}?",
        knowledge=Knowledge(f"{concept}: found with a {thing}.", concept, "made up") if number % 4 else None,
        truth={"concept": concept},
    )


@pytest.fixture(scope="session")
def follow_up_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 follow-ups in 3 shards. Read only."""
    folder = tmp_path_factory.mktemp("shards") / "follow_ups"
    with ShardWriter(folder, kind="follow_up", source="made up", licence="CC0-1.0", max_samples=10) as writer:
        for number in range(23):
            writer.write(f"f{number:03d}", make_follow_up(number))
    return folder
