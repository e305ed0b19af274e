"""Embedding shards: the model's own vectors, each item once, in the order of the shards, the same however it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moon_zoo.cli.main import main
from moon_zoo.data.embeddings import Embeddings
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import ShardWriter
from moon_zoo.errors import CheckpointError, DataError, UsageError
from moon_zoo.hub.publish import publish_folder
from moon_zoo.models import pretrained
from moon_zoo.models.base import ZooModule
from moon_zoo.search.embedding import Report, Settings, check_modalities, describe_model, embed, pick_device
from tests.conftest import draw_photo, make_product, make_search


@pytest.fixture(scope="module")
def module(tiny_checkpoint: Path) -> ZooModule:
    return pretrained.load(tiny_checkpoint)


def make(module: ZooModule, shards: Any, to: Path, **options: Any) -> Report:
    paths = shards if isinstance(shards, list) else [str(shards)]
    names = ("modalities", "overwrite", "told", "source")
    given = {"source": "tiny", **{name: options.pop(name) for name in names if name in options}}
    return embed(module, paths, to, settings=Settings(**{"num_workers": 0, "device": "cpu", **options}), **given)


def one_by_one(module: ZooModule, products: list[Product], modality: str) -> np.ndarray:
    """What `embed` must give: each product alone through inputs and model, its two photos and all."""
    rows = []
    with torch.inference_mode():
        for product in products:
            batch = module.inputs.batch([module.inputs.sample(product, Draw())])
            vectors, present = module.eval().embed(batch, [modality], side="item")[modality]
            assert present.all()
            rows.append(vectors[0].numpy())
    return np.stack(rows)


def test_vectors_are_the_models_own_in_the_order_of_the_shards(
    module: ZooModule, product_set: Path, tmp_path: Path
) -> None:
    report = make(module, product_set, tmp_path / "e", batch_size=3)
    shards = IndexedShards(product_set)
    found = Embeddings(tmp_path / "e", verify=True)
    for modality in ("product", "photo", "text"):
        expected = one_by_one(module, list(shards), modality)
        np.testing.assert_allclose(found.vectors(modality), expected, atol=2e-6)
    table = found.table(modality="photo").to_pylist()
    for position, row in enumerate(table):
        product = shards[position]
        assert (row["index"], row["key"]) == (position, shards.locate(position)[1])
        assert (row["item_id"], row["spu_id"], row["title"]) == (product.item_id, product.spu_id, product.title)
        assert (row["category"], row["set"]) == ("/".join(product.category), str(product_set))
    assert (report.items, report.vectors) == (37, {"product": 37, "photo": 37, "text": 37})
    assert (report.parts, report.parts_kept, report.device) == (8, 0, "cpu")
    assert found.model["fingerprint"] == module.fingerprint()
    assert found.embedding_dim == 16


def test_items_come_out_the_same_with_workers_and_beside_other_sets(
    module: ZooModule, product_set: Path, item_set: Path, tmp_path: Path
) -> None:
    make(module, product_set, tmp_path / "alone", batch_size=4)
    make(module, [str(product_set), str(item_set)], tmp_path / "both", batch_size=4, num_workers=2)
    alone, both = Embeddings(tmp_path / "alone"), Embeddings(tmp_path / "both", verify=True)
    assert [part.sha256 for part in alone.parts] == [part.sha256 for part in both.parts[:8]]
    assert [one["samples"] for one in both.sets] == [37, 11]
    assert both.count("product") == 48


def test_searches_give_each_item_once_where_it_comes_first(module: ZooModule, tmp_path: Path) -> None:
    # Items 0 1 2 | 1 3 0 | 2: the second shard adds one, the third none.
    numbers = [0, 1, 2, 1, 3, 0, 2]
    with ShardWriter(tmp_path / "set", kind="search", source="drawn", licence="CC0-1.0", max_samples=3) as writer:
        for place, number in enumerate(numbers):
            writer.write(f"s{place}", make_search(number))
    make(module, tmp_path / "set", tmp_path / "e")
    found = Embeddings(tmp_path / "e")
    table = found.table(["item_id", "index"], "product").to_pydict()
    assert table == {"item_id": ["item-000", "item-001", "item-002", "item-003"], "index": [0, 1, 2, 4]}
    assert [part.samples for part in found.parts] == [3, 1, 0]
    assert found.sets[0]["samples"] == 7
    # The item's side: its own photo, whatever the query's was.
    expected = one_by_one(module, [make_product(number, photos=1) for number in range(4)], "product")
    np.testing.assert_allclose(found.vectors("product"), expected, atol=2e-6)


def test_items_without_a_photo_or_a_title_have_only_what_they_have(module: ZooModule, tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "set", kind="product", source="drawn", licence="CC0-1.0") as writer:
        writer.write("both", Product("both", title="red mug", photos=[draw_photo(1)]))
        writer.write("text", Product("text", title="red mug"))
        writer.write("photo", Product("photo", photos=[draw_photo(1)]))
        writer.write("none", Product("none"))
    report = make(module, tmp_path / "set", tmp_path / "e")
    found = Embeddings(tmp_path / "e")
    ids = {name: found.table(["item_id"], name)["item_id"].to_pylist() for name in found.modalities}
    assert ids == {"product": ["both", "text", "photo"], "photo": ["both", "photo"], "text": ["both", "text"]}
    assert report.items == 4
    np.testing.assert_allclose(found.vectors("product")[1], found.vectors("text")[1], atol=1e-6)


def test_streamed_tars_give_the_same_vectors_without_positions(
    module: ZooModule, product_set: Path, tmp_path: Path
) -> None:
    make(module, product_set, tmp_path / "indexed", batch_size=3)
    tars = sorted(path.name for path in product_set.glob("*.tar"))
    pattern = f"{product_set}/{tars[0][:-5]}{{0..{len(tars) - 1}}}.tar"
    for workers in (0, 2):
        report = make(module, pattern, tmp_path / f"streamed-{workers}", batch_size=3, num_workers=workers)
        streamed, indexed = Embeddings(tmp_path / f"streamed-{workers}"), Embeddings(tmp_path / "indexed")
        assert np.array_equal(streamed.vectors("product"), indexed.vectors("product"))
        assert streamed.table(["key"])["key"].to_pylist() == indexed.table(["key"])["key"].to_pylist()
        assert set(streamed.table(["index"])["index"].to_pylist()) == {-1}
        assert (report.items, streamed.sets[0]["samples"]) == (37, 37)
    again = make(module, pattern, tmp_path / "streamed-0", batch_size=3)
    assert again.parts_kept == 8


def test_streamed_searches_are_refused(module: ZooModule, search_set: Path, tmp_path: Path) -> None:
    tar = sorted(search_set.glob("*.tar"))[0]
    with pytest.raises(DataError, match=r"which items come twice[^$]*inspect --index"):
        make(module, str(tar), tmp_path / "e")


def test_a_set_behind_a_url_is_embedded(module: ZooModule, item_set: Path, tmp_path: Path) -> None:
    make(module, item_set, tmp_path / "path")
    make(module, f"file://{item_set}", tmp_path / "url")
    path, url = Embeddings(tmp_path / "path"), Embeddings(tmp_path / "url")
    assert np.array_equal(path.vectors("product"), url.vectors("product"))
    assert url.sets[0]["path"] == f"file://{item_set}"


@pytest.fixture
def broken_set(tmp_path: Path) -> Path:
    """Four products, the third with a photo that is none."""
    with ShardWriter(tmp_path / "broken", kind="product", source="drawn", licence="CC0-1.0") as writer:
        for number in range(4):
            product = make_product(number, photos=1)
            if number == 2:
                product.photos = [product.photos[0][:150]]
            writer.write(f"p{number}", product)
    return tmp_path / "broken"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_broken_sample_is_named_or_skipped(
    module: ZooModule, broken_set: Path, tmp_path: Path, streamed: bool
) -> None:
    path = str(next(broken_set.glob("*.tar"))) if streamed else str(broken_set)
    with pytest.raises(DataError, match=r"(?s)p2.*SHARDS .*change: --on-error to skip"):
        make(module, path, tmp_path / "e")
    with pytest.raises(DataError, match=r"not complete|holds no embeddings"):
        Embeddings(tmp_path / "e")
    report = make(module, path, tmp_path / "e", on_error="skip")
    assert (report.items, report.skipped) == (3, 1)
    found = Embeddings(tmp_path / "e")
    assert found.table(["item_id"], "product")["item_id"].to_pylist() == ["item-000", "item-001", "item-003"]
    assert found.parts[0].skipped == 1
    # Asked to raise, it does not pass over what was skipped before.
    with pytest.raises(DataError, match="p2"):
        make(module, path, tmp_path / "e")


def test_half_precision_is_near_and_half_as_large(module: ZooModule, product_set: Path, tmp_path: Path) -> None:
    make(module, product_set, tmp_path / "32")
    make(module, product_set, tmp_path / "16", precision="bf16", dtype="float16")
    full, half = (Embeddings(tmp_path / name).vectors("product") for name in ("32", "16"))
    assert (full * half).sum(1).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=2e-3)


def test_progress_counts_every_item_once(module: ZooModule, product_set: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    make(module, product_set, tmp_path / "e", told=lambda done, total: told.append((done, total)))
    assert sum(done for done, _ in told) == 37
    assert {total for _, total in told} == {37}


def test_modalities_come_in_the_models_order_and_unknown_ones_are_named(module: ZooModule) -> None:
    assert check_modalities(module, ["text", "product"]) == ("product", "text")
    assert check_modalities(module, None) == ("product", "photo", "text")
    with pytest.raises(UsageError, match=r"no 'phto' vectors; it gives product, photo, text[^$]*did you mean: photo"):
        check_modalities(module, ["phto"])

    class Plain(ZooModule):
        pass

    with pytest.raises(CheckpointError, match="Plain embeds nothing"):
        check_modalities(Plain(module.inputs), None)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu").type == "cpu"
    for name in ("cuda:77", "gpu"):
        with pytest.raises(UsageError, match=f"the device '{name}' cannot be used here"):
            pick_device(name)


def test_a_path_to_the_model_is_recorded_whole_and_a_name_as_it_is(
    module: ZooModule, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    sources = [describe_model(module, source)["source"] for source in ("run", "run#a/b", "dual_flow/shop", "s3://x/y")]
    assert sources == [f"{tmp_path}/run", f"{tmp_path}/run#a/b", "dual_flow/shop", "s3://x/y"]
    # A folder of shards called like the hub's checkpoint is not where the model came from.
    publish_folder(tiny_checkpoint, "dual_flow/shop", str(tmp_path / "hub"), summary="tiny", licence="CC0-1.0")
    monkeypatch.setenv("MOON_ZOO_HUB", str(tmp_path / "hub"))
    (tmp_path / "dual_flow" / "shop").mkdir(parents=True)
    assert describe_model(module, "dual_flow/shop")["source"] == "dual_flow/shop"


# The command line -----------------------------------------------------------------------------------------------------


def test_the_command_embeds_every_set_of_a_folder_and_goes_on(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, count in (("train", 6), ("items", 3)):
        with ShardWriter(tmp_path / "shop" / split, kind="product", source="drawn", licence="CC0-1.0") as writer:
            for number in range(count):
                writer.write(f"p{number}", make_product(number))
    words = ["embed", str(tiny_checkpoint), str(tmp_path / "shop"), "--to", str(tmp_path / "e"), "--num-workers", "0"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "modality\tvectors\tdim",
        "product\t9\t16",
        "photo\t9\t16",
        "text\t9\t16",
    ]
    assert "embedded 9 items" in said.err
    assert "moon-zoo search" in said.err
    assert [Path(one["path"]).name for one in Embeddings(tmp_path / "e").sets] == ["train", "items"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["parts"], report["parts_kept"], report["items_new"]) == (2, 2, 0)
    assert report["model"]["source"] == str(tiny_checkpoint)
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "SET", "--to", "OUT"], "there is no checkpoint 'nowhere'"),
        (["CKPT", "nowhere", "--to", "OUT"], "nowhere does not exist"),
        (["CKPT", "SET"], "required: --to"),
        (["CKPT", "SET", "--to", "OUT", "--modality", "produkt"], "did you mean: product"),
        (["CKPT", "SET", "--to", "OUT", "--modality", "text,,photo"], "empty name"),
        (["CKPT", "SET", "--to", "OUT", "--batch-size", "0"], "--batch-size is 0, but must be at least 1"),
        (["CKPT", "SET", "--to", "OUT", "--device", "cuda:99"], "cannot be used here"),
        (["CKPT", "SET", "SET/manifest.json", "--to", "OUT"], "is named twice"),
        (["CKPT", "SET", "--to", "SET"], "holds other things"),
        (["CKPT", "SET", "--to", "OUT", "--presicion", "32"], "did you mean: --precision"),
    ],
)
def test_mistakes_cost_one_message(
    words: list[str],
    said: str,
    tiny_checkpoint: Path,
    item_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"CKPT": str(tiny_checkpoint), "OUT": str(tmp_path / "e"), "SET": str(item_set)}
    given = [str(item_set / "manifest.json") if word.startswith("SET/") else places.get(word, word) for word in words]
    assert main(["embed", *given]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert "Traceback" not in text
    assert not (tmp_path / "e").exists()
