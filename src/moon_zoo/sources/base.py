"""A source turns a data set, in the layout its authors publish, into samples of the zoo's kinds.

`moon-zoo pack NAME` makes its options from the constructor's typed arguments and the `Args:` of the class docstring,
runs `Source.read` and writes what comes out as shards. A source of another package is registered under the
entry-point group ``moon_zoo.sources``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union

from moon_zoo.data.kinds import Sample
from moon_zoo.errors import DataError
from moon_zoo.sources.photos import PhotoReader, check_on_error, ordered_map

if TYPE_CHECKING:
    from moon_zoo.data.impressions.raw import RawImpressions

In = TypeVar("In")

Packed = tuple[str, str, Union[Sample, "RawImpressions"]]
"""``(split, key, sample)``: which set a sample belongs to, its key in the shards, and the sample or a block of rows."""


class Source(ABC):
    """A data set that can be packed.

    A subclass takes typed, keyword-only arguments (those without a default become positional on the command line),
    documents them, and yields samples. Splits may hold different kinds (searches in ``train``, products in
    ``items``); within one split all samples are of one kind.

    Attributes:
        summary: One line for `moon-zoo pack --help`.
        kind: Kind of the samples, or of most splits where they differ.
        example: A command line that works, without the leading ``$``.
        licence: Licence of the data, as its authors state it; ``"not stated"`` where they do not.
        description: Where the data comes from, with its citation; kept in the manifest.
        total: Number of samples (or blocks of rows) to come, None until `read` knows it.
        min_count: Of impressions: the frequency cut that models take unless they have one of their own.
        skipped: What was left out under ``on_error="skip"``: reason to count.
        notes: What is worth knowing about the data but no fault; shown after packing.
        extras: Split to free JSON for its manifest; may be filled while reading.
        beside: Sets of the same samples that it is worth looking at beside the new ones; None where there are none.
        parents: Split to fingerprints of the sets it is made from; filled before the split's first sample.
    """

    summary: ClassVar[str]
    kind: str = "product"
    example: ClassVar[str] = ""

    licence: str = "not stated"
    description: str = ""
    total: int | None = None
    min_count: int = 1
    beside: str | None = None

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []
        self.extras: dict[str, dict[str, Any]] = {}
        self.parents: dict[str, list[str]] = {}

    @abstractmethod
    def read(self) -> Iterator[Packed]:
        """Yield every sample once, in an order that depends on the arguments alone.

        Raises:
            DataError: The data is not what it claims to be.
        """

    def finish(self, folder: Path) -> None:  # noqa: B027 - most have nothing to write
        """Write what belongs beside the sets, once they are at ``folder``."""


class PhotoSource(Source):
    """A source whose samples hold photo files; those are read by several threads.

    Args:
        photos: Reads the photos.
        on_error: ``raise``, or ``skip`` to leave out samples whose photos cannot be used, and count them.
        workers: Threads that read photos; the machine's cores when None.
    """

    def __init__(self, photos: PhotoReader, *, on_error: str = "raise", workers: int | None = None) -> None:
        super().__init__()
        self.photos = photos
        self.on_error = check_on_error(on_error)
        self.workers = workers

    def packed(self, build: Callable[[In], Packed], items: Iterable[In]) -> Iterator[Packed]:
        """``build`` each item in threads, in the items' order; ``skip`` leaves out those that raise `DataError`."""

        def attempt(item: In) -> Packed | DataError:
            try:
                return build(item)
            except DataError as error:
                return error

        for result in ordered_map(attempt, items, self.workers):
            if not isinstance(result, DataError):
                yield result
            elif self.on_error == "raise":
                raise result
            else:
                self.skipped["unusable photo"] += 1
