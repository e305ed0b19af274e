"""Searches of one's own, cleaned: a new set with the pairs that `moon_zoo.data.cleaning` keeps.

Two passes: the first reads of every sample its two small JSON members alone and decides, the second copies what stays.
Samples are copied as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from moon_zoo.data.cleaning import Cleaning, Pair, histogram, histogram_distance
from moon_zoo.data.entities import Entities
from moon_zoo.data.kinds import BEHAVIOURS, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.sets import find_sets
from moon_zoo.data.tables.rows import Table, open_table
from moon_zoo.data.wording import counted, first_few, many
from moon_zoo.errors import DataError, UsageError, ZooError, did_you_mean
from moon_zoo.sources.base import Packed, Source

SIMILARITIES = ("similarity", "score")
"""Columns that may hold the similarity; `moon-zoo predict` writes ``score``."""

UNIFORM = "uniform"


class CleanedSource(Source):
    """Searches of your own, cleaned as MOON's last training stage wants them.

    Steps, in this order: only the behaviours named; no query in words alone that names fewer than min_entities known
    things; of each item the pair whose query is least similar to it; one pair for all variants (SKUs) of a product;
    categories as often as users see them. Samples stay as they are, with their photos and hard negatives.

    Args:
        shards: A set of searches, or a folder of sets of which one is cleaned (see split).
        split: Which set of a folder. Validation and test sets should stay as they are.
        similarity: Table (.parquet, .csv, .jsonl) with the columns key and score, as moon-zoo predict writes it for the same
            searches: their similarity to the item. Without it the step of the least similar pair is left out, and the first
            pair of a product stays.
        behaviours: Which pairs stay, separated by commas: click, cart, purchase.
        merge_skus: Whether one pair stays of all variants (equal spu_id) of a product.
        min_entities: Fewest known things that a query in words alone must name; 0 keeps all. Known are the categories and
            attribute values of the set itself.
        entities: File with more of them, one per line, such as brands and other words for colours.
        exposure: How often users see which category: a table with the columns category and exposure (a count or a share),
            or "uniform". Without it categories stay as they are.
        min_kept: Share of pairs that must stay when categories are drawn; where the exact histogram would keep fewer, rare
            categories fall short of their share.
        seed: Another seed draws other pairs.
    """

    summary: ClassVar[str] = "searches of your own, cleaned as MOON's last stage wants them"
    kind = "search"
    example: ClassVar[str] = (
        "moon-zoo pack cleaned shards/searches --to shards/cleaned --similarity predictions.parquet --exposure uniform"
    )

    def __init__(
        self,
        shards: str,
        *,
        split: str = "train",
        similarity: Path | None = None,
        behaviours: str = "purchase",
        merge_skus: bool = True,
        min_entities: int = 2,
        entities: Path | None = None,
        exposure: str | None = None,
        min_kept: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.split, self._shards = _chosen_set(shards, split)
        self._beside = [name for name in find_sets(shards) if name != self.split]
        manifest = self._shards.manifest
        if manifest.kind != Search.kind:
            raise DataError(
                f"{self._shards.path} holds {manifest.kind} samples; only pairs of a query and an item (search) can be "
                "cleaned",
                where=self._shards.path,
                change="the path, to a set of searches",
            )
        self.licence = manifest.licence
        self.description = f"{manifest.source}, cleaned" if manifest.source else "cleaned searches"
        if min_entities < 0:
            raise UsageError(f"min_entities must be 0 or more, not {min_entities}", change="--min-entities")
        if not 0 <= min_kept <= 1:
            raise UsageError(f"min_kept must be between 0 and 1, not {min_kept}", change="--min-kept")
        self._similarity = None if similarity is None else _similarities(similarity)
        self._exposure = exposure if exposure in (None, UNIFORM) else _exposure(Path(exposure))
        self._behaviours = _behaviours(behaviours)
        self._merge_skus, self._min_entities, self._min_kept, self._seed = merge_skus, min_entities, min_kept, seed
        self._entities = Entities.of(manifest.vocabularies, () if entities is None else _lines(entities))
        self.settings: dict[str, Any] = {
            "behaviours": list(self._behaviours),
            "min_entities": min_entities,
            "similarity": None if similarity is None else similarity.name,
            "merge_skus": merge_skus,
            "exposure": exposure if exposure in (None, UNIFORM) else Path(exposure).name,
            "min_kept": min_kept,
            "seed": seed,
        }

    def read(self) -> Iterator[Packed]:
        """The samples that stay, in their old order."""
        pairs = self._pairs()
        cleaning = self._cleaning(pairs)
        kept = cleaning.clean(pairs)
        self.skipped.update(kept.counts)
        self._note(pairs, kept.places, kept.counts, cleaning.exposure)
        self.parents[self.split] = [self._shards.manifest.fingerprint]
        self.total = len(kept.places)
        for place in kept.places:
            yield self.split, pairs[place].key, self._shards[place]

    def _pairs(self) -> list[Pair]:
        pairs = []
        for position in range(len(self._shards)):
            shard, key = self._shards.locate(position)
            query = self._shards.member(position, "query.json")
            item = self._shards.member(position, "item_product.json")
            try:
                pairs.append(Pair.of(key, query, item, (self._similarity or {}).get(key)))
            except (TypeError, ValueError, AttributeError, DataError) as error:
                raise DataError(f"no search: {error}", where=f"sample {key} in {shard}") from error
        if self._similarity is not None:
            self._check_similarities(pairs)
        return pairs

    def _check_similarities(self, pairs: Sequence[Pair]) -> None:
        missing = [pair.key for pair in pairs if pair.similarity is None]
        if pairs and len(missing) == len(pairs):
            raise DataError(
                f"none of the keys of {self._shards.path} is in the table of similarities ({first_few(missing)})",
                change="--similarity, to what moon-zoo predict wrote for these searches",
            )
        if missing:
            self.notes.append(f"{counted(missing, 'pair')} without a similarity: kept only where an item has no other")

    def _cleaning(self, pairs: Sequence[Pair]) -> Cleaning:
        exposure: Mapping[str, float] | None
        if self._exposure == UNIFORM:
            exposure = dict.fromkeys(histogram(pairs), 1.0)
        else:
            exposure = self._exposure if isinstance(self._exposure, dict) else None
            self._check_categories(pairs, exposure)
        return Cleaning(
            behaviours=self._behaviours,
            least_similar=self._similarity is not None,
            merge_skus=self._merge_skus,
            min_entities=self._min_entities,
            entities=self._entities,
            exposure=exposure,
            min_kept=self._min_kept,
            seed=self._seed,
        )

    def _check_categories(self, pairs: Sequence[Pair], exposure: Mapping[str, float] | None) -> None:
        if exposure is None or not pairs:
            return
        there = histogram(pairs)
        unnamed = [name or "(no category)" for name in there if name not in exposure]
        unknown = [name for name in exposure if name not in there]
        if len(unnamed) == len(there):
            raise DataError(
                f"no category of these searches ({first_few(unnamed)}) is in the table of exposures ({first_few(unknown)})",
                suggestions=did_you_mean(unnamed[0], unknown),
                change="--exposure, to a table with the names of leaf categories",
            )
        if unnamed:
            self.notes.append(f"categories without exposure are left out: {first_few(unnamed)}")
        if unknown:
            self.notes.append(f"categories of the exposure table that no search is for: {first_few(unknown)}")

    def _note(
        self,
        pairs: Sequence[Pair],
        places: Sequence[int],
        counts: Mapping[str, int],
        exposure: Mapping[str, float] | None,
    ) -> None:
        self.notes.append(f"{many(len(places), 'pair')} of {len(pairs):,} stay")
        about: dict[str, Any] = {
            "settings": self.settings,
            "pairs": len(pairs),
            "kept": len(places),
            "removed": dict(counts),
        }
        if exposure is not None:
            stay = histogram([pairs[place] for place in places])
            before, after = histogram_distance(histogram(pairs), exposure), histogram_distance(stay, exposure)
            about["distance_to_exposure"] = {"before": before, "after": after}
            self.notes.append(
                f"distance of the categories' shares to the exposure (0 equal, 1 disjoint): {before:.3f} before, "
                f"{after:.3f} after"
            )
        if self._similarity is None:
            self.notes.append("no --similarity: of several pairs of a product the first stays, not the least similar")
        if self._beside:
            self.notes.append(f"not cleaned, read them where they are: {', '.join(self._beside)}")
        self.extras[self.split] = {"cleaning": about}


def _chosen_set(shards: str, split: str) -> tuple[str, IndexedShards]:
    sets = find_sets(shards)
    if len(sets) == 1:
        ((name, path),) = sets.items()
        return (split if name == shards else name), IndexedShards(path)
    if split not in sets:
        raise UsageError(
            f"{shards} has no set {split!r}, but {', '.join(sets)}",
            suggestions=did_you_mean(split, sets),
            change="--split",
        )
    return split, IndexedShards(sets[split])


def _behaviours(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in BEHAVIOURS:
            raise UsageError(
                f"unknown behaviour {name!r}; known: {', '.join(BEHAVIOURS)}",
                suggestions=did_you_mean(name, BEHAVIOURS),
                change="--behaviours",
            )
    if not names:
        raise UsageError("no behaviour is named", change=f"--behaviours, to some of {','.join(BEHAVIOURS)}")
    return names


def _similarities(path: Path) -> dict[str, float]:
    """Key of a sample to its similarity."""
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder; similarities of queries and items are a table with the columns key and score",
            change="--similarity, to the predictions.parquet that moon-zoo predict writes for these searches",
        )
    table = _table(path, "--similarity")
    column = next((name for name in SIMILARITIES if name in table.columns), None)
    if "key" not in table.columns or column is None:
        raise DataError(
            f"{path.name} has the columns {first_few(table.columns, 8)}, but not key and score",
            where=str(path),
            change="--similarity, to the predictions.parquet that moon-zoo predict writes for these searches",
        )
    found: dict[str, float] = {}
    for number, (key, value) in table.rows(["key", column]):
        if not isinstance(key, str) or key in found:
            raise DataError(
                "a row without a key" if not isinstance(key, str) else f"the key {key} comes twice",
                where=table.where(number),
            )
        found[key] = _number(value, table, number, column)
    return found


def _exposure(path: Path) -> dict[str, float]:
    """Category to exposure."""
    if not path.suffix and not path.exists():
        raise UsageError(
            f"{path} is neither a table nor {UNIFORM!r}",
            suggestions=did_you_mean(str(path), [UNIFORM]),
            change="--exposure",
        )
    table = _table(path, "--exposure")
    missing = [name for name in ("category", "exposure") if name not in table.columns]
    if missing:
        raise DataError(
            f"{path.name} has no column {' and no column '.join(missing)}, but {first_few(table.columns, 8)}",
            where=str(path),
            suggestions=did_you_mean(missing[0], table.columns),
            change="the header of the table",
        )
    found: dict[str, float] = {}
    for number, (category, value) in table.rows(["category", "exposure"]):
        name = category if isinstance(category, str) else ""
        if name in found:
            raise DataError(f"the category {name} comes twice", where=table.where(number), change="one of the two rows")
        found[name] = _number(value, table, number, "exposure")
        if found[name] < 0:
            raise DataError(f"the exposure {value} is negative", where=table.where(number))
    return found


def _table(path: Path, option: str) -> Table:
    try:
        return open_table(path)
    except ZooError as error:
        if error.change == "path":
            error.change = option
        raise


def _number(value: Any, table: Table, number: int, column: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"the {column} {value!r} is no number", where=table.where(number), change="the cell")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", change="--entities, to a text file with a name per line"
        ) from error
