"""Photos on their way into shards."""

import io
import threading
import time

import pytest
from PIL import Image

from moon_zoo.data.wording import first_few
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.photos import PhotoReader, find_photos, ordered_map
from moon_zoo.sources.tree import OutsideRootError, open_tree
from tests.sources.making import noisy, photo, write


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "small.jpg", photo())
    write(tmp_path / "large.jpg", noisy(400))
    write(tmp_path / "cut.jpg", noisy(400)[:9000])
    write(tmp_path / "cut.png", photo("red", (90, 90), "PNG")[:-30])
    write(tmp_path / "text.jpg", "not a photo")
    write(tmp_path / "empty.jpg", b"")
    return tmp_path


def test_photos_are_kept_byte_for_byte_unless_they_are_to_be_smaller(root):
    tree = open_tree(root)
    assert PhotoReader(tree).read("large.jpg") == (root / "large.jpg").read_bytes()
    assert PhotoReader(tree, max_side=100).read("small.jpg") == (root / "small.jpg").read_bytes()


def test_shrunk_photos_keep_shape_and_orientation(root):
    sideways = Image.new("RGB", (300, 200), "red")
    sideways.paste("blue", (0, 0, 150, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter: the left (blue) half is on top
    sideways.save(root / "turned.jpg", exif=exif)
    with Image.open(io.BytesIO(PhotoReader(open_tree(root), max_side=90).read("turned.jpg"))) as image:
        assert image.size == (60, 90)
        red, _, blue = image.convert("RGB").getpixel((30, 10))
        assert blue > 200 and red < 50
        assert not image.getexif().get(0x0112)


def test_transparency_becomes_white(root):
    Image.new("RGBA", (100, 100), (255, 0, 0, 0)).save(root / "clear.png")
    with Image.open(io.BytesIO(PhotoReader(open_tree(root), max_side=50).read("clear.png"))) as image:
        assert min(image.getpixel((25, 25))) > 250


@pytest.mark.parametrize("max_side", [0, 64])
@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "text.jpg", "empty.jpg"])
def test_broken_photos_are_found_and_named(root, name, max_side):
    with pytest.raises(DataError, match=name) as caught:
        PhotoReader(open_tree(root), max_side=max_side).read(name)
    assert "--on-error skip" in caught.value.change


def test_checking_can_be_left_out(root):
    assert PhotoReader(open_tree(root), check=False).read("cut.jpg") == (root / "cut.jpg").read_bytes()
    with pytest.raises(DataError, match="no JPEG, PNG or WebP"):
        PhotoReader(open_tree(root), check=False).read("text.jpg")


def test_other_image_formats_are_refused(root):
    Image.new("RGB", (9, 9)).save(root / "x.gif")
    with pytest.raises(DataError, match="no JPEG, PNG or WebP"):
        PhotoReader(open_tree(root), max_side=4).read("x.gif")


@pytest.mark.parametrize(("options", "option"), [({"max_side": -1}, "--max-side"), ({"quality": 0}, "--quality")])
def test_impossible_settings_name_their_option(root, options, option):
    with pytest.raises(UsageError) as caught:
        PhotoReader(open_tree(root), **options)
    assert caught.value.change == option


def test_missing_photos_are_all_counted_and_the_first_named(root):
    wanted = ["small.jpg", *(f"gone-{number}.jpg" for number in range(12))]
    with pytest.raises(DataError) as caught:
        find_photos(open_tree(root), wanted, "raise")
    expected = "12 photos of 13 cannot be found: gone-0.jpg, gone-1.jpg, gone-2.jpg and 9 more"
    assert caught.value.what == expected
    assert find_photos(open_tree(root), wanted, "skip") == {"small.jpg"}


def test_paths_outside_are_refused_even_when_faults_are_skipped(root):
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=r"2 photo paths outside the photo root.*: \.\./a, /b"):
            find_photos(open_tree(root), ["small.jpg", "../a", "/b"], on_error)
    with pytest.raises(OutsideRootError):
        PhotoReader(open_tree(root)).read("../a")


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_order_and_not_all_at_once(workers):
    begun = []

    def slow(number):
        begun.append(number)
        time.sleep(0.002 if number % 3 else 0.01)
        return number * number

    results = ordered_map(slow, range(200), workers)
    assert next(results) == 0
    assert len(begun) <= 60  # nothing is read far ahead of what is written
    assert [0, *results] == [number * number for number in range(200)]


def test_an_error_in_a_thread_reaches_the_reader_and_ends_the_threads():
    def fail(number):
        if number == 5:
            raise DataError("photo five")
        return number

    with pytest.raises(DataError, match="photo five"):
        list(ordered_map(fail, range(1000), 2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")]


def test_long_lists_are_shortened():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcde")) == "a, b, c and 2 more"
