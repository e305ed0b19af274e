"""Size, channels and orientation of a JPEG from its marker segments (ITU-T T.81, annex B), without opening an image
object.

Pillow's `Image.open` costs a tenth of the decoding of a 350-px photo; this costs a hundredth.
"""

from __future__ import annotations

from typing import NamedTuple

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
# Start of frame: every 0xC0..0xCF but the tables DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ORIENTATION_TAG = 0x0112


class JpegHeader(NamedTuple):
    """What the frame header says.

    Args:
        height: In pixels as stored.
        width: In pixels as stored.
        channels: 1 grey, 3 colour, 4 CMYK.
        orientation: EXIF orientation 1 to 8; 0 where there is none; None where the EXIF block could not be read.
    """

    height: int
    width: int
    channels: int
    orientation: int | None


def read_jpeg_header(photo: bytes) -> JpegHeader | None:
    """The header of a JPEG; None where the bytes are no JPEG or end before its frame header."""
    if photo[:2] != b"\xff\xd8":
        return None
    at = 2
    orientation: int | None = 0
    while at + 4 <= len(photo):
        if photo[at] != 0xFF:
            return None
        marker = photo[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        length = photo[at + 2] << 8 | photo[at + 3]
        if marker in _FRAMES:
            frame = photo[at + 5 : at + 10]
            if len(frame) < 5:
                return None
            return JpegHeader(frame[0] << 8 | frame[1], frame[2] << 8 | frame[3], frame[4], orientation)
        if marker == 0xE1 and photo[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(photo[at + 10 : at + 2 + length])
        at += 2 + length
    return None


def _exif_orientation(tiff: bytes) -> int | None:
    """Orientation of the first image directory (TIFF 6.0, section 2)."""
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return None

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    if directory + 2 > len(tiff):
        return None
    for entry in range(number(directory, 2)):
        start = directory + 2 + 12 * entry
        if start + 12 > len(tiff):
            return None
        if number(start, 2) == _ORIENTATION_TAG:
            value = number(start + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 0
