"""Searching what was embedded: who finds what, the kept index's life, models that do not belong, photos that are gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import CheckpointError, DataError, UsageError
from moon_zoo.search.catalogue import Catalogue
from moon_zoo.search.index import ABOUT, INDEX
from moon_zoo.search.kept import kept_index
from moon_zoo.search.queries import Query
from tests.search.catalogues import Made, embedded, make, model, photo, product, write_set


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def catalogue(made: Made) -> Catalogue:
    return Catalogue.open(made.embeddings)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """Embeddings of one's own, with a kept index."""
    folder = Path(shutil.copytree(made.embeddings, tmp_path / "copy", ignore=shutil.ignore_patterns("index")))
    kept_index(Embeddings(folder), "product")
    return folder


# Finding --------------------------------------------------------------------------------------------------------------


def test_an_items_own_photo_and_words_find_it_first(catalogue: Catalogue) -> None:
    wanted = product(7)
    best = catalogue.search(wanted.title, wanted.photos[0])[0]
    assert (best.rank, best.item_id, best.title) == (1, "item-007", wanted.title)
    assert (best.category, best.index, best.key) == ("shoes/boot", 7, "p007")
    assert best.score == pytest.approx(1, abs=1e-4)


def test_words_alone_find_texts_and_photos_alone_find_photos(made: Made, tmp_path: Path) -> None:
    (tmp_path / "asked.jpg").write_bytes(product(5).photos[0])
    texts, photos = (Catalogue.open(made.embeddings, modality=name) for name in ("text", "photo"))
    assert texts.search(product(11).title)[0].item_id == "item-011"
    assert len(photos) == 37  # three of the forty have none
    for asked in (product(5).photos[0], tmp_path / "asked.jpg", str(tmp_path / "asked.jpg")):
        found = photos.search(photo=asked, k=3)
        assert found[0].item_id == "item-005"
        assert found[0].score == pytest.approx(1, abs=1e-4)


def test_queries_are_answered_in_their_order_also_over_several_batches(catalogue: Catalogue) -> None:
    numbers = [*range(30)] * 3
    queries = [Query(str(number), product(number).title) for number in numbers]
    told: list[tuple[int, int]] = []
    answers = catalogue.answer(queries, 3, advance=lambda count, total: told.append((count, total)))
    assert [answer.query.id for answer in answers] == [str(number) for number in numbers]
    assert told == [(64, 90), (26, 90)]
    alone = catalogue.search(product(17).title, k=3)
    for before, after in zip(answers[17].results, alone, strict=True):
        assert before.item_id == after.item_id
        assert before.score == pytest.approx(after.score, abs=1e-5)


def test_more_results_than_items(catalogue: Catalogue) -> None:
    found = catalogue.search("lamp", k=1000)
    assert [one.rank for one in found] == list(range(1, 41))
    assert len({one.item_id for one in found}) == 40


@pytest.mark.parametrize("name", ["shoes", "SHOES", "boot", "shoes/boot", "/shoes/"])
def test_category_is_a_path_or_any_part_of_it(catalogue: Catalogue, name: str) -> None:
    found = catalogue.search("lamp", k=100, category=name)
    assert len(found) == 13
    assert {one.category for one in found} == {"shoes/boot"}


def test_several_categories_add_up(catalogue: Catalogue) -> None:
    found = catalogue.search("x", k=100, category=["boot", "home"])
    assert {one.category for one in found} == {"shoes/boot", "home/lamp"}
    within = np.array([one.score for one in found])
    everything = {one.item_id: one.score for one in catalogue.search("x", k=100)}
    np.testing.assert_allclose(within, [everything[one.item_id] for one in found], atol=1e-6)


@pytest.mark.parametrize("name", ["sho", "clothing/boot", ""])
def test_part_of_a_name_is_no_category(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(UsageError, match=f"no item is in the category '{name}'"):
        catalogue.search("x", category=[name])


def test_unknown_category_suggests_and_lists(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"(?s)did you mean: shoes.*there are clothing/shirt, home/lamp, shoes/boot"):
        catalogue.search("x", category="Shoess")


def test_an_item_in_two_sets_is_found_once(made: Made, tmp_path: Path) -> None:
    again = write_set(tmp_path / "again", range(10, 20))
    catalogue = Catalogue.open(embedded(made.checkpoint, tmp_path / "both", made.shards, again))
    assert len(catalogue) == 50
    for k in (1, 9, 40, 90):
        found = catalogue.search(product(12).title, k=k)
        assert len(found) == min(k, 40)
        assert len({one.item_id for one in found}) == len(found)


# The model ------------------------------------------------------------------------------------------------------------


def test_another_model_is_refused_with_both_names(made: Made, tmp_path: Path) -> None:
    other = model(tmp_path / "other", made.shards, seed=1)
    catalogue = Catalogue.open(made.embeddings, model=str(other))
    with pytest.raises(CheckpointError, match=r"their vectors cannot be compared") as caught:
        catalogue.search("x")
    assert str(made.checkpoint) in caught.value.what
    assert str(other) in caught.value.what


def test_a_model_of_another_dimension_is_refused_with_both(made: Made, tmp_path: Path) -> None:
    other = model(tmp_path / "wide", made.shards, embedding_dim=24)
    with pytest.raises(CheckpointError, match=r"16 dimensions\), and queries would be by .*wide \(.*24 dimensions"):
        Catalogue.open(made.embeddings, model=str(other)).search("x")


def test_the_same_model_elsewhere_is_accepted(made: Made, tmp_path: Path, catalogue: Catalogue) -> None:
    moved = shutil.copytree(made.checkpoint, tmp_path / "moved")
    found = Catalogue.open(made.embeddings, model=str(moved)).search("boot", k=4)
    assert [one.item_id for one in found] == [one.item_id for one in catalogue.search("boot", k=4)]


def test_a_model_that_is_gone_says_how_to_name_it(made: Made, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"(?s)cannot be loaded.*--model, to where it is now \(fingerprint"):
        Catalogue.open(made.embeddings, model=str(tmp_path / "gone")).search("x")


def test_a_photo_that_is_none_names_the_query(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no photo at all")
    with pytest.raises(DataError, match=r"the query photo .*no\.jpg cannot be used"):
        catalogue.search(photo=tmp_path / "no.jpg")
    with pytest.raises(DataError, match=r"the query photo .*cannot be used"):
        catalogue.search(photo=photo(3)[:300])


# The kept index -------------------------------------------------------------------------------------------------------


def test_the_index_is_built_once(copy: Path) -> None:
    before = (copy / "index" / "product-flat" / INDEX).stat().st_mtime_ns
    said: list[str] = []
    kept_index(Embeddings(copy), "product", say=said.append)
    assert said == []
    assert (copy / "index" / "product-flat" / INDEX).stat().st_mtime_ns == before
    kept_index(Embeddings(copy), "product", rebuild=True)
    assert (copy / "index" / "product-flat" / INDEX).stat().st_mtime_ns > before


def test_an_altered_index_is_built_again_and_said(copy: Path) -> None:
    kept = copy / "index" / "product-flat"
    content = bytearray((kept / INDEX).read_bytes())
    content[-1] ^= 1
    (kept / INDEX).write_bytes(content)
    said: list[str] = []
    index = kept_index(Embeddings(copy), "product", say=said.append)
    assert said == ["indexing again: the index cannot be used: index.faiss was altered or cut since it was written"]
    vectors = Embeddings(copy).vectors("product")
    np.testing.assert_array_equal(index.search(vectors, 1)[1].ravel(), np.arange(40))


def test_an_index_cut_off_while_written_is_built_again(copy: Path) -> None:
    (copy / "index" / "product-flat" / ABOUT).unlink()
    said: list[str] = []
    kept_index(Embeddings(copy), "product", say=said.append)
    assert said == ["indexing again: no index is kept here"]
    assert (copy / "index" / "product-flat" / ABOUT).is_file()


def test_an_index_of_earlier_embeddings_is_built_again(made: Made, copy: Path, tmp_path: Path) -> None:
    fewer = embedded(made.checkpoint, tmp_path / "fewer", write_set(tmp_path / "few", range(9)))
    shutil.copytree(copy / "index", fewer / "index")
    said: list[str] = []
    assert len(kept_index(Embeddings(fewer), "product", say=said.append)) == 9
    assert said == ["indexing again: the index is of earlier embeddings"]


def test_an_index_of_another_model_is_refused_with_both_names(made: Made, copy: Path, tmp_path: Path) -> None:
    other = model(tmp_path / "other", made.shards, embedding_dim=24)
    theirs = embedded(other, tmp_path / "theirs", made.shards)
    shutil.copytree(copy / "index", theirs / "index")
    with pytest.raises(CheckpointError, match=r"16 dimensions\), the embeddings are by .*24 dimensions") as caught:
        kept_index(Embeddings(theirs), "product")
    assert str(made.checkpoint) in caught.value.what
    assert str(other) in caught.value.what
    assert caught.value.change is not None
    assert "--rebuild" in caught.value.change
    assert kept_index(Embeddings(theirs), "product", rebuild=True).dim == 24


def test_a_higher_recall_builds_again_a_lower_one_does_not(copy: Path) -> None:
    said: list[str] = []
    for recall in (0.9, 0.8, 0.95):
        kept_index(Embeddings(copy), "product", kind="ivf", recall=recall, say=said.append)
    assert said == ["indexing again: the index was built for a recall of 0.9, 0.95 is asked"]
    about = json.loads((copy / "index" / "product-ivf" / ABOUT).read_text())
    assert about["recall"]["target"] == 0.95
    assert set(about["recall"]["measured"]) == {"items", "photo", "text"}


def test_where_nothing_can_be_written_the_index_is_made_all_the_same(copy: Path) -> None:
    shutil.rmtree(copy / "index")
    (copy / "index").write_text("a file where the folder would be: as little writable as a read-only disk")
    said: list[str] = []
    assert len(kept_index(Embeddings(copy), "product", say=said.append)) == 40
    assert len(said) == 1
    assert said[0].startswith("the index is not kept: ")


def test_a_modality_that_no_item_has_is_refused(made: Made, tmp_path: Path) -> None:
    without = write_set(tmp_path / "shards", range(11, 12))  # the one without a photo
    folder = embedded(made.checkpoint, tmp_path / "embeddings", without)
    with pytest.raises(UsageError, match=r"(?s)holds no vectors of 'photo'.*--modality, to one of product, text"):
        Catalogue.open(folder, modality="photo")
    with pytest.raises(UsageError, match=r"(?s)holds no 'phot' vectors.*did you mean: photo"):
        Catalogue.open(folder, modality="phot")


# Photos ---------------------------------------------------------------------------------------------------------------


def test_photos_come_from_the_shards(catalogue: Catalogue) -> None:
    found = {one.item_id: one for one in catalogue.search("x", k=40)}
    assert catalogue.photos.of(found["item-007"]) == product(7).photos[0]
    assert catalogue.photos.of(found["item-011"]) is None
    assert catalogue.photos.notes == {}


def test_shards_that_are_gone_or_others_are_one_note(made: Made, tmp_path: Path) -> None:
    shards = write_set(tmp_path / "shards", range(6))
    folder = embedded(made.checkpoint, tmp_path / "embeddings", shards)
    shutil.rmtree(shards)
    catalogue = Catalogue.open(folder)
    assert [catalogue.photos.of(one) for one in catalogue.search("x")] == [None] * 6
    assert catalogue.photos.notes == {str(shards): f"{shards} does not exist"}
    write_set(shards, range(20, 26))  # another catalogue where the first one was: its photos would be wrong
    catalogue = Catalogue.open(folder)
    assert [catalogue.photos.of(one) for one in catalogue.search("x")] == [None] * 6
    assert "are others than those that were embedded" in catalogue.photos.notes[str(shards)]
