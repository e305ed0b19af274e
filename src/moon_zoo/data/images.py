"""Encoded photos to uint8 tensors of the size a model wants: the one place that decodes photos.

Resizing costs more than decoding, and both cost less when less is touched. So: a JPEG much larger than wanted is
decoded at 1/2, 1/4 or 1/8 (libjpeg does it in the frequency domain, Pillow's `draft`); the wanted part is cut out
before it is resized; resizing is torch's antialiased uint8 kernel on channels-last memory. Normalising is left to the
device.

Measured on one core, photos/s to 224 px, whole photo and its centre: 350 px JPEG 1,900 (Pillow alone 900), 800 px 530
(torchvision's decoder at full size 440). torchvision's decoder is deprecated from 0.29 on in favour of torchcodec; once
it is gone, Pillow takes over by itself, and this is the only file to change.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from moon_zoo.data.jpeg_header import JpegHeader, read_jpeg_header
from moon_zoo.errors import DataError

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # a torchvision without decoders
    decode_jpeg = None
# Known, see above; without this every worker process would say so once.
warnings.filterwarnings("ignore", message="The image decoding and encoding capabilities of TorchVision")

Mode = Literal["crop", "letterbox", "squash"]
Box = tuple[float, float, float, float]

_FORMATS = ("JPEG", "PNG", "WEBP")
_WHITE = 255
MAX_PIXELS = 120_000_000
"""Photos with more pixels are refused unread: a few kilobytes of PNG can stand for gigabytes."""


def decode_photo(
    photo: bytes,
    size: int | tuple[int, int] | None = None,
    *,
    mode: Mode = "crop",
    box: Box | None = None,
    flip: bool = False,
) -> Tensor:
    """Decode a photo, upright and in colour.

    Args:
        photo: JPEG, PNG or WebP.
        size: ``(height, width)`` in pixels, or one number for a square; None keeps the photo's own size.
        mode: How another shape becomes ``size``. ``crop``: the largest centred part of the wanted shape, as scaling the
            shorter side and cutting the centre would give. ``letterbox``: the whole photo, with white beside it.
            ``squash``: the whole photo, stretched.
        box: Only this part of the photo, ``(left, top, right, bottom)`` as fractions of width and height; with
            ``squash`` and a drawn box (`random_box`) this is the random resized crop of training.
        flip: Mirror left and right.

    Returns:
        uint8 ``(3, height, width)``; transparent parts are white, grey photos have three equal channels.

    Raises:
        DataError: The bytes are no photo, or end too early.
    """
    target = _pair(size)
    try:
        header = read_jpeg_header(photo)
        if header is not None and header.channels in (1, 3) and header.orientation in (0, 1):
            pixels = _decode_jpeg(photo, header, target, mode, box)
        else:
            pixels = _decode_other(photo, target, mode, box)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, Image.DecompressionBombError) as error:
        raise _undecodable(photo, error) from error
    pixels = _cut(pixels, target, mode, box)
    if target is not None:
        pixels = _resize(pixels, target, mode)
    return pixels.flip(-1) if flip else pixels


def photo_size(photo: bytes) -> tuple[int, int]:
    """Height and width in pixels as the photo is shown (after its EXIF orientation), from its header alone.

    Raises:
        DataError: The bytes are no photo.
    """
    header = read_jpeg_header(photo)
    if header is not None and header.orientation is not None:
        swapped = header.orientation >= 5
        return (header.width, header.height) if swapped else (header.height, header.width)
    try:
        with Image.open(io.BytesIO(photo), formats=_FORMATS) as image:
            width, height = image.size
            return (width, height) if _orientation(image) >= 5 else (height, width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _undecodable(photo, error) from error


def random_box(
    height: int,
    width: int,
    generator: torch.Generator | None,
    *,
    scale: Sequence[float] = (0.5, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Box:
    """The box of a random resized crop.

    Args:
        height: Of the photo, in pixels; only the shape matters.
        width: The same.
        generator: Where the draws come from (`moon_zoo.data.inputs.Draw.generator`).
        scale: Smallest and largest share of the photo's area.
        ratio: Narrowest and widest width / height, drawn uniformly in the logarithm.

    Returns:
        ``(left, top, right, bottom)`` as fractions, for `decode_photo` with ``mode="squash"``.
    """
    area, shape, across, down = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    share = scale[0] + area * (scale[1] - scale[0])
    aspect = math.exp(math.log(ratio[0]) + shape * (math.log(ratio[1]) - math.log(ratio[0])))
    # Too long for the photo: shorten to fit rather than draw again, so that every photo costs the same number of draws.
    box_width = min(math.sqrt(share * aspect * height / width), 1.0)
    box_height = min(math.sqrt(share / aspect * width / height), 1.0)
    left, top = across * (1 - box_width), down * (1 - box_height)
    return left, top, min(left + box_width, 1.0), min(top + box_height, 1.0)


def _decode_jpeg(
    photo: bytes, header: JpegHeader, target: tuple[int, int] | None, mode: Mode, box: Box | None
) -> Tensor:
    _refuse_huge(header.height, header.width)
    if decode_jpeg is None or _shrink(header.height, header.width, target, mode, box) >= 2:
        return _decode_other(photo, target, mode, box)
    try:
        return decode_jpeg(torch.frombuffer(bytearray(photo), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except RuntimeError:
        # Pillow reads some of what it refuses, and says plainly what is wrong with the rest.
        return _decode_other(photo, target, mode, box)


def _decode_other(photo: bytes, target: tuple[int, int] | None, mode: Mode, box: Box | None) -> Tensor:
    with Image.open(io.BytesIO(photo), formats=_FORMATS) as image:
        width, height = image.size
        _refuse_huge(height, width)
        orientation = _orientation(image)
        if image.format == "JPEG":
            if orientation >= 5:
                height, width = width, height
            shrink = _shrink(height, width, target, mode, box)
            if shrink >= 2:
                image.draft(None, (image.size[0] // shrink, image.size[1] // shrink))
        upright = ImageOps.exif_transpose(image) if orientation > 1 else image
        pixels = np.array(_colour(upright))  # a copy that may be written to
    return torch.from_numpy(pixels).permute(2, 0, 1)  # (3, height, width)


def _colour(image: Image.Image) -> Image.Image:
    """RGB, with white where the photo is transparent."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits of grey: `convert` would clip instead of scaling
        return Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _shrink(height: int, width: int, target: tuple[int, int] | None, mode: Mode, box: Box | None) -> int:
    """The largest of 1, 2, 4, 8 by which the photo may be decoded smaller without scaling anything up afterwards."""
    if target is None:
        return 1
    left, top, right, bottom = box or (0.0, 0.0, 1.0, 1.0)
    down, across = height * (bottom - top) / target[0], width * (right - left) / target[1]
    factor = max(down, across) if mode == "letterbox" else min(down, across)
    return 8 if factor >= 8 else 4 if factor >= 4 else 2 if factor >= 2 else 1


def _cut(pixels: Tensor, target: tuple[int, int] | None, mode: Mode, box: Box | None) -> Tensor:
    """The part of ``(3, height, width)`` that will be resized, a view."""
    height, width = pixels.shape[1:]
    top, bottom, left, right = 0, height, 0, width
    if box is not None:
        left, right = _span(box[0], box[2], width)
        top, bottom = _span(box[1], box[3], height)
    if target is not None and mode == "crop":
        part_height, part_width = bottom - top, right - left
        # The wanted shape's largest rectangle inside the part.
        scale = min(part_height / target[0], part_width / target[1])
        keep_height = min(max(round(target[0] * scale), 1), part_height)
        keep_width = min(max(round(target[1] * scale), 1), part_width)
        top += (part_height - keep_height) // 2
        left += (part_width - keep_width) // 2
        bottom, right = top + keep_height, left + keep_width
    return pixels[:, top:bottom, left:right]


def _resize(pixels: Tensor, target: tuple[int, int], mode: Mode) -> Tensor:
    height, width = pixels.shape[1:]
    if mode == "letterbox":
        scale = min(target[0] / height, target[1] / width)
        inner = min(max(round(height * scale), 1), target[0]), min(max(round(width * scale), 1), target[1])
    else:
        inner = target
    if (height, width) != inner:
        batch = pixels[None].contiguous(memory_format=torch.channels_last)  # the fast kernel's layout
        pixels = F.interpolate(batch, inner, mode="bilinear", antialias=True)[0]
    if inner == target:
        return pixels
    above, beside = (target[0] - inner[0]) // 2, (target[1] - inner[1]) // 2
    return F.pad(
        pixels, (beside, target[1] - inner[1] - beside, above, target[0] - inner[0] - above), value=float(_WHITE)
    )


def _span(start: float, stop: float, length: int) -> tuple[int, int]:
    """Pixels that a stretch given as fractions covers, at least one."""
    first = min(max(round(start * length), 0), length - 1)
    return first, min(max(round(stop * length), first + 1), length)


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None or isinstance(size, tuple):
        return size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # a broken EXIF block is no reason to refuse the pixels
        orientation = image.getexif().get(0x0112, 1)
        return orientation if orientation in range(1, 9) else 1
    return 1


def _refuse_huge(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(
            f"a photo of {width:,} x {height:,} pixels is larger than the limit of {MAX_PIXELS:,}",
            change="the photo, to a smaller one",
        )


def _undecodable(photo: bytes, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0].strip() or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # whose own text names an address in memory
        reason = "it is no image of a kind that is known"
    if not photo:
        reason = "it is empty"
    return DataError(
        f"the photo cannot be decoded ({len(photo):,} bytes): {reason}",
        change="data.init_args.on_error to skip, which counts such samples and goes on; or the photo",
    )
