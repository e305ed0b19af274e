"""Photo files on their way into shards: read, checked, made smaller when asked, several at a time.

Every photo is decoded once while packing (JPEGs at an eighth of their size, which costs a fraction), so that a file
cut short is found now and not in the second hour of training. Pillow releases the GIL while it decodes, resizes and
encodes: threads use all cores.
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from moon_zoo.data.machine import usable_cores
from moon_zoo.data.members import image_extension
from moon_zoo.data.wording import counted, first_few
from moon_zoo.errors import DataError, UsageError
from moon_zoo.sources.tree import FileTree, OutsideRootError

In = TypeVar("In")
Out = TypeVar("Out")

FORMATS = ("JPEG", "PNG", "WEBP")
ON_ERROR = ("raise", "skip")


@dataclass(frozen=True, slots=True)
class PhotoReader:
    """Reads photos below one root.

    Args:
        tree: Where the photos are.
        max_side: Longest side in pixels; larger photos are shrunk and encoded again as JPEG. 0 keeps files as they are.
        quality: JPEG quality of shrunk photos, 1 to 95.
        check: Whether to decode every photo once.
    """

    tree: FileTree
    max_side: int = 0
    quality: int = 90
    check: bool = True

    def __post_init__(self) -> None:
        if self.max_side < 0:
            raise UsageError(f"a photo's longest side cannot be {self.max_side} pixels", change="--max-side")
        if not 1 <= self.quality <= 95:
            raise UsageError(f"a JPEG quality of {self.quality} is not in 1 to 95", change="--quality")

    def read(self, name: str) -> bytes:
        """The photo as it goes into a shard.

        Raises:
            DataError: The file is missing, refused, no image, or cannot be decoded.
        """
        content = self.tree.read(name)
        try:
            return self.prepare(content)
        except DataError as error:
            raise DataError(
                f"cannot use the photo {name}: {error.what}",
                where=str(self.tree.root),
                change="the file, or --on-error skip, which leaves such photos out and counts them",
            ) from error

    def prepare(self, content: bytes) -> bytes:
        """Encoded bytes, wherever they were read, as they go into a shard.

        Raises:
            DataError: They are no image, or cannot be decoded.
        """
        image_extension(content)
        if not (self.check or self.max_side):
            return content
        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
                warnings.simplefilter("ignore")  # odd EXIF blocks; the pixels are what counts
                if self.max_side and max(image.size) > self.max_side:
                    return shrink(image, self.max_side, self.quality)
                if self.check:
                    image.draft(None, (max(image.width // 8, 1), max(image.height // 8, 1)))
                    image.load()
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(f"{error} ({len(content):,} bytes)") from error
        return content


def shrink(image: Image.Image, max_side: int, quality: int) -> bytes:
    """The image as a JPEG whose longest side is ``max_side`` pixels; transparency becomes white."""
    # Twice the wanted size is enough for a clean result, and lets the JPEG decoder skip most of its work.
    image.draft("RGB", (2 * max_side, 2 * max_side))
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "P", "PA"):
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    upright = upright.convert("RGB")
    upright.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def ordered_map(function: Callable[[In], Out], items: Iterable[In], workers: int | None = None) -> Iterator[Out]:
    """``map`` in threads: results in the items' order, and only a few dozen of them in memory.

    Args:
        function: Called in a thread.
        items: Consumed as results are taken.
        workers: Number of threads, the machine's cores when None; 0 works without threads.
    """
    workers = usable_cores() if workers is None else workers
    if workers == 0:
        yield from map(function, items)
        return
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="photos") as pool:
        waiting: deque[Future[Out]] = deque(pool.submit(function, item) for item in islice(remaining, 8 * workers))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def find_photos(
    tree: FileTree, wanted: Sequence[str], on_error: str, option: str = "--photo-root", where: str | None = None
) -> set[str]:
    """Those of ``wanted`` that are there.

    Raises:
        DataError: Photos are missing and ``on_error`` is ``"raise"``; or paths lead outside the root, under ``skip``
            too. All are counted, the first few are named.
    """
    found: set[str] = set()
    missing: list[str] = []
    refused: list[str] = []
    for name in dict.fromkeys(wanted):
        try:
            (found.add if tree.exists(name) else missing.append)(name)
        except OutsideRootError:
            refused.append(name)
    if refused:
        raise DataError(
            f"{counted(refused, 'photo path')} outside the photo root, which are never read: {first_few(refused)}",
            where=where,
            change=f"the paths; they are relative to {tree.root} ({option})",
        )
    if missing and on_error == "raise":
        everything = " (all of them)" if not found else f" of {len(found) + len(missing):,}"
        raise DataError(
            f"{counted(missing, 'photo')}{everything} cannot be found: {first_few(missing)}",
            where=where,
            change=f"{option} (now {tree.root}){_several(missing)}, or --on-error skip, which leaves them out and counts them",
        )
    return found


def _several(missing: Sequence[str]) -> str:
    """A hint for cells such as ``1.jpg;2.jpg``, which were read as one path each."""
    for mark in ";|,":
        if all(name.count(".") > name.count(mark) > 0 for name in missing):
            return f"; or --photo-separator '{mark}', if a cell names several photos"
    return ""


def check_on_error(on_error: str) -> str:
    """``on_error`` if it is ``raise`` or ``skip``, else `UsageError`."""
    if on_error not in ON_ERROR:
        raise UsageError(f"{on_error!r} is not a way to treat bad photos; there are: raise, skip", change="--on-error")
    return on_error
