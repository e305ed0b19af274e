"""Member bytes to values and back, by file extension: a closed table, and nothing in it can run code.

The `webdataset` library's own `decode()` unpickles `.pkl` and loads `.pth` by default, so a shard from a stranger could
run anything. Ours knows the extensions below and refuses every other one, those of pickled data with a word of why.
Photos stay encoded bytes here; `moon_zoo.data.images` decodes them to the size a model wants.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from moon_zoo.errors import DataError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
PICKLED_EXTENSIONS = ("pkl", "pickle", "pt", "pth", "pyd", "dill", "joblib", "cpkl", "p")


def _bytes(data: bytes) -> bytes:
    return data


def _text(data: bytes) -> str:
    return data.decode("utf-8")


def _integer(data: bytes) -> int:
    return int(data.decode("ascii"))


def _array(data: bytes) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    return array


DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(IMAGE_EXTENSIONS, _bytes),
    "json": json.loads,
    "txt": _text,
    "text": _text,
    "cls": _integer,
    "int": _integer,
    "npy": _array,
    "bin": _bytes,
}

TYPES: dict[str, str] = {
    **dict.fromkeys(IMAGE_EXTENSIONS, "image"),
    **dict.fromkeys(("txt", "text"), "text"),
    **dict.fromkeys(("cls", "int"), "integer"),
    "json": "json",
    "npy": "array",
    "bin": "bytes",
}
"""What `Manifest.fields` calls the values of an extension."""


def extension_of(field: str) -> str:
    """The part of a member's name after its last dot, in lower case: ``jpg`` of ``photo_0.jpg`` and of ``jpg``."""
    return field.rpartition(".")[2].lower()


def refusal(field: str) -> str | None:
    """Why a member of this name is never read, None where it may be."""
    extension = extension_of(field)
    if extension in PICKLED_EXTENSIONS:
        return f"{field} is pickled data, which can run any code when it is opened; it is refused and was not opened"
    if extension not in DECODERS:
        return f"{field} has the unknown extension {extension!r}; known are {', '.join(DECODERS)}"
    return None


def decode_member(field: str, data: bytes, *, shard: str, key: str) -> Any:
    """One member's value.

    Args:
        field: The member's name without the key, such as ``product.json``.
        data: Its bytes.
        shard: Name of the shard, for messages.
        key: Key of the sample, for messages.

    Raises:
        DataError: The extension is refused, or the bytes are not what it says.
    """
    decoder = DECODERS.get(field.rpartition(".")[2])
    if decoder is None:
        why = refusal(field)
        if why is not None:
            raise DataError(
                f"member {why}",
                where=f"{field} of sample {key} in {shard}",
                change="the set: write it again without such members, as .json, .txt or .npy",
            )
        decoder = DECODERS[extension_of(field)]
    try:
        return decoder(data)
    except (
        ValueError,
        EOFError,
        OSError,
        RecursionError,
    ) as error:  # UnicodeDecodeError, JSONDecodeError are ValueErrors
        raise DataError(
            f"member {field} cannot be read as {TYPES[extension_of(field)]}: {error}",
            where=f"{field} of sample {key} in {shard}",
            change="the member, by writing the set again from its source",
        ) from error


def encode_member(field: str, value: Any) -> bytes:
    """The bytes of one member, the inverse of `decode_member`; the same value always gives the same bytes.

    Raises:
        DataError: The value is of a type that the extension does not hold.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    extension = extension_of(field)
    why = refusal(field)
    if why is not None:
        raise DataError(f"cannot write a member: {why}")
    if extension == "json":
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise DataError(f"the value of {field} is not JSON: {error}") from error
    if extension in ("txt", "text") and isinstance(value, str):
        return value.encode("utf-8")
    if extension in ("cls", "int") and isinstance(value, (int, np.integer)):
        return str(int(value)).encode("ascii")
    if extension == "npy" and isinstance(value, np.ndarray) and not value.dtype.hasobject:
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=False)
        return stream.getvalue()
    raise DataError(f"a value of type {type(value).__name__} cannot be written as {field}")
