"""Photos come out upright, in colour, at the wanted size, and as Pillow alone would have made them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from moon_zoo.data.images import decode_photo, photo_size, random_box
from moon_zoo.errors import DataError


def scene(width: int, height: int) -> Image.Image:
    """A smooth picture without symmetry."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([255 * across, 255 * down, 128 + 100 * np.sin(6 * across + 3 * down)], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def encode(image: Image.Image, fmt: str = "JPEG", **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, fmt, **({"quality": 95} | more))
    return stream.getvalue()


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape and one.dtype == other.dtype == torch.uint8
    return float((one.float() - other.float()).abs().mean())


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_own_size_is_kept_without_a_size(fmt: str) -> None:
    photo = encode(scene(50, 30), fmt)
    assert difference(decode_photo(photo), tensor(Image.open(io.BytesIO(photo)))) < 0.6
    assert photo_size(photo) == (30, 50)


@pytest.mark.parametrize(("width", "height"), [(350, 280), (280, 350), (800, 640), (1700, 900), (90, 60), (64, 64)])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_crop_is_shorter_side_then_centre(width: int, height: int, fmt: str) -> None:
    """Against Pillow's own fit, at every scale that JPEGs are decoded at."""
    photo = encode(scene(width, height), fmt)
    expected = ImageOps.fit(Image.open(io.BytesIO(photo)).convert("RGB"), (64, 64), Image.Resampling.BILINEAR)
    assert difference(decode_photo(photo, 64), tensor(expected)) < 1.5


def test_size_may_be_a_rectangle() -> None:
    photo = encode(scene(300, 300))
    expected = ImageOps.fit(scene(300, 300), (80, 40), Image.Resampling.BILINEAR)
    assert difference(decode_photo(photo, (40, 80)), tensor(expected)) < 1.5


@pytest.mark.parametrize(("width", "height"), [(400, 200), (100, 300), (900, 700)])
def test_squash_shows_the_whole_photo(width: int, height: int) -> None:
    expected = scene(width, height).resize((48, 48), Image.Resampling.BILINEAR)
    assert difference(decode_photo(encode(scene(width, height)), 48, mode="squash"), tensor(expected)) < 1.5


def test_letterbox_has_white_beside_the_whole_photo() -> None:
    """By hand: 400 x 200 into 64 is 64 x 32, with 16 white rows above and below."""
    boxed = decode_photo(encode(scene(400, 200)), 64, mode="letterbox")
    assert boxed.shape == (3, 64, 64)
    assert bool((boxed[:, :16] == 255).all() and (boxed[:, 48:] == 255).all())
    expected = scene(400, 200).resize((64, 32), Image.Resampling.BILINEAR)
    assert difference(boxed[:, 16:48], tensor(expected)) < 1.5


@pytest.mark.parametrize("width", [200, 1600])
def test_box_is_cut_out_before_resizing(width: int) -> None:
    height = width * 3 // 4
    box = (0.1, 0.2, 0.6, 0.9)
    corners = (0.1 * width, 0.2 * height, 0.6 * width, 0.9 * height)
    expected = scene(width, height).resize((40, 40), Image.Resampling.BILINEAR, box=corners)
    found = decode_photo(encode(scene(width, height)), 40, mode="squash", box=box)
    assert difference(found, tensor(expected)) < 2.0
    mirrored = decode_photo(encode(scene(width, height)), 40, mode="squash", box=box, flip=True)
    assert torch.equal(mirrored, found.flip(-1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("width", [90, 600])
def test_photos_are_turned_upright(orientation: int, width: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = encode(scene(width, width // 2), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))
    assert photo_size(photo) == (upright.height, upright.width)
    assert difference(decode_photo(photo), tensor(upright)) < 0.6
    expected = upright.resize((32, 32), Image.Resampling.BILINEAR)
    assert difference(decode_photo(photo, 32, mode="squash"), tensor(expected)) < 2.0


def test_grey_and_cmyk_become_colour() -> None:
    grey = decode_photo(encode(scene(60, 40).convert("L")))
    assert grey.shape == (3, 40, 60) and torch.equal(grey[0], grey[1])
    cmyk = encode(scene(60, 40).convert("CMYK"))
    assert difference(decode_photo(cmyk), tensor(scene(60, 40))) < 6
    assert decode_photo(cmyk, 16).shape == (3, 16, 16)


@pytest.mark.parametrize(("mode", "fmt"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
def test_transparent_parts_are_white(mode: str, fmt: str) -> None:
    image = scene(40, 40).convert(mode)
    alpha = Image.new("L", (40, 40), 255)
    alpha.paste(0, (0, 0, 20, 40))
    image.putalpha(alpha)
    photo = decode_photo(encode(image, fmt, **({"lossless": True} if fmt == "WEBP" else {})))
    assert bool((photo[:, :, :20] == 255).all())
    assert difference(photo[:, :, 20:], tensor(scene(40, 40).convert(mode))[:, :, 20:]) < 1


def test_palette_with_transparency_and_sixteen_bits() -> None:
    palette = scene(40, 40).convert("P")
    photo = encode(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert decode_photo(photo)[:, 0, 0].tolist() == [255, 255, 255]
    deep = Image.fromarray(np.linspace(0, 65535, 1600).reshape(40, 40).astype(np.uint16))
    grey = decode_photo(encode(deep, "PNG"))
    assert grey[0, 0, 0] == 0 and grey[0, -1, -1] == 255 and abs(int(grey[0, 20, 0]) - 128) <= 1


def huge_png() -> bytes:
    """67 bytes that stand for ten gigabytes of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "broken",
    [
        lambda photo: b"",
        lambda photo: b"\xff\xd8\xff",
        lambda photo: b"hello, I am no photo",
        lambda photo: photo[: len(photo) // 2],
        lambda photo: photo[:200],
        lambda photo: photo[:-2],
        lambda photo: photo[:40] + bytes(60) + photo[100:],
        lambda photo: encode(scene(64, 48), "PNG")[:300],
        lambda photo: encode(scene(64, 48), "WEBP")[:100],
        lambda photo: encode(scene(64, 48), "GIF"),
    ],
)
def test_broken_photos_are_refused_in_words(broken: Callable[[bytes], bytes]) -> None:
    data = broken(encode(scene(200, 100)))
    with pytest.raises(DataError, match=rf"the photo cannot be decoded \({len(data):,} bytes\): ."):
        decode_photo(data, 32)


def test_huge_photos_are_refused_before_decoding() -> None:
    with pytest.raises(DataError, match=r"60,000 x 60,000 pixels is larger|exceeds limit"):
        decode_photo(huge_png(), 32)


def test_random_boxes_stay_inside_and_keep_their_shape() -> None:
    """500 draws on a 300 x 200 photo: area 30 to 60 %, shape between 3:4 and 4:3 unless the photo is too small for it."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        left, top, right, bottom = random_box(200, 300, generator, scale=(0.3, 0.6))
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        share, shape = (right - left) * (bottom - top), (right - left) * 300 / ((bottom - top) * 200)
        assert share <= 0.6 + 1e-9 and shape >= 0.75 - 1e-9
        if bottom - top < 1:
            assert share >= 0.3 - 1e-9 and shape <= 4 / 3 + 1e-9
    first = random_box(200, 300, torch.Generator().manual_seed(1))
    assert first == random_box(200, 300, torch.Generator().manual_seed(1))
