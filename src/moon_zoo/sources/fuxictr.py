"""Click tables as FuxiCTR's users keep them: train, valid and test with a configuration that says what their columns are.

Source: FuxiCTR (Zhu et al. 2021, "Open Benchmarking for Click-Through Rate Prediction", CIKM; BARS), version 2:
https://fuxictr.github.io. Two layouts: the raw tables (CSV or Parquet) with a ``dataset_config.yaml`` whose
``feature_cols`` tell name, type, source, splitter and share_embedding; and what FuxiCTR makes of them, tables of ids with
``feature_map.json`` and, where it is kept, ``feature_vocab.json``, by which ids become the values they stand for.

A sequence shares the embedding of the feature that it holds earlier values of (``share_embedding``); aligned ones become
one history. A sequence of its own, such as an item's tags, has no place in a history and is left out, with a note.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from moon_zoo.data.impressions.schema import ROLES, Role
from moon_zoo.data.tables.logs import Log, find_files, ordered, pairs
from moon_zoo.data.tables.shaping import Shaper
from moon_zoo.data.wording import first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.sources.base import Packed, Source
from moon_zoo.sources.impression_columns import HISTORY, Declared, guess
from moon_zoo.sources.impression_rows import Columns, note_shaping, read_logs

FEATURE_MAP, FEATURE_VOCAB = "feature_map.json", "feature_vocab.json"
CONFIGS = ("dataset_config.yaml", "dataset_config.yml")
PAD, UNKNOWN = "__PAD__", "__OOV__"


@dataclass(frozen=True, slots=True)
class _Column:
    """An entry of feature_cols or of the feature map."""

    name: str
    type: str
    source: str = ""
    share: str | None = None
    splitter: str = "^"


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a configuration says.

    Args:
        where: The file.
        columns: The features in use.
        labels: Columns of labels.
        group: The column that GAUC is grouped by, where it is told.
        encoded: Whether the tables hold ids.
        vocabularies: Feature to value to id, of encoded tables that have them.
    """

    where: str
    columns: tuple[_Column, ...]
    labels: tuple[str, ...]
    group: str | None
    encoded: bool
    vocabularies: dict[str, dict[str, int]]


class FuxiCTRSource(Source):
    """Click tables of FuxiCTR: train, valid and test, as CSV or Parquet, with what FuxiCTR knows of their columns.

    The folder holds the tables and a dataset_config.yaml (raw tables) or a feature_map.json (tables of ids, as FuxiCTR
    writes them; with feature_vocab.json beside it, ids become the values they stand for).

    Args:
        path: The folder.
        config: The dataset_config.yaml, where it is not in the folder.
        dataset: Name of the data set in that file, where it has several.
        user: Column of users; by default group_id, or what is called user_id, userid, user or uid.
        item: Column of items; by default what is called item_id, item, adgroup_id or the like.
        label: Column of clicks, where there are several labels.
        history: Sequences and the features that they hold earlier values of, such as item_id=click_history, where the
            configuration does not tell by share_embedding; these are used then, and no others.
        history_padding: Elements of sequences that stand for nothing; 0 in tables of ids.
        longest_history: Elements of a history at most, of which the newest are kept; 0 keeps all.
        min_count: Default frequency cut of models: values in fewer training rows count as unknown.
        licence: Licence of the data, kept in the manifest.
    """

    summary: ClassVar[str] = "click tables as FuxiCTR's users keep them"
    kind = "impressions"
    example: ClassVar[str] = "moon-zoo pack fuxictr data/TaobaoAd_x1 --item adgroup_id --to shards/taobao_ad"

    def __init__(
        self,
        path: Path,
        *,
        config: Path | None = None,
        dataset: str | None = None,
        user: str | None = None,
        item: str | None = None,
        label: str | None = None,
        history: str = "",
        history_padding: str = "",
        longest_history: int = 200,
        min_count: int = 1,
        licence: str = "not stated",
    ) -> None:
        super().__init__()
        if longest_history < 0 or min_count < 1:
            raise UsageError(
                f"a longest history of {longest_history} or a frequency cut of {min_count} is out of range",
                change="--longest-history or --min-count",
            )
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path} is no folder", change="path; it is the folder with train, valid and test")
        self.layout = layout = _read_layout(path, config, dataset)
        self.logs = {split: Log(files) for split, files in ordered(find_files(path))}
        names = next(iter(self.logs.values())).names
        told = [column.name for column in layout.columns if column.type in ("categorical", "meta")]
        group = layout.group if layout.group in told else None
        self.features = Declared(
            user=user or group or guess("user", told),
            item=item or guess("item", told),
            label=_label(layout, label),
            features=_roles(layout.columns),
            numeric=[column.name for column in layout.columns if column.type == "numeric"],
            history=self._history(history),
            shared={column.name: _root(column, layout.columns) for column in layout.columns if _is_shared(column)},
        ).resolve(names)
        for log in self.logs.values():
            log.check(dict.fromkeys(self.features.columns.values(), str(Path(layout.where).name)))
        padding = tuple(one.strip() for one in history_padding.split(",") if one.strip())
        splitters = {column.splitter for column in layout.columns if column.type == "sequence"}
        self.shaper = Shaper(
            separator=splitters.pop() if len(splitters) == 1 else None,
            padding=(*padding, *(("0",) if layout.encoded else ())),
            longest=longest_history or None,
        )
        self.min_count = min_count
        self.licence = licence
        self.description = f"{path.absolute().name}, a data set of FuxiCTR"
        self._texts = {name: _texts(vocabulary) for name, vocabulary in layout.vocabularies.items()}

    def read(self) -> Iterator[Packed]:
        """Yield the rows of each split in the tables' order."""
        yield from read_logs(self.logs, self.features, self.shaper, self._decode if self._texts else None)
        note_shaping(self, self.shaper)
        if self.layout.encoded and not self._texts:
            self.notes.append(
                f"no {FEATURE_VOCAB}: the ids in the tables stand for themselves, also in rows to predict for"
            )

    def _history(self, given: str) -> dict[str, str]:
        """Column of a sequence to the table's."""
        if given:
            return pairs(given, "--history", "item_id=click_history")
        lists: dict[str, str] = {}
        alone: list[str] = []
        for column in self.layout.columns:
            if column.type != "sequence":
                continue
            if column.share is None:
                alone.append(column.name)
                continue
            target = f"{HISTORY}.{_root(column, self.layout.columns)}"
            # A second sequence of the same feature (films that were skipped) is another one, not aligned with the first.
            lists[target if target not in lists else f"{column.name}.{_root(column, self.layout.columns)}"] = (
                column.name
            )
        if alone:
            self.notes.append(
                f"sequences left out, as they share no feature's embedding: {first_few(alone)}; --history FEATURE=COLUMN "
                "takes one as a history"
            )
        return lists

    def _decode(self, table: Columns, batch: pa.RecordBatch) -> Columns:
        """Ids to the values they stand for."""
        for name, column in table.items():
            texts = self._texts.get(self.features.columns[name])
            if texts is None or not isinstance(column, pa.Array):
                continue
            if pa.types.is_list_view(column.type):
                values = _decoded(column.values, texts, name)
                table[name] = pa.ListViewArray.from_arrays(column.offsets, column.sizes, values)
            elif not pa.types.is_floating(column.type):
                table[name] = _decoded(column, texts, name)
        return table


def _read_layout(path: Path, config: Path | None, dataset: str | None) -> _Layout:
    feature_map = path / FEATURE_MAP
    if config is None and feature_map.is_file():
        return _from_map(feature_map)
    found = config or next((path / name for name in CONFIGS if (path / name).is_file()), None)
    if found is None:
        raise DataError(
            f"neither {FEATURE_MAP} nor {CONFIGS[0]} in {path}",
            change="--config, to the dataset_config.yaml; or `moon-zoo pack impressions`, which needs none",
        )
    return _from_config(found, dataset)


def _from_map(path: Path) -> _Layout:
    content = _json(path)
    try:
        specs = [(name, spec) for entry in content["features"] for name, spec in entry.items()]
        columns = tuple(
            _Column(name, spec["type"], str(spec.get("source") or ""), spec.get("share_embedding"))
            for name, spec in specs
        )
        labels = tuple(content.get("labels") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this is no feature map: {type(error).__name__} {error}", where=str(path)) from error
    vocab = path.with_name(FEATURE_VOCAB)
    vocabularies = _json(vocab) if vocab.is_file() else {}
    return _Layout(str(path), columns, labels, None, encoded=True, vocabularies=vocabularies)


def _from_config(path: Path, dataset: str | None) -> _Layout:
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path), change="--config") from error
    sets = {name: one for name, one in content.items() if isinstance(one, dict)} if isinstance(content, dict) else {}
    if "feature_cols" in (content if isinstance(content, dict) else {}):
        sets = {"": content}
    if dataset is None and len(sets) == 1:
        dataset = next(iter(sets))
    if dataset not in sets:
        raise UsageError(
            f"{path.name} describes {first_few(list(sets), 6) or 'no data set'}, not {dataset!r}"
            if dataset is not None
            else f"{path.name} describes {len(sets)} data sets: {first_few(list(sets), 6)}",
            where=str(path),
            suggestions=did_you_mean(dataset or "", sets),
            change="--dataset NAME",
        )
    described = sets[dataset]
    try:
        columns = tuple(
            _Column(
                name,
                entry["type"],
                str(entry.get("source") or ""),
                entry.get("share_embedding"),
                entry.get("splitter", "^"),
            )
            for entry in described["feature_cols"]
            if entry.get("active", True) is not False
            for name in (entry["name"] if isinstance(entry["name"], list) else [entry["name"]])
        )
        label = described["label_col"]
        labels = tuple(one["name"] for one in (label if isinstance(label, list) else [label]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{dataset} has no feature_cols and label_col as FuxiCTR knows them: {type(error).__name__} {error}",
            where=str(path),
        ) from error
    return _Layout(str(path), columns, labels, described.get("group_id"), encoded=False, vocabularies={})


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise DataError(f"{path.name} holds no JSON object", where=str(path))
    return content


def _label(layout: _Layout, given: str | None) -> str:
    if given is None and len(layout.labels) == 1:
        return layout.labels[0]
    if given not in layout.labels:
        raise UsageError(
            f"the labels are: {', '.join(layout.labels) or 'none'}"
            + ("" if given is None else f"; none of them is {given!r}"),
            where=layout.where,
            suggestions=did_you_mean(given or "", layout.labels),
            change="--label",
        )
    return given


def _roles(columns: Sequence[_Column]) -> dict[Role, list[str]]:
    """Role to features, by their source; what has none is of the circumstances."""
    roles: dict[Role, list[str]] = {}
    for column in columns:
        if column.type in ("categorical", "numeric"):
            role: Role = next((one for one in ROLES if one == column.source), "context")
            roles.setdefault(role, []).append(column.name)
    return roles


def _is_shared(column: _Column) -> bool:
    return column.type == "categorical" and column.share is not None


def _root(column: _Column, columns: Sequence[_Column]) -> str:
    """The feature at the end of a chain of shared embeddings."""
    by_name = {one.name: one for one in columns}
    seen = {column.name}
    while column.share is not None and column.share not in seen and column.share in by_name:
        seen.add(column.share)
        column = by_name[column.share]
    return column.name if column.share is None else column.share


def _texts(vocabulary: dict[str, int]) -> pa.Array:
    """Value of each id."""
    texts = [UNKNOWN] * (max(vocabulary.values(), default=0) + 1)
    for text, number in vocabulary.items():
        if text != PAD:
            texts[number] = text
    return pa.array(texts)


def _decoded(ids: pa.Array, texts: pa.Array, name: str) -> pa.Array:
    numbers = ids.cast(pa.int64()).to_numpy(zero_copy_only=False)
    bad = (numbers < 0) | (numbers >= len(texts))
    if bad.any():
        raise DataError(
            f"{name} holds the id {numbers[np.argmax(bad)]}, but {FEATURE_VOCAB} knows {len(texts):,}",
            change="the tables; they must be made together with it",
        )
    return texts.take(pa.array(numbers))
