"""What products look like: every photo holds its product where the box says, and no two products look the same."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from moon_zoo.shop.catalogue import spu
from moon_zoo.shop.drawing import photos
from moon_zoo.shop.drawing.photos import photo, role
from moon_zoo.shop.drawing.sprites import SILHOUETTES, draw_sprite
from moon_zoo.shop.drawing.surfaces import pattern
from moon_zoo.shop.vocabulary import BRANDS, LEAVES, PATTERNS

PX = 96
ONE_PER_LEAF = range(len(LEAVES))


def test_every_leaf_has_a_silhouette():
    assert set(SILHOUETTES) == {leaf.name for leaf in LEAVES}


@pytest.mark.parametrize("number", ONE_PER_LEAF)
def test_boxes_are_the_bounds_of_the_drawn_mask(number: int):
    """Brute force: rows and columns where the product covers a pixel by half or more."""
    product = spu(2, number)
    for place in range(4):
        taken = photo(product, product.items[0], place, PX)
        covered = np.asarray(taken.mask) >= 128
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        expected = (columns[0] / PX, rows[0] / PX, (columns[-1] + 1) / PX, (rows[-1] + 1) / PX)
        assert taken.box == pytest.approx(expected)
        assert covered.mean() > 0.02


@pytest.mark.parametrize("place", [0, 1])
def test_pixels_change_inside_the_mask_when_the_product_is_taken_away(place: int, monkeypatch: pytest.MonkeyPatch):
    """The mask against the picture itself: the same scene, once with the product, once with an invisible one."""
    product = spu(2, 11)
    real = photos.sprite(product, product.items[0], 2 * PX)
    # Without light, noise, shadow and occluders: those depend on nothing but the dice, yet blur the edge.
    monkeypatch.setattr(photos, "shade", lambda *_: None)
    monkeypatch.setattr(photos, "_occlude", lambda *_: None)
    monkeypatch.setattr(photos, "developed", lambda canvas, *_: canvas)
    shown = photo(product, product.items[0], place, PX)
    invisible = real.copy()
    invisible.putalpha(real.getchannel("A").point(lambda level: level * 3 // 255))  # bounds stay, cover goes
    monkeypatch.setattr(photos, "sprite", lambda *_: invisible)
    empty = photo(product, product.items[0], place, PX)
    changed = np.abs(np.asarray(shown.image, int) - np.asarray(empty.image, int)).max(2) > 24
    covered = np.asarray(shown.mask) >= 128
    outside = np.asarray(shown.mask) == 0
    assert not changed[outside].any()
    assert changed[covered].mean() > 0.8


def test_the_catalogue_photo_is_centred_on_near_white_and_the_others_are_not():
    for number in ONE_PER_LEAF:
        product = spu(0, number)
        clean = photo(product, product.items[0], 0, PX)
        left, top, right, bottom = clean.box
        assert (left + right) / 2 == pytest.approx(0.5, abs=0.03)
        assert (top + bottom) / 2 == pytest.approx(0.5, abs=0.03)
        assert 0.75 < max(right - left, bottom - top) < 0.9
        corner = np.asarray(clean.image)[:4, :4]
        assert corner.min() > 225
    assert (role(0), role(1), role(9)) == ("catalogue", "user", "user")


def test_every_photo_decodes_to_the_wanted_size():
    for number in ONE_PER_LEAF:
        product = spu(1, number)
        for place in (0, 1):
            image = Image.open(BytesIO(photo(product, product.items[-1], place, 40).jpeg()))
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 40))


def test_no_two_products_of_a_leaf_look_the_same():
    """Smallest mean difference between any two catalogue sprites of a leaf, in grey levels."""
    for leaf in (0, 15, 27):
        drawn = []
        for turn in range(12):
            product = spu(0, leaf + turn * len(LEAVES))
            flat = Image.new("RGB", (64, 64), "white")
            sprite = draw_sprite(product, product.items[0], 128).resize((64, 64), Image.Resampling.BOX)
            flat.paste(sprite, mask=sprite)
            drawn.append(np.asarray(flat, float))
        gaps = [np.abs(a - b).mean() for i, a in enumerate(drawn) for b in drawn[:i]]
        assert min(gaps) > 2


def test_one_part_of_an_identity_changes_the_picture():
    """Brand, style, pattern and every shape parameter can be seen: replacing one changes pixels."""
    invisible: list[str] = []
    for number in ONE_PER_LEAF:
        product = spu(0, number)
        item = product.items[0]
        before = draw_sprite(product, item, 128).tobytes()
        other_brand = next(brand for brand in BRANDS if brand != product.brand)
        changes = [replace(product, brand=other_brand)]
        changes += [replace(product, style=style) for style in product.leaf.styles if style != product.style]
        changes += [replace(product, pattern="plain" if product.pattern != "plain" else "striped")]
        for name in product.shape:
            seen = [
                replace(product, style=style, shape={**product.shape, name: t})
                for style in product.leaf.styles
                for t in (0.0, 1.0)
            ]
            pictures = [draw_sprite(one, item, 128).tobytes() for one in seen]
            if all(a == b for a, b in zip(pictures[::2], pictures[1::2])):
                invisible.append(f"{product.leaf.name}: {name}")
        assert all(draw_sprite(changed, item, 128).tobytes() != before for changed in changes), product.leaf.name
    assert invisible == []


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "plain"])
@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_a_pattern_shows_both_colours(name: str, angle: int):
    share = (np.asarray(pattern(name, 200, 0.12, angle)) > 0).mean()
    assert 0.1 < share < 0.75


def test_stripes_have_the_period_and_direction_asked_for():
    stripes = np.asarray(pattern("striped", 200, 0.1, 0)) > 0
    assert (stripes == stripes[0]).all()
    assert (stripes[0] == (np.mod(np.arange(200), 20) < 9)).all()


def test_a_photo_does_not_depend_on_what_was_drawn_before():
    product = spu(8, 4)
    first = photo(product, product.items[0], 2, PX).jpeg()
    photos.sprite(spu(8, 5), spu(8, 5).items[0], 2 * PX)
    photo(product, product.items[0], 1, PX)
    assert photo(product, product.items[0], 2, PX).jpeg() == first
