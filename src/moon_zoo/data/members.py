"""Members of a sample as kinds read them: JSON objects and encoded photos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moon_zoo.errors import DataError

IMAGE_SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png"}


def image_extension(photo: bytes) -> str:
    """The file extension that belongs to the encoded bytes: jpg, png or webp.

    Raises:
        DataError: The bytes are none of the three.
    """
    for signature, extension in IMAGE_SIGNATURES.items():
        if photo.startswith(signature):
            return extension
    if photo[:4] == b"RIFF" and photo[8:12] == b"WEBP":
        return "webp"
    raise DataError(
        f"a photo of {len(photo)} bytes is no JPEG, PNG or WebP image",
        change="the file, or convert it first",
    )


def record_of(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object of a sample.

    Raises:
        DataError: There is none of that name.
    """
    record = members.get(name)
    if not isinstance(record, dict):
        found = ", ".join(sorted(members)) or "nothing"
        raise DataError(f"the member {name} is missing or holds no JSON object (found: {found})")
    return record


def photo_of(members: Mapping[str, Any], stem: str) -> bytes:
    """The encoded photo of a sample, whatever its format.

    Raises:
        DataError: There is none of that name.
    """
    for extension in ("jpg", "jpeg", "png", "webp"):
        photo = members.get(f"{stem}.{extension}")
        if isinstance(photo, bytes):
            return photo
    raise DataError(f"the photo {stem} is missing")
