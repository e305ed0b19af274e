"""Stored prefixes of Matryoshka embeddings: the first numbers, of unit length again; items and queries alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import UsageError
from moon_zoo.models import pretrained
from moon_zoo.models.base import ZooModule
from moon_zoo.search.catalogue import Catalogue
from moon_zoo.search.embedding import Settings, check_dim, embed
from moon_zoo.search.queries import Query


@pytest.fixture(scope="module")
def module(tiny_checkpoint: Path) -> ZooModule:
    """A model of 16 numbers that says it was trained with prefixes of 4 and 8."""
    found = pretrained.load(tiny_checkpoint)
    found.matryoshka = (4, 8, 16)
    return found


@pytest.fixture(scope="module")
def folders(
    module: ZooModule, product_set: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("prefixes")
    for name, dim in (("whole", None), ("cut", 8)):
        settings = Settings(num_workers=0, device="cpu", dim=dim)
        embed(module, [str(product_set)], root / name, source=str(tiny_checkpoint), settings=settings)
    return root


def test_what_is_stored_is_the_first_numbers_of_unit_length(folders: Path) -> None:
    whole, cut = Embeddings(folders / "whole"), Embeddings(folders / "cut", verify=True)
    for modality in ("product", "photo", "text"):
        first = whole.vectors(modality)[:, :8]
        np.testing.assert_allclose(
            cut.vectors(modality), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6
        )
    assert cut.embedding_dim == 8
    assert (cut.model["embedding_dim"], cut.model["full_dim"]) == (8, 16)
    assert "full_dim" not in whole.model


def test_queries_are_cut_as_the_items_were(folders: Path) -> None:
    """A title asks; scores of the cut search are those of the first 8 numbers of query and items."""
    whole, cut = (Catalogue.open(folders / name, modality="text") for name in ("whole", "cut"))
    query = Query(text="shirt number 3")
    (vector,) = whole.encoder.encode([query])
    items = whole.embeddings.vectors("text")[:, :8]
    scores = (items / np.linalg.norm(items, axis=1, keepdims=True)) @ (vector[:8] / np.linalg.norm(vector[:8]))
    (answer,) = cut.answer([query], k=5)
    np.testing.assert_allclose([result.score for result in answer.results], np.sort(scores)[::-1][:5], atol=1e-5)


def test_all_numbers_may_be_named(module: ZooModule) -> None:
    assert check_dim(module, 16) == 16
    assert check_dim(module, None) == 16


def test_other_prefixes_than_those_trained_are_refused(module: ZooModule) -> None:
    with pytest.raises(UsageError, match="was not trained with prefixes of 6 numbers, but of 4, 8, 16"):
        check_dim(module, 6)


@pytest.mark.parametrize(
    ("dim", "said"),
    [("8", "the first 8 of 16 numbers mean little by themselves"), ("0", "--dim is 0, but must be at least 1")],
)
def test_a_model_without_prefixes_is_refused_before_anything_is_written(
    dim: str,
    said: str,
    tiny_checkpoint: Path,
    product_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["embed", str(tiny_checkpoint), str(product_set), "--to", str(tmp_path / "e"), "--dim", dim]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert not (tmp_path / "e").exists()
