"""The saliency detector: parts against brute force, the whole on photos whose truth is known."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from moon_zoo.errors import DataError
from moon_zoo.regions.largest_box import grown, largest_box
from moon_zoo.regions.region import iou
from moon_zoo.regions.saliency import SaliencyDetector
from moon_zoo.regions.superpixels import cielab, superpixels
from moon_zoo.shop.catalogue import spu
from moon_zoo.shop.drawing.photos import photo as take
from tests.sources.making import photo


def scene(
    *things: tuple[str, tuple[int, int, int, int]], size: tuple[int, int] = (100, 80), ground: str = "#8a8f7a"
) -> torch.Tensor:
    """Rectangles ``(colour, corners in pixels)`` on a plain ground, uint8 ``(3, height, width)``."""
    image = Image.new("RGB", size, ground)
    for colour, corners in things:
        ImageDraw.Draw(image).rectangle(corners, fill=colour)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def fractions(
    corners: tuple[int, int, int, int], size: tuple[int, int] = (100, 80)
) -> tuple[float, float, float, float]:
    left, top, right, bottom = corners
    return left / size[0], top / size[1], (right + 1) / size[0], (bottom + 1) / size[1]


def test_the_largest_box_is_that_of_a_search_through_all():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 7, 9, generator=generator)
    scores[5] = -1.0  # all losses: the best is one cell
    boxes, sums = largest_box(scores)
    for one, box, best in zip(scores, boxes.tolist(), sums.tolist(), strict=True):
        spans = itertools.product(itertools.combinations(range(8), 2), itertools.combinations(range(10), 2))
        brute = max(float(one[top:bottom, left:right].sum()) for (top, bottom), (left, right) in spans)
        left, top, right, bottom = box
        assert best == pytest.approx(brute, abs=1e-5)
        assert float(one[top:bottom, left:right].sum()) == pytest.approx(brute, abs=1e-5)
    assert float(sums[5]) == -1.0


def test_a_box_grows_to_the_end_of_a_handle_and_not_over_a_gap():
    solid = np.zeros((6, 8), bool)
    solid[2:4, 2:4] = True
    solid[3, 4:6] = True  # a handle to the right
    solid[0, 2] = True  # a thing above, with a gap
    assert grown((2, 2, 4, 4), solid) == (2, 2, 6, 4)
    assert grown((0, 0, 8, 6), solid) == (0, 0, 8, 6)


def test_superpixels_are_a_partition_whose_neighbours_touch():
    parts = superpixels(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), 4)
    assert parts.pixels.sum(1).tolist() == [256.0, 256.0]
    assert parts.border.sum(1).tolist() == [60.0, 60.0]
    patch = parts.patch.view(2, 16, 16)
    wanted = torch.zeros(2, 16, 16, dtype=torch.bool)
    for picture, row, column in itertools.product(range(2), range(16), range(16)):
        for down, right in ((0, 1), (1, 0)):
            if row + down < 16 and column + right < 16:
                first, second = int(patch[picture, row, column]), int(patch[picture, row + down, column + right])
                wanted[picture, first, second] = wanted[picture, second, first] = True
    assert torch.equal(parts.sharing, wanted)
    assert bool((parts.touching | ~parts.sharing).all())
    assert torch.equal(parts.draw(parts.pixels)[0, 0, 0], parts.pixels[0, patch[0, 0, 0]])


def test_cielab_of_known_colours():
    """White is (100, 0, 0), black 0, pure red (53.2, 80.1, 67.2) by the standard."""
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T.view(1, 3, 3, 1)
    lab = cielab(colours)[0, :, :, 0].T
    assert torch.allclose(lab[0], torch.tensor([100.0, 0, 0]), atol=0.1)
    assert torch.allclose(lab[1], torch.zeros(3), atol=0.1)
    assert torch.allclose(lab[2], torch.tensor([53.2, 80.1, 67.2]), atol=0.2)


def test_the_thing_is_found_and_small_things_beside_it_are_not():
    thing = (30, 20, 69, 59)
    region = SaliencyDetector().detect(
        scene(("#b03030", thing), ("#f0d040", (4, 66, 14, 76)), ("#204080", (84, 4, 94, 12)))
    )
    assert region.box is not None
    assert iou(region.box, fractions(thing)) > 0.85
    assert 0.3 < region.score <= 1


def test_a_thing_that_reaches_the_border_is_not_taken_for_background():
    thing = (0, 20, 49, 69)
    region = SaliencyDetector().detect(scene(("#b03030", thing)))
    assert region.box is not None
    assert iou(region.box, fractions(thing)) > 0.8


def test_photos_in_a_batch_get_what_they_get_alone():
    detector = SaliencyDetector()
    photos = [scene(("#b03030", (10 + 3 * shift, 20, 50 + 3 * shift, 60))) for shift in range(11)]
    together = detector.detect_all(photos, [""] * 11)
    for region, one in zip(together, photos, strict=True):
        alone = detector.detect(one)
        assert region.box == alone.box
        assert region.score == pytest.approx(alone.score, abs=1e-5)


def test_a_blank_photo_and_one_that_cannot_be_decoded_have_no_box_and_say_why():
    regions = SaliencyDetector().detect_all(
        [photo("red"), b"no photo", scene(("#b03030", (20, 20, 60, 60)))], ["", "", ""]
    )
    assert (regions[0].box, regions[0].reason) == (None, "nothing stands out from the background")
    assert regions[1].box is None
    assert "cannot be decoded" in regions[1].reason
    assert regions[2].box is not None
    assert (regions[0].score, regions[1].score) == (0.0, 0.0)


@pytest.mark.parametrize("pixels", [torch.zeros(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(8, 8)])
def test_pixels_of_another_layout_are_refused(pixels):
    with pytest.raises(DataError, match=r"uint8 \(3, height, width\)"):
        SaliencyDetector().detect(pixels)


def test_any_shape_of_photo_gives_a_box_inside_of_it():
    detector = SaliencyDetector()
    for size in ((1, 1), (3, 200), (200, 3), (64, 64)):
        region = detector.detect(
            torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        )
        if region.box is not None:
            left, top, right, bottom = region.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1


def test_mean_overlap_on_cluttered_shop_photos_is_seven_tenths():
    """96 customers' photos of a shop that no setting was chosen on; 0.74 on the val split of the default shop."""
    photos, boxes = [], []
    for number in range(48):
        product = spu(911, number)
        for which in (1, 2):
            taken = take(product, product.items[0], which, 128)
            photos.append(taken.jpeg())
            boxes.append(taken.box)
    regions = SaliencyDetector().detect_all(photos, [""] * len(photos))
    overlaps = [iou(region.box or (0.0, 0.0, 1.0, 1.0), box) for region, box in zip(regions, boxes, strict=True)]
    assert sum(overlaps) / len(overlaps) >= 0.7
