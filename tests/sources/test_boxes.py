"""`moon-zoo pack boxes` and the sheet that shows its boxes, through the real command line."""

import json

import pytest

from moon_zoo.cli.main import main
from moon_zoo.data.kinds import Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.writing import ShardWriter, write_splits
from moon_zoo.regions.photos import photos_of
from moon_zoo.regions.region import iou
from moon_zoo.shop.writing import write_shop
from tests.sources.making import photo


def pack(*words: object) -> int:
    return main(["pack", "boxes", *map(str, words)])


def boxes(path) -> list[list[tuple[float, ...] | None]]:
    return [[one.box for one in photos_of(sample)] for sample in IndexedShards(path)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "shop"
    write_shop(folder, num_products=10, photos_per_product=2, photo_px=64, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searches") / "shop"
    write_shop(folder, kind="search", num_products=10, photos_per_product=2, photo_px=64, workers=1, progress=False)
    return folder


def test_all_splits_get_boxes_and_everything_else_stays(shop, tmp_path, capsys):
    assert pack(shop, "--to", tmp_path / "boxed", "--json") == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert len(notes) == 3
    for split in ("train", "val", "test"):
        old, new = IndexedShards(shop / split), IndexedShards(tmp_path / "boxed" / split)
        assert [old.locate(place)[1] for place in range(len(old))] == [
            new.locate(place)[1] for place in range(len(new))
        ]
        for before, after in zip(old, new, strict=True):
            assert (after.item_id, after.title, after.photos, after.attributes) == (
                before.item_id,
                before.title,
                before.photos,
                before.attributes,
            )
        assert new.manifest.parents == [old.manifest.fingerprint]
        assert new.manifest.licence == old.manifest.licence
        assert new.manifest.extra["shop"] == old.manifest.extra["shop"]


def test_the_manifest_says_who_detected_and_how_well(shop, tmp_path):
    assert pack(shop / "train", "--to", tmp_path / "boxed") == 0
    old, new = IndexedShards(shop / "train"), IndexedShards(tmp_path / "boxed" / "train")
    record = new.manifest.extra["boxes"]
    photos = sum(len(product.photos) for product in old)
    assert record["detector"] == {"name": "saliency"}
    assert record["found"] + record["too_small"] + record["failed"] == photos
    pairs = [
        iou(one.box or (0.0, 0.0, 1.0, 1.0), true.box)
        for before, after in zip(old, new, strict=True)
        for true, one in zip(photos_of(before), photos_of(after), strict=True)
        if one.role == "user"
    ]
    assert record["overlap"]["user"] == {
        "mean_iou": pytest.approx(sum(pairs) / len(pairs), abs=1e-4),
        "photos": len(pairs),
    }


def test_searches_get_boxes_of_query_item_and_negatives(searches, tmp_path):
    assert pack(searches, "--to", tmp_path / "boxed") == 0
    old, new = IndexedShards(searches / "train"), IndexedShards(tmp_path / "boxed" / "train")
    assert new.manifest.kind == "search"
    overlaps = []
    for before, after in zip(old, new, strict=True):
        assert (after.query_text, after.behaviour, after.query_photo) == (
            before.query_text,
            before.behaviour,
            before.query_photo,
        )
        assert [one.item_id for one in after.products()] == [one.item_id for one in before.products()]
        overlaps += [
            iou(one.box, true.box) for one, true in zip(photos_of(after), photos_of(before), strict=True) if one.box
        ]
    assert sum(overlaps) / len(overlaps) > 0.6
    assert set(new.manifest.extra["boxes"]["overlap"]) == {"query", "catalogue"} | (
        {"user"} if any(one.role == "user" for sample in old for one in photos_of(sample)) else set()
    )


def test_known_boxes_stay_when_asked_and_only_others_are_looked_at(tmp_path):
    known = (0.25, 0.25, 0.5, 0.5)
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("a", Product("a", photos=[photo("red"), photo("blue")], core_boxes=[known, None]))
    assert pack(tmp_path / "set", "--keep-known", "--to", tmp_path / "kept") == 0
    assert boxes(tmp_path / "kept" / "set") == [[known, None]]  # plain blue: nothing stands out
    record = IndexedShards(tmp_path / "kept" / "set").manifest.extra["boxes"]
    assert (record["kept"], record["failed"], record["found"]) == (1, 1, 0)
    assert record["failures"] == {"nothing stands out from the background": 1}
    assert pack(tmp_path / "set", "--to", tmp_path / "new") == 0
    assert boxes(tmp_path / "new" / "set") == [[None, None]]
    overlap = IndexedShards(tmp_path / "new" / "set").manifest.extra["boxes"]["overlap"]
    assert overlap == {"catalogue": {"mean_iou": 0.0625, "photos": 1}}  # the whole photo against its sixteenth


def test_boxes_travel_from_one_set_to_another_by_photo(shop, tmp_path):
    """Truth taken off by one detector comes back from the set that has it, in another kind of set and order."""
    old = list(IndexedShards(shop / "val"))
    bare = [Search(product, query_text="x", query_photo=product.photos[-1]) for product in reversed(old)]
    for search in bare:
        search.item.core_boxes = [None] * len(search.item.photos)
    write_splits(tmp_path / "bare", [("val", search.item.item_id, search) for search in bare])
    truth = {product.item_id: product.core_boxes for product in IndexedShards(shop / "val")}
    assert pack(tmp_path / "bare", "--detector", "truth", "--known", shop, "--to", tmp_path / "boxed") == 0
    for search in IndexedShards(tmp_path / "boxed" / "val"):
        assert search.item.core_boxes == truth[search.item.item_id]
        assert search.query_box == truth[search.item.item_id][-1]


def test_a_small_box_is_counted_and_not_kept(tmp_path, capsys):
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        sizes = [(0.0, 0.0, 0.2, 0.2), (0.0, 0.0, 0.5, 0.5)]
        writer.write("a", Product("a", photos=[photo("red"), photo("blue")], core_boxes=sizes))
    assert pack(tmp_path / "set", "--detector", "truth", "--to", tmp_path / "out") == 0
    assert boxes(tmp_path / "out" / "set") == [[None, (0.0, 0.0, 0.5, 0.5)]]
    said = capsys.readouterr().err
    assert "1 box found, 1 too small" in said
    assert f"--sheet sheet.png --beside {tmp_path / 'set'}" in said
    assert pack(tmp_path / "set", "--detector", "truth", "--min-area", "0", "--to", tmp_path / "all") == 0
    assert boxes(tmp_path / "all" / "set") == [sizes]


def test_a_photo_that_cannot_be_decoded_is_counted_and_stays_without_a_box(tmp_path, capsys):
    cut = photo("red", (64, 64))[:40]
    with ShardWriter(tmp_path / "set", kind="product") as writer:
        writer.write("a", Product("a", photos=[cut]))
    assert pack(tmp_path / "set", "--to", tmp_path / "out") == 0
    assert boxes(tmp_path / "out" / "set") == [[None]]
    assert "1 photo without one: the photo cannot be decoded" in capsys.readouterr().err


def test_the_same_photo_is_looked_at_once(tmp_path, monkeypatch):
    from moon_zoo.regions.saliency import SaliencyDetector

    looked: list[int] = []
    real = SaliencyDetector.detect_all

    def counting(self, photos, titles):
        looked.append(len(photos))
        return real(self, photos, titles)

    monkeypatch.setattr(SaliencyDetector, "detect_all", counting)
    one = photo("red")
    item = Product("a", title="mug", photos=[one])
    write_splits(
        tmp_path / "set", [("train", str(number), Search(item, query_text=str(number))) for number in range(70)]
    )
    assert pack(tmp_path / "set", "--to", tmp_path / "out") == 0
    assert sum(looked) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{shop}", "--detector", "salience"], "did you mean: saliency"),
        (["{shop}", "--detector", "grounding"], "add --model FOLDER"),
        (["{shop}", "--model", "x"], "--model is for the detector grounding, not for saliency"),
        (["{shop}", "--known", "x"], "--known is for the detector truth"),
        (["{shop}", "--min-area", "2"], "--min-area"),
        (["{shop}", "--batch-size", "0"], "--batch-size"),
        (["{shop}", "--detector", "grounding", "--model", "nowhere"], "nowhere"),
        (["nowhere"], "does not exist"),
        (["{rows}"], "has no photos"),
    ],
)
def test_mistakes_cost_one_message_and_write_nothing(shop, impressions_set, tmp_path, capsys, words, message):
    words = [word.format(shop=shop, rows=impressions_set) for word in words]
    assert pack(*words, "--to", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_the_sheet_shows_old_boxes_beside_new_ones(tmp_path, capsys):
    """Of a photo of 100 x 100 drawn 150 wide: an orange box at its left half, a green one at its right half."""
    for name, box in (("new", (0.0, 0.1, 0.4, 0.9)), ("old", (0.6, 0.1, 1.0, 0.9))):
        with ShardWriter(tmp_path / name, kind="product") as writer:
            writer.write("a", Product("a", photos=[photo("white", (100, 100))], core_boxes=[box]))
    words = [str(tmp_path / "new"), "--sheet", str(tmp_path / "sheet.png"), "--beside", str(tmp_path / "old")]
    assert main(["inspect", *words]) == 0
    from PIL import Image

    from moon_zoo.cli.inspect_sheet import BOX, OTHER_BOX

    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = sheet.convert("RGB")
        spans = {}
        for colour in (BOX, OTHER_BOX):
            wanted = tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
            spans[colour] = [x for x in range(200) for y in range(40, 220) if pixels.getpixel((x, y)) == wanted]
    assert max(spans[BOX]) < min(spans[OTHER_BOX])


@pytest.mark.parametrize(
    ("other", "message"),
    [("fewer", "holds 1 samples"), ("others", "sample 0 is a here and b there"), ("photos", "has other photos")],
)
def test_boxes_are_not_compared_across_other_samples(tmp_path, capsys, other, message):
    sets = {"set": "ac", "fewer": "a", "others": "bc", "photos": "ac"}
    for name, keys in sets.items():
        with ShardWriter(tmp_path / name, kind="product") as writer:
            for key in keys:
                writer.write(key, Product(key, photos=[photo("green" if name == "photos" else "red")]))
    words = [str(tmp_path / "set"), "--sheet", str(tmp_path / "s.png"), "--beside", str(tmp_path / other)]
    assert main(["inspect", *words]) == 2
    assert message in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "set"), "--beside", str(tmp_path / other)]) == 2
    assert "add --sheet PNG" in capsys.readouterr().err
