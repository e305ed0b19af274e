"""A tar read from front to back: its samples and where their members lie, with everything that is wrong about it."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from moon_zoo.data.decoders import refusal
from moon_zoo.data.index import IndexBuilder, ShardIndex
from moon_zoo.errors import DataError

_BLOCK = 512
# As the webdataset library groups: the key ends at the first dot of the file name, folders belong to the key.
_MEMBER = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")
_META = re.compile(r"(.*/)?__[^/]*__(/.*)?")


def scan_tar(path: Path) -> tuple[ShardIndex, list[DataError]]:
    """Index a tar.

    Args:
        path: An uncompressed tar.

    Returns:
        The index of what can be read, and the faults found: a cut file, links and other members that are no plain
        files, members of refused types, keys that come twice.
    """
    index = IndexBuilder()
    faults: list[DataError] = []
    seen: set[str] = set()
    current: str | None = None
    fields: set[str] = set()
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every member it has met
                if member.isdir() or _META.fullmatch(member.name):
                    continue
                fault = _fault_of(member)
                if fault is not None:
                    faults.append(DataError(fault, where=f"{member.name} in {path}"))
                    continue
                key, field = _MEMBER.fullmatch(member.name).groups()  # type: ignore[union-attr]  # _fault_of checked it
                if key != current:
                    if key in seen:
                        faults.append(DataError(f"the key {key} comes twice", where=f"{member.name} in {path}"))
                    seen.add(key)
                    current, fields = key, set()
                    index.begin(key)
                if field in fields:
                    faults.append(DataError(f"the member {member.name} comes twice", where=str(path)))
                    continue
                fields.add(field)
                index.add(field, member.offset_data, member.size)
            ended = _has_end_mark(path, tar.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        faults.append(_cut(path, str(error)))
    else:
        if not ended:
            faults.append(_cut(path, "it has no end mark"))
    return index.build(), faults


def _fault_of(member: tarfile.TarInfo) -> str | None:
    if not member.isreg() or member.issparse():
        return f"{member.name} is no plain file (a link, a device or the like), which is refused"
    match = _MEMBER.fullmatch(member.name)
    if match is None:
        return f"{member.name} has no key and field, as in key.field.ext"
    return refusal(match.group(2))


def _has_end_mark(path: Path, offset: int) -> bool:
    """Whether a block of zeros follows the last member; without it, the file ends between two members."""
    with path.open("rb") as file:
        # tarfile stops on the mark's first block or behind it.
        file.seek(max(offset - _BLOCK, 0))
        return bytes(_BLOCK) in (file.read(_BLOCK), file.read(_BLOCK))


def _cut(path: Path, why: str) -> DataError:
    return DataError(
        f"{path.name} cannot be read to its end ({path.stat().st_size:,} bytes): {why}",
        where=str(path),
        change="copy the file again, or write the set again",
    )
