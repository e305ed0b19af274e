"""What `moon-zoo inspect` says of sets of impressions: rows and clicks, columns, histories, and a row in the table's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moon_zoo.cli.output import print_table
from moon_zoo.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from moon_zoo.data.impressions.columns import Columns
    from moon_zoo.data.impressions.reading import RowShards
    from moon_zoo.data.impressions.schema import Schema
    from moon_zoo.data.manifest import Manifest

VALUES_SHOWN = 3
_OWN = ("schema", "min_count", "impressions", "bayes")
"""What a manifest holds under `extra` of impressions, which is shown in places of its own."""


def describe_rows(manifest: Manifest, path: str) -> dict[str, Any]:
    """What a manifest says of its columns, as JSON values; vocabularies by their sizes, which may be millions.

    Returns:
        ``schema``; ``impressions``: the counts in the manifest with ``click_rate`` and ``cold_share``; ``vocabularies``:
        name to ``values``, ``known`` (by the set's own frequency cut) and the ``most_frequent``; ``bayes`` where known.
    """
    from moon_zoo.data.impressions.reading import schema_of
    from moon_zoo.data.impressions.vocabulary import vocabularies_from_json

    schema = schema_of(manifest, path)
    min_count = int(manifest.extra.get("min_count", 1))
    counts = dict(manifest.extra.get("impressions", {}))
    rows = max(manifest.samples, 1)
    shares = {"click_rate": counts.get("clicks", 0) / rows, "cold_share": counts.get("cold_rows", 0) / rows}
    vocabularies = {
        name: {"values": len(one), "known": one.known(min_count), "most_frequent": one.values[:VALUES_SHOWN]}
        for name, one in vocabularies_from_json(manifest.vocabularies).items()
    }
    about: dict[str, Any] = {
        "schema": schema.to_json(),
        "min_count": min_count,
        "impressions": counts | shares,
        "vocabularies": vocabularies,
        "extra": {name: value for name, value in manifest.extra.items() if name not in _OWN},
    }
    if "bayes" in manifest.extra:
        about["bayes"] = manifest.extra["bayes"]
    return about


def print_rows(about: Mapping[str, Mapping[str, Any]]) -> None:
    """Tables of rows, columns and sequences of the sets of impressions among those described."""
    sets = {name: one for name, one in about.items() if one["kind"] == "impressions"}
    if not sets:
        return
    print()
    _print_clicks(sets)
    print()
    _print_columns(sets)
    if any(one["schema"]["sequences"] for one in sets.values()):
        print()
        _print_sequences(sets)


def _print_clicks(sets: Mapping[str, Mapping[str, Any]]) -> None:
    best = any("bayes" in one for one in sets.values())
    rows = []
    for name, one in sets.items():
        counts = one["impressions"]
        row = [name, f"{one['samples']:,}", _share(counts["click_rate"])]
        row += [f"{counts.get(what, 0):,}" for what in ("users", "items")] + [_share(counts["cold_share"])]
        rows.append(row + ([f"{one.get('bayes', {}).get('auc', float('nan')):.4f}"] if best else []))
    headings = ["set", "rows", "clicked", "users", "items", "cold rows", *(["best possible AUC"] if best else [])]
    print_table("clicks", headings, rows, right=tuple(range(1, len(headings))))


def _print_columns(sets: Mapping[str, Mapping[str, Any]]) -> None:
    """One line per feature, with the share that is unknown or missing in each set."""
    first = next(iter(sets.values()))
    schema, rows = first["schema"], []
    marks = {schema["user"]: "the user", schema["item"]: "the item", schema["query"]: "the query"}
    for one in schema["categorical"]:
        vocabulary = first["vocabularies"][one["vocabulary"]]
        of = "" if one["vocabulary"] == one["name"] else f" of {one['vocabulary']}"
        unknown = [_part(sets[name], "out_of_vocabulary", one["name"]) for name in sets]
        kind = f"{vocabulary['values']:,} values{of}, {vocabulary['known']:,} known"
        rows.append([one["name"], one["role"], marks.get(one["name"], ""), kind, *unknown])
    for one in schema["numeric"]:
        kind = f"number, mean {one['mean']:.4g}, deviation {one['std']:.4g}"
        rows.append([one["name"], one["role"], "", kind, *[_part(sets[name], "nan", one["name"]) for name in sets]])
    for name, what in ((schema["label"], "the label"), (schema["time"], "the time")):
        if name is not None:
            rows.append([name, "", what, "", *("" for _ in sets)])
    rows += [
        [name, "", "truth", "known of simulated data, never shown to a model", *("" for _ in sets)]
        for name in schema["truth"]
    ]
    cut = f"known: in at least {first['min_count']} training row{'s' if first['min_count'] > 1 else ''}"
    headings = ["column", "about", "is", f"holds ({cut})", *(f"lacking: {name}" for name in sets)]
    print_table("columns", headings, rows, right=tuple(range(4, len(headings))))


def _print_sequences(sets: Mapping[str, Mapping[str, Any]]) -> None:
    rows = []
    for name, one in sets.items():
        counts = one["impressions"]
        for sequence in one["schema"]["sequences"]:
            what = sequence["name"]
            elements = counts["history_elements"].get(what, 0)
            mean = elements / max(one["samples"], 1)
            empty = counts["empty_histories"].get(what, 0) / max(one["samples"], 1)
            columns = [f"{what}.{field}" for field in sequence["fields"]]
            unknown = ", ".join(
                _share(counts["out_of_vocabulary"].get(column, 0) / max(elements, 1)) for column in columns
            )
            rows.append(
                [
                    what,
                    name,
                    ", ".join(columns),
                    f"{mean:.1f}",
                    f"{counts['longest_history'].get(what, 0):,}",
                    _share(empty),
                    unknown,
                ]
            )
    headings = ["sequence", "set", "columns", "mean length", "longest", "empty", "unknown"]
    print_table("what users did before", headings, rows, right=(3, 4, 5, 6))


def _part(one: Mapping[str, Any], what: str, column: str) -> str:
    return _share(one["impressions"].get(what, {}).get(column, 0) / max(one["samples"], 1))


def _share(value: float) -> str:
    return f"{value:.1%}"


def row_at(path: str, wanted: str) -> dict[str, Any]:
    """One row as the table had it: names for ids, lists for sequences.

    Raises:
        UsageError: ``wanted`` is no position of the set.
    """
    import numpy as np

    from moon_zoo.data.impressions.reading import RowShards

    shards = RowShards(path)
    if not wanted.lstrip("-").isdigit() or not 0 <= int(wanted) < len(shards):
        raise UsageError(
            f"there is no row {wanted} among {len(shards):,}",
            where=path,
            change=f"--sample, to a position from 0 to {len(shards) - 1}: rows of impressions have no keys",
        )
    position = int(wanted)
    shard, key = shards.locate(position)
    return {"position": position, "shard": shard, "key": key, **_decoded(shards, shards.take(np.array([position])))}


def _decoded(shards: RowShards, columns: Columns) -> dict[str, Any]:
    schema: Schema = shards.schema

    def names(column: str, ids: np.ndarray) -> list[str]:
        return shards.vocabularies[schema.vocabulary_of(column)].decode(ids)

    categorical = {one.name for one in schema.categorical}
    row: dict[str, Any] = {
        name: names(name, values)[0] if name in categorical else _number(values[0].item())
        for name, values in columns.values.items()
    }
    for sequence in schema.sequences:
        for field, column in zip(sequence.fields, sequence.columns):
            row[column] = names(column, columns.sequences[sequence.name].fields[field])
    return row


def _number(value: float) -> float | None:
    return None if value != value else value  # JSON has no NaN
