"""GroceryStoreDataset and folders of classes, in small made-up copies of their layouts, and the real sets where they are."""

from collections import Counter
from pathlib import Path

import pytest

from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.class_folders import ClassFoldersSource
from moon_zoo.sources.grocery_store import GroceryStoreSource
from tests.sources.making import grocery, photo, write, write_tar

REAL = Path(__file__).parents[3] / "shared" / "data"


def read(source):
    return {(split, key): sample for split, key, sample in source.read()}


def test_grocery_photos_are_queries_for_the_products_of_their_class(tmp_path):
    files = grocery(tmp_path)
    source = GroceryStoreSource(tmp_path)
    packed = read(source)
    assert source.total == len(packed) == 5
    assert sorted(packed) == [
        ("items", "Arla-Milk"),
        ("items", "Pink-Lady"),
        ("train", "Pink-Lady_001"),
        ("train", "Pink-Lady_002"),
        ("val", "Arla-Milk_001"),
    ]
    item = packed["items", "Pink-Lady"]
    assert (item.title, item.category, item.photo_roles) == (
        "Pink Lady",
        ("Fruit", "Apple", "Pink-Lady"),
        ["catalogue"],
    )
    assert item.description == "Pink Lady Class 1. Italy, ca 180g. Apple described."
    assert packed["items", "Arla-Milk"].description == "Milk described."
    search = packed["train", "Pink-Lady_001"]
    assert search.item == item
    assert search.query_photo == files["train/Fruit/Apple/Pink-Lady/Pink-Lady_001.jpg"]
    assert search.query_text is None


def test_grocery_reads_the_test_split_where_there_is_one_and_the_whole_repository(tmp_path):
    grocery(tmp_path / "GroceryStoreDataset" / "dataset", test=True)
    assert ("test", "Pink-Lady_001") in read(GroceryStoreSource(tmp_path))


def test_grocery_reads_the_tar_without_unpacking(tmp_path):
    path = write_tar(tmp_path / "grocery.tar", grocery(tmp_path / "folder"))
    assert read(GroceryStoreSource(path)) == read(GroceryStoreSource(tmp_path / "folder"))


def test_grocery_faults_are_placed(tmp_path):
    def fault(name: str, content: str) -> DataError:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        grocery(folder)
        write(folder / name, content)
        with pytest.raises(DataError) as caught:
            read(GroceryStoreSource(folder))
        return caught.value

    assert fault("classes.csv", "Class Name (str),Class ID (int)\nA,0\n").what.startswith("columns are missing: Coarse")
    assert "class 9 is not in classes.csv" in fault("val.txt", "val/x.jpg, 9, 0\n").what
    assert fault("val.txt", "val/x.jpg, 1\n").where.endswith("val.txt, line 1")
    assert "'one' is no class number" in fault("val.txt", "val/x.jpg, one, 0\n").what
    assert fault("val.txt", "val/x.jpg, 1, 0\nval/y.jpg, 1, 0\n").what == (
        "2 photos of 4 cannot be found: val/x.jpg, val/y.jpg"
    )
    assert "never read" in fault("val.txt", "../x.jpg, 1, 0\n").what
    with pytest.raises(DataError, match=r"no classes\.csv"):
        read(GroceryStoreSource(tmp_path / "0" / "train"))


def test_class_folders_with_splits(tmp_path):
    for name in ("train/shirt/a.jpg", "train/t-shirt/b.png", "validation/shirt/a.jpg", "TEST/long_sleeve/c.jpg"):
        write(tmp_path / name, photo())
    packed = read(ClassFoldersSource(tmp_path, photo_role="user"))
    assert Counter(split for split, _ in packed) == {"train": 2, "val": 1, "test": 1}
    by_id = {sample.item_id: sample for sample in packed.values()}
    assert by_id["TEST/long_sleeve/c"].title == "long sleeve"
    assert by_id["train/t-shirt/b"].title == "t-shirt"
    assert by_id["train/shirt/a"].category == ("shirt",)
    assert by_id["train/shirt/a"].spu_id != by_id["validation/shirt/a"].spu_id
    assert by_id["train/shirt/a"].photo_roles == ["user"]


def test_class_folders_in_one_folder_of_an_archive_are_found(tmp_path):
    files = {"set-1.0/train/a/1.jpg": photo(), "set-1.0/val/a/2.jpg": photo()}
    packed = read(ClassFoldersSource(write_tar(tmp_path / "x.tar.gz", files, "w:gz")))
    assert {split for split, _ in packed} == {"train", "val"}
    assert {sample.category for sample in packed.values()} == {("a",)}


def test_class_folders_without_splits_are_split_by_fractions(tmp_path):
    for number in range(20):
        write(tmp_path / ("cup" if number % 2 else "fruit/apple") / f"{number}.jpg", photo())
    packed = read(ClassFoldersSource(tmp_path))
    assert Counter(split for split, _ in packed) == {"train": 16, "val": 2, "test": 2}
    assert {sample.category for sample in packed.values()} == {("cup",), ("fruit", "apple")}
    halves = read(ClassFoldersSource(tmp_path, fractions="a=.5,b=.5", seed=1))
    assert Counter(split for split, _ in halves) == {"a": 10, "b": 10}


def test_class_folders_are_written_mixed_so_that_batches_are(tmp_path):
    for number in range(60):
        write(tmp_path / f"class-{number // 20}" / f"{number}.jpg", photo())
    titles = [sample.title for _, _, sample in ClassFoldersSource(tmp_path, fractions="all=1").read()]
    assert len(set(titles[:15])) == 3


def test_two_files_that_differ_in_suffix_are_two_products(tmp_path):
    write(tmp_path / "cup" / "1.jpg", photo())
    write(tmp_path / "cup" / "1.png", photo(form="PNG"))
    ids = {sample.item_id for sample in read(ClassFoldersSource(tmp_path, fractions="all=1")).values()}
    assert ids == {"cup/1.jpg", "cup/1.png"}


def test_class_folder_faults(tmp_path):
    with pytest.raises(DataError, match="no photos"):
        read(ClassFoldersSource(tmp_path))
    write(tmp_path / "loose.jpg", photo())
    with pytest.raises(DataError, match=r"1 photo in no class folder: loose\.jpg"):
        read(ClassFoldersSource(tmp_path))
    with pytest.raises(UsageError, match="unknown photo role 'usr'"):
        ClassFoldersSource(tmp_path, photo_role="usr")
    with pytest.raises(UsageError, match="'ignore' is not a way"):
        ClassFoldersSource(tmp_path, on_error="ignore")


@pytest.mark.skipif(not (REAL / "grocery_store.tar").is_file(), reason="the real set is not here")
def test_the_real_grocery_set():
    counts: Counter[str] = Counter()
    classes: set[tuple[str, ...]] = set()
    for split, _, sample in GroceryStoreSource(REAL / "grocery_store.tar", check_photos=False).read():
        counts[split] += 1
        if split == "items":
            classes.add(sample.category)
            assert sample.title and sample.description and len(sample.photos) == 1
    assert counts == {"items": 81, "train": 2640, "val": 296}
    assert len({category[1] for category in classes}) == 43


@pytest.mark.skipif(not (REAL / "clothing.tar").is_file(), reason="the real set is not here")
def test_the_real_clothing_set():
    counts = Counter(split for split, _, _ in ClassFoldersSource(REAL / "clothing.tar", check_photos=False).read())
    assert counts == {"train": 3068, "val": 341}
