"""A hub's ``index.yaml``: its checkpoints, with every file's size and sha256.

The index is written last when a checkpoint is published and read first when one is fetched; what it does not name is
never read. A name or path in it that is not plain makes its entry a fault (`moon_zoo.hub.names`), which spoils that
entry alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moon_zoo.errors import CheckpointError, did_you_mean
from moon_zoo.hub.names import CONFIG, WEIGHTS, check_file, check_name, check_path, one_line, shortened

INDEX = "index.yaml"
FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = "# The checkpoints of this hub with their files' sizes and sha256. Written by `moon-zoo publish`.\n"


@dataclass(frozen=True, slots=True)
class HubFile:
    """What a file must be.

    Args:
        bytes: Its size.
        sha256: Of its content, 64 lower-case hex digits.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class HubEntry:
    """One checkpoint of a hub.

    Args:
        name: Such as ``dual_flow/shop``.
        path: Its folder below the hub's root.
        summary: One line.
        class_path: Of the model.
        moon_zoo: The version that wrote it.
        licence: Of the weights.
        files: Path below ``path`` to what the file must be.
    """

    name: str
    path: str
    summary: str
    class_path: str
    moon_zoo: str
    licence: str
    files: dict[str, HubFile]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.bytes for file in self.files.values())

    @property
    def revision(self) -> str:
        """Twelve hex digits that change when any file does."""
        listed = {path: [file.bytes, file.sha256] for path, file in self.files.items()}
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Index:
    """What a hub holds.

    Args:
        entries: Name to checkpoint.
        faults: Name as written to what is wrong with that entry; such checkpoints cannot be fetched.
        where: Where it was read, for messages.
    """

    entries: dict[str, HubEntry] = field(default_factory=dict)
    faults: dict[str, CheckpointError] = field(default_factory=dict)
    where: str = INDEX

    def entry(self, name: str) -> HubEntry:
        """The checkpoint called ``name``.

        Raises:
            CheckpointError: There is none, or its entry is refused.
        """
        if name in self.faults:
            raise self.faults[name]
        if name not in self.entries:
            known = ", ".join(sorted(self.entries)) or "nothing"
            raise CheckpointError(
                f"the hub has no checkpoint {name!r}",
                where=self.where,
                suggestions=did_you_mean(name, self.entries),
                change=f"the name; this hub has {known}",
            )
        return self.entries[name]

    def to_yaml(self) -> str:
        """The text of ``index.yaml``, names sorted.

        Raises:
            CheckpointError: It was read with faults, which writing would silently drop.
        """
        import yaml

        return _HEADER + yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=120)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; raises as `to_yaml` does."""
        for fault in self.faults.values():
            raise fault
        checkpoints = {
            name: {
                "path": entry.path,
                "summary": entry.summary,
                "class_path": entry.class_path,
                "moon_zoo": entry.moon_zoo,
                "licence": entry.licence,
                "bytes": entry.bytes,
                "files": {
                    path: {"bytes": file.bytes, "sha256": file.sha256} for path, file in sorted(entry.files.items())
                },
            }
            for name, entry in sorted(self.entries.items())
        }
        return {"format": FORMAT, "checkpoints": checkpoints}


def parse_index(text: str, where: str) -> Index:
    """Read and check the text of an ``index.yaml``.

    Args:
        text: The text.
        where: Its path or URL, for messages.

    Raises:
        CheckpointError: It is no index, or of a newer format. Faults of single entries are kept in `Index.faults`.
    """
    document = _load(text, where)
    form = document.get("format")
    if isinstance(form, int) and form > FORMAT:
        raise CheckpointError(
            f"the hub's index is of format {form}, this version of moon-zoo reads format {FORMAT}",
            where=where,
            change="moon-zoo: pip install --upgrade moon-zoo",
        )
    checkpoints = document.get("checkpoints")
    if form != FORMAT or not isinstance(checkpoints or {}, Mapping):
        raise _no_index(f"it must hold `format: {FORMAT}` and `checkpoints:`", where)
    entries: dict[str, HubEntry] = {}
    faults: dict[str, CheckpointError] = {}
    for name, values in (checkpoints or {}).items():
        try:
            entries[name] = _entry(name, values, where)
        except CheckpointError as fault:
            faults[str(name)] = fault
    return Index(entries, faults, where)


def _load(text: str, where: str) -> Mapping[str, Any]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times quicker where PyYAML was built with libyaml
    try:
        # A few nested aliases could fill the memory, and no index of ours has any. Looking closely takes longer than
        # reading, and an alias has a star.
        if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
            raise _no_index("it holds YAML aliases", where)
        document = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise _no_index(f"it is no YAML ({one_line(str(error), 120)})", where) from None
    if not isinstance(document, Mapping):
        raise _no_index(f"it must hold `format: {FORMAT}` and `checkpoints:`", where)
    return document


def _no_index(reason: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"the hub's index cannot be read: {reason}",
        where=where,
        change="the hub's location, or its index.yaml (`moon-zoo publish` writes it)",
    )


def _entry(name: object, values: object, where: str) -> HubEntry:
    here = f"{where}, checkpoints: {shortened(name)}"
    named = check_name(str(name), where)
    if not isinstance(values, Mapping) or not isinstance(values.get("files"), Mapping):
        raise CheckpointError(f"the hub's index lists no files of {named}", where=here, change="the hub's index.yaml")
    files = {check_file(path, here): _file(path, file, here) for path, file in values["files"].items()}
    if len({path.casefold() for path in files}) != len(files):
        # On disks that do not tell them apart, one would be hashed and the other read.
        raise CheckpointError(f"two files of {named} differ in upper and lower case only", where=here)
    for needed in (CONFIG, WEIGHTS):
        if needed not in files:
            raise CheckpointError(
                f"{named} has no {needed}, so it is no checkpoint folder", where=here, change="the hub's index.yaml"
            )
    texts = {key: values.get(key, "") for key in ("summary", "class_path", "moon_zoo", "licence")}
    return HubEntry(
        name=named,
        path=check_path(values.get("path"), here),
        files=files,
        **{key: one_line(str(text if text is not None else "")) for key, text in texts.items()},
    )


def _file(path: object, values: object, where: str) -> HubFile:
    size = values.get("bytes") if isinstance(values, Mapping) else None
    digest = values.get("sha256") if isinstance(values, Mapping) else None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise CheckpointError(f"the size of {path} is {shortened(size)}, not a number of bytes", where=where)
    if not isinstance(digest, str) or _SHA256.fullmatch(digest) is None:
        raise CheckpointError(f"the sha256 of {path} is {shortened(digest)}, not 64 hex digits", where=where)
    return HubFile(size, digest)
