"""The local store: what is put in is found again, in bounded time, and a broken build leaves nothing."""

from __future__ import annotations

import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moon_zoo.errors import DataError
from moon_zoo.knowledge.building import StoreWriter
from moon_zoo.knowledge.source import KnowledgeSource, Page
from moon_zoo.knowledge.store import MOST_PAGES, KnowledgeStore

PAGES = {
    "mug": "A cup with a handle for hot drinks.",
    "travel mug": "A mug with a lid for the train.",
    "enamel mug": "A mug of steel for the camp fire.",
    "Café au lait": "Coffee with milk.",
    "東京都": "A city.",
    "glaze": "",
}


def write(path: Path, *, overwrite: bool = False) -> KnowledgeStore:
    with StoreWriter(path, name="toy", overwrite=overwrite, licence="CC0-1.0") as store:
        for title, summary in PAGES.items():
            store.page(title, title, summary)
        store.link("mug", "glaze", 2.0, "{head} is covered with {tail}")
        store.link("mug", "travel mug", 1.0, "{tail} is a kind of {head}")
        store.link("mug", "travel mug", 0.5)
        store.link("enamel mug", "mug", 3.0, "{head} is a kind of {tail}")
        store.link("mug", "nowhere")
        store.link("mug", "mug")
        store.link("mug", "glaze", -1.0)
        store.page("mug", "another mug")
        store.page("", "")
    assert store.skipped == {
        "a link that leads to no page": 1,
        "a link of a page to itself": 1,
        "a link without a usable weight": 1,
        "a page of a key that is there already": 1,
        "a page without a usable title": 1,
    }
    return KnowledgeStore(path)


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    return write(tmp_path / "toy.sqlite")


def titles(pages: list[Page]) -> list[str]:
    return [page.title for page in pages]


def test_titles_that_contain_the_topic_are_found_the_topic_itself_first(store: KnowledgeStore) -> None:
    source: KnowledgeSource = store
    assert (len(store), store.num_links, source.name) == (6, 4, "toy")
    assert titles(source.search("Mug", [])) == ["mug", "travel mug", "enamel mug"]
    assert titles(source.search("cafe AU", ())) == ["Café au lait"]
    assert titles(source.search("東京", ())) == ["東京都"]


def test_keywords_narrow_longest_first_and_one_that_empties_is_undone(store: KnowledgeStore) -> None:
    assert titles(store.search("mug", ["lid"])) == ["mug", "travel mug"]
    # "nonsense" is the longest and leaves none, "steel" then leaves one, and "train" is not asked for any more
    assert titles(store.search("mug", ["steel", "nonsense", "train"])) == ["mug", "enamel mug"]


@pytest.mark.parametrize("topic", ["", " ", "\N{HOT BEVERAGE}", '"', "* OR title:mug", "nowhere", "x" * 100_000])
def test_topics_of_any_signs_find_nothing_and_never_fail(store: KnowledgeStore, topic: str) -> None:
    assert store.search(topic, ['"', "AND", "(", "\N{HOT BEVERAGE}", ""]) == []


def test_neighbours_are_given_once_the_heaviest_first_in_both_directions(store: KnowledgeStore) -> None:
    (mug,) = [page for page in store.search("mug") if page.key == "mug"]
    edges = store.neighbours(mug, 5)
    assert [(edge.target, edge.weight, edge.reason) for edge in edges] == [
        ("enamel mug", 3.0, "enamel mug is a kind of mug"),
        ("glaze", 2.0, "mug is covered with glaze"),
        ("travel mug", 1.0, "travel mug is a kind of mug"),
    ]
    assert store.neighbours(mug, 1) == edges[:1]
    assert store.neighbours(mug, 0) == store.neighbours(Page("nowhere", "nowhere"), 5) == []


def test_a_page_without_a_summary_is_described_by_its_links(store: KnowledgeStore) -> None:
    assert store.describe("mug") == PAGES["mug"]
    assert store.describe("glaze") == "mug is covered with glaze"
    assert store.describe("nowhere") == ""


def test_the_same_content_has_the_same_fingerprint_and_other_content_another(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.sqlite"), write(tmp_path / "two.sqlite")
    assert one.fingerprint() == two.fingerprint()
    with StoreWriter(tmp_path / "two.sqlite", name="toy", overwrite=True) as other:
        other.page("mug", "mug", "A cup.")
    assert KnowledgeStore(tmp_path / "two.sqlite").fingerprint() != one.fingerprint()


def test_it_goes_to_other_threads_and_processes(store: KnowledgeStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: titles(store.search("glaze")), range(8)))
    assert found == [["glaze"]] * 8
    assert titles(pickle.loads(pickle.dumps(store)).search("glaze")) == ["glaze"]


def test_of_very_many_pages_the_one_of_that_title_still_comes_first(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "many.sqlite", name="many") as store:
        for number in range(2000):
            store.page(f"oak table {number}", f"oak table {number}")
        store.page("oak", "Oak")
    found = KnowledgeStore(tmp_path / "many.sqlite").search("oak")
    assert len(found) == MOST_PAGES
    assert found[0].title == "Oak"


def test_a_build_that_breaks_off_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "toy.sqlite"
    before = write(path).fingerprint()
    with pytest.raises(RuntimeError), StoreWriter(path, name="toy", overwrite=True) as store:
        store.page("oak", "oak")
        raise RuntimeError
    assert KnowledgeStore(path).fingerprint() == before
    assert [one.name for one in tmp_path.iterdir()] == ["toy.sqlite"]


def test_what_is_there_is_replaced_only_on_demand_and_only_a_store(tmp_path: Path) -> None:
    write(tmp_path / "toy.sqlite")
    with pytest.raises(DataError, match="exists already; nothing was written"):
        StoreWriter(tmp_path / "toy.sqlite", name="toy")
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is no store of knowledge, so it is not replaced"):
        StoreWriter(tmp_path / "letter.txt", name="toy", overwrite=True)


def test_files_that_are_no_store_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no store of knowledge"):
        KnowledgeStore(tmp_path / "nowhere.sqlite")
    (tmp_path / "letter.sqlite").write_text("dear " * 1000)
    with pytest.raises(DataError, match="cannot be read as a store of knowledge"):
        KnowledgeStore(tmp_path / "letter.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE about (value TEXT)")
    with pytest.raises(DataError, match="an SQLite file, but no store of knowledge of ours"):
        KnowledgeStore(tmp_path / "other.sqlite")
    write(tmp_path / "cut.sqlite")
    whole = (tmp_path / "cut.sqlite").read_bytes()
    (tmp_path / "cut.sqlite").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError):
        KnowledgeStore(tmp_path / "cut.sqlite").search("mug", ["lid"])
