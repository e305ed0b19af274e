"""MBE, with rows made up in the columns that its authors publish."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.reading import IndexedShards
from moon_zoo.sources.mbe import parse_attributes
from tests.sources.making import noisy, photo, write, write_csv, write_jsonl


def row(number: int, image: object, **more: object) -> dict[str, object]:
    return {
        "id": f"item{number}",
        "doc_title": f"杯子 mug {number}",
        "doc_image": image,
        "doc_industry_name": "家居",
        "doc_cate1_name": "餐具",
        "doc_cate2_name": "餐具",
        "doc_cate3_name": "杯子",
        "doc_cate4_name": "",
        "doc_attributes": "品牌:Elmora,,颜色:red!!!blue,,oddity,,:nameless",
        **more,
    }


def pack(*words: object) -> int:
    return main(["pack", "mbe", *map(str, words)])


def products(folder) -> dict[str, object]:
    return {product.item_id: product for product in IndexedShards(folder)}


def test_attributes_keep_their_several_values():
    assert parse_attributes("brand:Elmora,,colour:red!!!blue!!!red") == ({"brand": "Elmora", "colour": "red / blue"}, 0)
    assert parse_attributes("time:10:30,,品牌\uff1aElmora,,brand:") == ({"time": "10:30", "品牌": "Elmora"}, 0)
    assert parse_attributes("colour:red,,colour:blue") == ({"colour": "red / blue"}, 0)
    assert parse_attributes(",,no name,, :x") == ({}, 2)
    assert parse_attributes("") == ({}, 0)


def test_parquet_with_photos_as_bytes_becomes_products_of_the_split_in_its_name(tmp_path):
    jpegs = [noisy(40, seed) for seed in range(3)]
    images = [{"bytes": jpeg, "path": None} for jpeg in jpegs]
    table = pa.Table.from_pylist([row(number, image) for number, image in enumerate(images)])
    (tmp_path / "in" / "data").mkdir(parents=True)
    pq.write_table(table, tmp_path / "in" / "data" / "test-00000-of-00001.parquet")
    write(tmp_path / "in" / "dataset_infos.json", json.dumps({"default": {}}, indent=1))
    assert pack(tmp_path / "in", "--to", tmp_path / "out") == 0
    found = products(tmp_path / "out" / "test")
    assert [found[f"item{number}"].photos for number in range(3)] == [[jpeg] for jpeg in jpegs]
    one = found["item1"]
    assert one.title == "杯子 mug 1"
    assert one.category == ("家居", "餐具", "杯子")
    assert one.attributes == {"品牌": "Elmora", "颜色": "red / blue"}
    assert IndexedShards(tmp_path / "out" / "test").manifest.licence == "Apache-2.0"


def test_a_column_of_plain_bytes_and_base64_in_json_lines_give_the_same_photos(tmp_path):
    jpeg = noisy(40)
    text = base64.b64encode(jpeg).decode()
    pq.write_table(pa.Table.from_pylist([row(0, jpeg)]), tmp_path / "train.parquet")
    write_jsonl(
        tmp_path / "test.jsonl", [row(0, text), row(1, "data:image/jpeg;base64," + text), row(2, {"bytes": text})]
    )
    for name in ("train.parquet", "test.jsonl"):
        assert pack(tmp_path / name, "--to", tmp_path / name.partition(".")[0]) == 0
    assert products(tmp_path / "train" / "train")["item0"].photos == [jpeg]
    assert [product.photos for product in IndexedShards(tmp_path / "test" / "test")] == [[jpeg]] * 3


def test_photos_named_by_path_or_url_are_read_below_the_photo_root(tmp_path):
    write(tmp_path / "photos" / "a.jpg", photo("red"))
    write(tmp_path / "photos" / "b c.jpg", photo("blue"))
    rows = [row(0, "a.jpg"), row(1, "https://img.example.com/deep/b%20c.jpg?x=1"), row(2, "//img.example.com/a.jpg")]
    write_csv(tmp_path / "mbe.csv", rows)
    assert pack(tmp_path / "mbe.csv", "--photo-root", tmp_path / "photos", "--to", tmp_path / "out") == 0
    found = products(tmp_path / "out" / "test")
    assert [found[f"item{number}"].photos for number in range(3)] == [[photo("red")], [photo("blue")], [photo("red")]]


def test_rows_with_queries_become_searches_and_items(tmp_path):
    jpeg, asked = base64.b64encode(noisy(40)).decode(), base64.b64encode(noisy(40, 1)).decode()
    rows = [
        row(0, jpeg, query_image=asked, query_title="cup"),
        row(0, jpeg, query_image=None, query_title="blue cup"),
        row(1, jpeg, query_image=asked, query_title=None),
    ]
    write_jsonl(tmp_path / "test.jsonl", rows)
    assert pack(tmp_path / "test.jsonl", "--to", tmp_path / "out") == 0
    searches = list(IndexedShards(tmp_path / "out" / "test"))
    assert [(one.query_text, one.query_photo is not None, one.item.item_id) for one in searches] == [
        ("cup", True, "item0"),
        ("blue cup", False, "item0"),
        (None, True, "item1"),
    ]
    assert sorted(products(tmp_path / "out" / "items")) == ["item0", "item1"]


def test_what_cannot_be_used_is_left_out_and_counted_when_asked(tmp_path, capsys):
    good = base64.b64encode(noisy(40)).decode()
    rows = [
        row(0, good),
        row(0, good),
        row(1, good[:200] + "=="),
        row(2, "missing.jpg"),
        row(3, ""),
        {**row(4, good), "id": ""},
    ]
    write_jsonl(tmp_path / "test.jsonl", rows)
    assert pack(tmp_path / "test.jsonl", "--to", tmp_path / "out", "--on-error", "skip", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["splits"]["test"]["samples"] == 1
    assert summary["skipped"] == {"product that came before": 1, "unusable photo": 3, "row without an id": 1}
    assert summary["notes"] == ["12 attributes without a name left out (no ':' in doc_attributes)"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("https://img.example.com/x.jpg", "download the photos first"),
        ("../secret.jpg", "does not stay below its folder"),
        ("", "doc_image is empty"),
        (base64.b64encode(b"no photo at all, but long enough to be read as base64").decode(), "no JPEG, PNG or WebP"),
    ],
)
def test_a_bad_photo_names_its_row(tmp_path, capsys, image, message):
    write_jsonl(tmp_path / "test.jsonl", [row(0, base64.b64encode(noisy(40)).decode()), row(1, image)])
    assert pack(tmp_path / "test.jsonl", "--to", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert "test.jsonl, line 2" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.parquet"], "does not exist"),
        (["other.csv"], "lacks MBE's columns id, doc_title, doc_image"),
        (["empty"], "holds no tables"),
        (["test.jsonl", "--query-text", "doc_titel"], "did you mean: doc_title"),
        (["test.jsonl", "--max-rows", "-1"], "--max-rows"),
    ],
)
def test_mistakes_cost_one_message(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_csv(tmp_path / "other.csv", [{"sku": "1", "name": "mug"}])
    write_jsonl(tmp_path / "test.jsonl", [row(0, base64.b64encode(noisy(40)).decode())])
    assert pack(*words, "--to", "out") == 2
    assert message in capsys.readouterr().err
