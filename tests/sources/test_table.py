"""Tables with photos: what is read, how it is split, and what every mistake in a table says."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_zoo.data.kinds import Product, Search
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.table import TableSource
from tests.sources.making import MUGS, catalogue, photo, write, write_csv, write_jsonl, write_tar


def products(source: TableSource) -> dict[str, Product]:
    return {sample.item_id: sample for _, _, sample in source.read() if isinstance(sample, Product)}


def mugs(folder: Path, count: int = 10, **options) -> TableSource:
    return TableSource(
        catalogue(folder, count), columns=options.pop("columns", MUGS), photo_root=folder / "photos", **options
    )


def fault(*args, **options) -> DataError:
    with pytest.raises(DataError) as caught:
        list(TableSource(*args, **options).read())
    return caught.value


def test_a_product_has_what_its_row_says(tmp_path):
    found = products(mugs(tmp_path))
    assert len(found) == 10
    mug = found["007"]
    assert (mug.title, mug.category, mug.photo_roles) == ("mug 7", ("kitchen", "mug"), ["catalogue"])
    assert mug.photos == [photo("red")]
    assert mug.spu_id == "007"


def test_numbers_stay_the_texts_they_are(tmp_path):
    """In every format: leading zeros, trailing zeros, long digits, exponents."""
    ids = ["007", "7.10", "12345678901234567890", "1e5"]
    rows = [{"item_id": item_id, "title": "x"} for item_id in ids]
    csv = write_csv(tmp_path / "a.csv", rows)
    tsv = write_csv(tmp_path / "a.tsv", rows, "\t")
    jsonl = write_jsonl(tmp_path / "a.jsonl", rows)
    pq.write_table(pa.table({"item_id": ids, "title": ["x"] * 4}), tmp_path / "a.parquet")
    for path in (csv, tsv, jsonl, tmp_path / "a.parquet"):
        assert sorted(products(TableSource(path))) == sorted(ids), path


def test_numbers_in_json_keep_their_digits_and_whole_floats_of_parquet_lose_their_point(tmp_path):
    jsonl = write(tmp_path / "a.jsonl", '{"item_id": 12345678901234567890, "title": 1.50}\n' * 1)
    (only,) = products(TableSource(jsonl, fractions="all=1")).values()
    assert (only.item_id, only.title) == ("12345678901234567890", "1.50")
    pq.write_table(pa.table({"item_id": [1.0, 2.0], "title": [None, float("nan")]}), tmp_path / "a.parquet")
    found = products(TableSource(tmp_path / "a.parquet", fractions="all=1"))
    assert {item_id: product.title for item_id, product in found.items()} == {"1": "", "2": ""}


def test_compressed_tables_and_other_delimiters_are_read(tmp_path):
    text = "item_id;title\n1;a, b\n2;c\n"
    write(tmp_path / "a.csv", text)
    write(tmp_path / "b.csv.gz", gzip.compress(text.encode()))
    for name in ("a.csv", "b.csv.gz"):
        assert {p.title for p in products(TableSource(tmp_path / name, fractions="all=1")).values()} == {"a, b", "c"}
    write(tmp_path / "c.csv", "item_id:title\n1:x\n")
    assert products(TableSource(tmp_path / "c.csv", delimiter=":", fractions="all=1"))["1"].title == "x"


def test_cells_may_contain_line_breaks_quotes_and_a_byte_order_mark_stands_in_front(tmp_path):
    path = write(tmp_path / "a.csv", b'\xef\xbb\xbfitem_id,title\n1,"two\nlines, ""quoted"""\n\n2,5" pipe\n')
    found = products(TableSource(path, fractions="all=1"))
    assert (found["1"].title, found["2"].title) == ('two\nlines, "quoted"', '5" pipe')


def test_other_encodings_are_read_when_named(tmp_path):
    for encoding in ("cp1252", "utf-16"):
        path = write(tmp_path / f"{encoding}.csv", "item_id,title\n1,café\n".encode(encoding))
        assert products(TableSource(path, encoding=encoding, fractions="all=1"))["1"].title == "café"


def test_several_columns_join_into_one_field(tmp_path):
    write(tmp_path / "f.jpg", photo("red"))
    write(tmp_path / "b.jpg", photo("blue"))
    row = {
        "item_id": "1",
        "brand": "Acme",
        "name": "mug",
        "front": "f.jpg",
        "back": "b.jpg",
        "dept": "home",
        "kind": "mug",
    }
    path = write_csv(tmp_path / "a.csv", [row])
    columns = "title=brand+name,photo=front+back,category=dept+kind"
    mug = products(TableSource(path, columns=columns, fractions="all=1"))["1"]
    assert (mug.title, mug.category) == ("Acme mug", ("home", "mug"))
    assert mug.photos == [photo("red"), photo("blue")]
    assert mug.photo_roles == ["catalogue", "user"]


def test_photos_come_from_lists_separated_cells_patterns_and_tars(tmp_path):
    files = {"1.jpg": photo("red"), "2.jpg": photo("blue")}
    archive = write_tar(tmp_path / "photos.tar", {f"p/{name}": content for name, content in files.items()})
    both = list(files.values())
    listed = write_jsonl(tmp_path / "a.jsonl", [{"item_id": "1", "photos": ["p/1.jpg", "p/2.jpg"]}])
    barred = write_csv(tmp_path / "b.csv", [{"item_id": "1", "photos": "p/1.jpg | p/2.jpg"}])
    named = write_csv(tmp_path / "c.csv", [{"item_id": "1", "number": "2"}])
    one = {"photo_root": archive, "fractions": "all=1"}
    assert products(TableSource(listed, **one))["1"].photos == both
    assert products(TableSource(barred, photo_separator="|", **one))["1"].photos == both
    assert products(TableSource(named, photo_pattern="p/{number}.jpg", **one))["1"].photos == both[1:]


def test_rows_of_one_group_become_one_product_wherever_they_stand(tmp_path):
    for name in "abcd":
        write(tmp_path / f"{name}.jpg", photo(side=(8 + ord(name), 8)))
    rows = [
        {"sku": "1", "title": "", "photo": "a.jpg", "photo_role": "user"},
        {"sku": "2", "title": "two", "photo": "b.jpg", "photo_role": "user"},
        {"sku": "1", "title": "one", "photo": "c.jpg", "photo_role": "user"},
        {"sku": "1", "title": "uno", "photo": "a.jpg", "photo_role": "user"},
    ]
    found = products(TableSource(write_csv(tmp_path / "a.csv", rows), group="sku", fractions="all=1"))
    assert {item_id: len(product.photos) for item_id, product in found.items()} == {"1": 2, "2": 1}
    assert found["1"].title == "one"
    assert found["1"].photo_roles == ["user", "user"]


def test_attributes_come_from_columns_patterns_and_json(tmp_path):
    row = {
        "item_id": "1",
        "colour": "red",
        "attr_size": "L",
        "attr_fit": "",
        "groesse": "9",
        "more": '{"new": true, "n": 1.0}',
    }
    path = write_csv(tmp_path / "a.csv", [row])
    source = TableSource(path, attributes="colour,attr_*,size2=groesse", attributes_json="more", fractions="all=1")
    assert products(source)["1"].attributes == {
        "colour": "red",
        "size": "L",
        "size2": "9",
        "new": "true",
        "n": "1.0",
    }


def test_default_fractions_keep_the_variants_of_a_product_together(tmp_path):
    rows = [{"item_id": str(number), "spu_id": str(number // 4), "title": "x"} for number in range(400)]
    packed = list(TableSource(write_csv(tmp_path / "a.csv", rows), seed=1).read())
    sides: dict[str, set[str]] = {}
    for split, _, sample in packed:
        sides.setdefault(sample.spu_id, set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert Counter(next(iter(splits)) for splits in sides.values()) == {"train": 80, "val": 10, "test": 10}
    assert len({key for _, key, _ in packed}) == 400


def test_a_split_column_is_followed_and_shared_products_are_noted(tmp_path):
    rows = [
        {"item_id": "1", "spu_id": "a", "split": "Training"},
        {"item_id": "2", "spu_id": "a", "split": "validation"},
        {"item_id": "3", "spu_id": "b", "split": "extra"},
    ]
    source = TableSource(write_csv(tmp_path / "a.csv", rows))
    assert {sample.item_id: split for split, _, sample in source.read()} == {"1": "train", "2": "val", "3": "extra"}
    assert source.notes == ["1 SPU in more than one split: a"]


def test_the_order_is_shuffled_and_the_same_every_time(tmp_path):
    orders = [[key for _, key, _ in mugs(tmp_path, 40, seed=seed).read()] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def search_table(folder: Path) -> Path:
    for name in "abq":
        write(folder / f"{name}.jpg", photo(side=(8 + ord(name), 8)))
    return write_csv(
        folder / "log.csv",
        [
            {"query_text": "red mug", "query_photo": "", "item_id": "a", "title": "A", "photo": "a.jpg", "not": "b"},
            {"query_text": "", "query_photo": "q.jpg", "item_id": "b", "title": "B", "photo": "b.jpg", "not": ""},
            {
                "query_text": "mug",
                "query_photo": "q.jpg",
                "item_id": "a",
                "title": "A",
                "photo": "a.jpg",
                "not": "b, b",
            },
        ],
    )


def test_a_table_with_queries_gives_searches_and_each_item_once(tmp_path):
    source = TableSource(search_table(tmp_path), columns="hard_negatives=not", fractions="train=1")
    packed = list(source.read())
    assert source.kind == "search"
    assert source.total == len(packed) == 5
    assert sorted(sample.item_id for split, _, sample in packed if split == "items") == ["a", "b"]
    searches = {key: sample for split, key, sample in packed if split == "train"}
    assert sorted(searches) == ["line-00000002", "line-00000003", "line-00000004"]
    first, second = searches["line-00000002"], searches["line-00000003"]
    assert isinstance(first, Search)
    assert (first.query_text, first.query_photo, first.item.title) == ("red mug", None, "A")
    assert [negative.item_id for negative in first.hard_negatives] == ["b"]
    assert (second.query_text, second.query_photo) == (None, (tmp_path / "q.jpg").read_bytes())


def test_unknown_hard_negatives_are_counted(tmp_path):
    rows = [{"query_text": "x", "item_id": "mug-1", "hard_negatives": "mug-2 mug-3"}]
    found = fault(write_csv(tmp_path / "a.csv", rows), fractions="train=1")
    assert found.what == "2 hard negatives that no row has as its item: mug-2, mug-3"


# Mistakes.


def test_missing_columns_are_all_named_with_close_matches_and_what_there_is(tmp_path):
    found = fault(catalogue(tmp_path), columns="item_id=sku,title=nmae,photo=picture")
    assert found.what == "2 columns are missing: 'nmae' (for title), 'picture' (for photo)"
    assert found.suggestions == ("name", "image")
    assert "the table has: sku, name, image, kind" in found.change


def test_a_table_without_item_ids_says_so(tmp_path):
    found = fault(catalogue(tmp_path))
    assert found.what == "a column is missing: 'item_id' (for item_id)"
    assert "--columns" in found.change


def test_an_unknown_field_is_suggested(tmp_path):
    with pytest.raises(UsageError, match="unknown field 'titel'") as caught:
        TableSource(catalogue(tmp_path), columns="titel=name")
    assert caught.value.suggestions[0] == "title"
    with pytest.raises(UsageError, match="'title' is not FIELD=COLUMN"):
        TableSource(tmp_path / "products.csv", columns="title")


def test_duplicate_ids_are_counted_with_their_lines(tmp_path):
    rows = [{"item_id": item_id, "title": "x"} for item_id in ("7", "8", "7", "9", "8", "7")]
    found = fault(write_csv(tmp_path / "a.csv", rows))
    assert found.what == "2 item ids in more than one row: 7 (lines 2, 4, 7), 8 (lines 3, 6)"
    assert "--group" in found.change


def test_rows_without_an_id_are_counted(tmp_path):
    path = write(tmp_path / "a.csv", "item_id,title\n1,a\n,b\n ,c\n")
    assert fault(path).what == "2 rows without an item id: a.csv, line 3, a.csv, line 4"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_empty_file_is_empty(tmp_path, name):
    assert "is empty" in fault(write(tmp_path / name, "")).what


def test_a_header_alone_is_no_table(tmp_path):
    assert fault(write(tmp_path / "a.csv", "item_id,title\n")).what == "a.csv has a header but no rows"


def test_two_columns_of_one_name_are_refused(tmp_path):
    assert "columns of the same name: title" in fault(write(tmp_path / "a.csv", "item_id,title,title\n1,a,b\n")).what


def test_bytes_that_are_no_utf8_are_placed(tmp_path):
    """item_id,title\\n is 14 bytes, 1,a\\n 4 more, and the accent is the sixth byte of line 3: position 18 + 5."""
    found = fault(write(tmp_path / "a.csv", b"item_id,title\n1,a\n2,caf\xe9\n"))
    assert found.what == "a.csv is not utf-8: byte 0xe9 at position 23, line 3"
    assert found.change.startswith("--encoding")
    found = fault(write(tmp_path / "a.jsonl", b'{"item_id": "1"}\n{"item_id": "\xff"}\n'))
    assert found.what == "a.jsonl is not utf-8: byte 0xff at position 30, line 2"


def test_bytes_that_are_no_utf8_are_placed_far_into_a_file(tmp_path):
    lines = b"".join(b"%d,plain title\n" % number for number in range(20000))
    found = fault(write(tmp_path / "a.csv", b"item_id,title\n" + lines + b"x,\xff\n"))
    assert found.what.endswith(f"position {14 + len(lines) + 2:,}, line 20,002")


def test_an_unknown_encoding_is_suggested(tmp_path):
    with pytest.raises(UsageError, match="unknown encoding 'utf8x'") as caught:
        TableSource(catalogue(tmp_path), encoding="utf8x")
    assert caught.value.suggestions == ("utf-8",)


def test_rows_of_another_length_are_counted_with_their_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'item_id,title\n1,"a\nb"\n2\n3,c,d\n4,e\n')
    assert fault(path).what == "2 rows with another number of cells than the header's 2: line 4 (1), line 5 (3)"


def test_a_quote_that_is_never_closed_names_where_the_row_begins(tmp_path):
    found = fault(write(tmp_path / "a.csv", 'item_id,title\n1,a\n2,"open\n3,c\n'))
    assert found.what.startswith("the row that begins on line 3 is no CSV")


@pytest.mark.parametrize(
    ("line", "message"), [('{"item_id": 1', "no JSON"), ("[1]", "JSON, but no object"), ("7", "JSON, but no object")]
)
def test_lines_that_are_no_json_objects_are_placed(tmp_path, line, message):
    found = fault(write(tmp_path / "a.jsonl", '{"item_id": 0}\n\n' + line + "\n"))
    assert message in found.what
    assert found.where == "a.jsonl, line 3"


def test_a_broken_parquet_file_says_so(tmp_path):
    assert "no readable Parquet" in fault(write(tmp_path / "a.parquet", b"PAR1 and nothing")).what


def test_a_table_that_is_not_there_suggests_its_neighbour(tmp_path):
    catalogue(tmp_path)
    assert fault(tmp_path / "product.csv").suggestions == ("products.csv",)
    with pytest.raises(UsageError, match="none of the suffixes"):
        TableSource(write(tmp_path / "a.xlsx", b"PK"))


def test_missing_photos_are_counted_or_left_out(tmp_path):
    source = mugs(tmp_path)
    for number in (3, 4, 5, 6, 7):
        (tmp_path / "photos" / f"00{number}.jpg").unlink()
    with pytest.raises(DataError) as caught:
        list(source.read())
    assert caught.value.what == "5 photos of 10 cannot be found: 003.jpg, 004.jpg, 005.jpg and 2 more"
    assert "--photo-root" in caught.value.change
    options = {"columns": MUGS, "photo_root": tmp_path / "photos", "on_error": "skip"}
    source = TableSource(tmp_path / "products.csv", **options)
    assert sorted(products(source)) == ["000", "001", "002", "008", "009"]
    assert source.skipped["missing photo"] == 5


def test_several_paths_in_a_cell_ask_for_their_separator(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "products.csv").write_text("sku,name,image,kind\n1,mug,1.jpg;2.jpg,mugs\n2,cup,3.jpg;4.jpg,mugs\n")
    with pytest.raises(DataError) as caught:
        list(TableSource(tmp_path / "products.csv", columns=MUGS, photo_root=tmp_path / "photos").read())
    assert "--photo-separator ';'" in caught.value.change


def test_broken_photos_are_named_or_left_out(tmp_path):
    source = mugs(tmp_path)
    write(tmp_path / "photos" / "004.jpg", "no photo")
    with pytest.raises(DataError, match=r"cannot use the photo 004\.jpg"):
        list(source.read())
    options = {"columns": MUGS, "photo_root": tmp_path / "photos", "on_error": "skip"}
    source = TableSource(tmp_path / "products.csv", **options)
    assert len(products(source)) == 9
    assert source.skipped["unusable photo"] == 1


def test_rows_without_a_photo_are_counted_or_left_out(tmp_path):
    write(tmp_path / "a.jpg", photo())
    path = write_csv(tmp_path / "a.csv", [{"item_id": "1", "photo": "a.jpg"}, {"item_id": "2", "photo": ""}])
    assert fault(path).what == "1 product without a photo: a.csv, line 3"
    source = TableSource(path, on_error="skip", fractions="all=1")
    assert list(products(source)) == ["1"]
    assert source.skipped["product without a photo"] == 1


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "link.jpg"])
def test_photo_paths_outside_the_root_are_refused(tmp_path, path):
    write(tmp_path / "secret.jpg", photo())
    root = tmp_path / "photos"
    root.mkdir()
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    table = write_csv(tmp_path / "a.csv", [{"item_id": "1", "photo": path}])
    for on_error in ("raise", "skip"):
        found = fault(table, photo_root=root, on_error=on_error, fractions="all=1")
        assert found.what == f"1 photo path outside the photo root, which are never read: {path}"


@pytest.mark.parametrize(
    "pattern", ["photos/{sku", "photos/{sku.__class__}.jpg", "photos/{}.jpg", "photos/{sku!r}", "x.jpg"]
)
def test_photo_patterns_hold_plain_column_names_only(tmp_path, pattern):
    with pytest.raises(UsageError, match="photo pattern"):
        TableSource(catalogue(tmp_path), columns="item_id=sku", photo_pattern=pattern)


def test_groups_with_several_ids_point_to_spu_id(tmp_path):
    rows = [{"item_id": "1", "product": "p", "title": "a"}, {"item_id": "2", "product": "p", "title": "a"}]
    found = fault(write_csv(tmp_path / "a.csv", rows), group="product")
    assert found.what == "1 group with more than one item id: p"
    assert "spu_id=COLUMN" in found.change


def test_groups_in_two_splits_are_refused(tmp_path):
    rows = [{"sku": "1", "split": "train"}, {"sku": "1", "split": "test"}]
    assert "in several splits: test, train" in fault(write_csv(tmp_path / "a.csv", rows), group="sku").what


def test_attributes_that_are_no_json_object_are_placed(tmp_path):
    for cell, message in (("{", "no JSON"), ("[1]", "no JSON object")):
        path = write_csv(tmp_path / "a.csv", [{"item_id": "1", "extra": cell}])
        found = fault(path, attributes_json="extra")
        assert message in found.what and found.where == "a.csv, line 2"


def test_a_list_where_a_text_belongs_is_named(tmp_path):
    found = fault(write_jsonl(tmp_path / "a.jsonl", [{"item_id": "1", "title": ["a", "b"]}]))
    assert found.what == "the column title holds a list or object where title is a text"


def test_photos_as_bytes_in_parquet_are_explained(tmp_path):
    pq.write_table(pa.table({"item_id": ["1"], "photo": [b"bytes"]}), tmp_path / "a.parquet")
    assert "photos are given as paths" in fault(tmp_path / "a.parquet").what


def test_json_round_trip_of_a_column_map(tmp_path):
    columns = dict(part.split("=") for part in MUGS.split(","))
    assert len(products(mugs(tmp_path, columns=json.loads(json.dumps(columns))))) == 10
