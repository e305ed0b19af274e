"""Shards of one's own with core regions detected in their photos: a new set that names the old one as its parent.

Source of the idea: MOON, arXiv:2508.11999; boxes are found once, offline, and stored with the item, so that training pays
nothing for them. Detectors are in `moon_zoo.regions`; a detector that is a checkpoint of this zoo is loaded here, which is
the only place where a source asks for a model.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from moon_zoo.data.kinds import Box, Product, Search
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.sets import find_sets
from moon_zoo.data.wording import many
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.regions.photos import SamplePhoto, photos_of, with_boxes
from moon_zoo.regions.region import MIN_AREA, CoreRegionDetector, Region, iou, trusted
from moon_zoo.regions.truth import TruthDetector
from moon_zoo.sources.base import Packed, Source

DETECTORS = ("saliency", "grounding", "truth")
SAMPLES_AT_ONCE = 32
REMEMBERED = 200_000
"""Photos whose regions are kept: the same item comes in many searches, and a model's answer takes a second."""
REASONS_SHOWN = 3


class BoxesSource(Source):
    """Shards of your own, with core regions detected in their photos.

    Samples, keys and splits stay as they are; boxes of photos (of items, hard negatives and queries) are new. A photo keeps
    no box where nothing is found, where the box is under 5 % of the photo, or where the photo cannot be decoded; models then
    take the whole photo. Counts, and the overlap with boxes that were known, are kept in the manifest.

    Args:
        path: A set of shards (a folder, its manifest.json, a URL), or a folder of several sets.
        detector: saliency (what stands out from the photo's border; needs no weights), grounding (a multimodal language
            model that is shown photo and title; needs --model), or truth (boxes of another set, by photo; --known).
        model: Of grounding: a local folder that transformers loads, or a checkpoint of this zoo that was trained on the
            task main_subject (folder, run, .ckpt, name).
        known: Of truth: shards whose boxes are taken for the photos that both sets hold; the set itself when not given.
        keep_known: Keep boxes that are there, and look only at photos without one.
        min_area: Smallest share of the photo that a box may have.
        batch_size: Photos looked at together; the detector's own when not given.
        device: Of grounding: auto (a GPU where there is one), cpu, cuda, cuda:1.
    """

    summary: ClassVar[str] = "shards of your own, with core regions detected in their photos"
    example: ClassVar[str] = "moon-zoo pack boxes shards/mine --to shards/mine_boxed"

    def __init__(
        self,
        path: str,
        *,
        detector: str = "saliency",
        model: str | None = None,
        known: str | None = None,
        keep_known: bool = False,
        min_area: float = MIN_AREA,
        batch_size: int | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__()
        _check(detector, model, known, min_area, batch_size)
        self.sets = {name: IndexedShards(place) for name, place in find_sets(path).items()}
        for shards in self.sets.values():
            if shards.kind.sample not in (Product, Search):
                raise DataError(
                    f"a set of kind {shards.kind.name} has no photos of products", where=shards.path, change="path"
                )
        first = next(iter(self.sets.values())).manifest
        self.kind, self.licence, self.description = first.kind, first.licence, first.source
        self.total = sum(len(shards) for shards in self.sets.values())
        self.detector = _detector(detector, model, known or path, device)
        if batch_size is not None:
            self.detector.batch_size = batch_size
        self.keep_known, self.min_area = keep_known, min_area
        self.beside = path
        self._remembered: OrderedDict[bytes, Region] = OrderedDict()

    def read(self) -> Iterator[Packed]:
        """Yield every sample of every set with its new boxes."""
        for split, shards in self.sets.items():
            self.parents[split] = [shards.manifest.fingerprint]
            about = {"detector": self.detector.about(), "keep_known": self.keep_known, "min_area": self.min_area}
            counts = BoxCounts()
            for start in range(0, len(shards), SAMPLES_AT_ONCE):
                positions = range(start, min(start + SAMPLES_AT_ONCE, len(shards)))
                samples = [shards[position] for position in positions]
                photos = [photos_of(sample) for sample in samples]
                regions = self._regions([photo for several in photos for photo in several])
                for position, sample, several in zip(positions, samples, photos, strict=True):
                    boxes = [self._box(photo, regions, counts) for photo in several]
                    yield split, shards.locate(position)[1], with_boxes(sample, boxes)
            self.extras[split] = {**shards.manifest.extra, "boxes": {**about, **counts.record()}}
            self.notes.append(f"{split}: {counts.sentence()}")

    def _regions(self, photos: Sequence[SamplePhoto]) -> dict[bytes, Region]:
        """Key to region of those photos that need one; only those not seen before are looked at."""
        needed = {photo.key: photo for photo in photos if not self._keeps(photo)}
        regions = {key: self._remembered[key] for key in needed if key in self._remembered}
        new = {key: photo for key, photo in needed.items() if key not in regions}
        found = self.detector.detect_all(
            [photo.photo for photo in new.values()], [photo.title for photo in new.values()]
        )
        for key, region in zip(new, found, strict=True):
            regions[key] = self._remembered[key] = region
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return regions

    def _keeps(self, photo: SamplePhoto) -> bool:
        return self.keep_known and photo.box is not None

    def _box(self, photo: SamplePhoto, regions: dict[bytes, Region], counts: BoxCounts) -> Box | None:
        if self._keeps(photo):
            counts.kept += 1
            return photo.box
        region = regions[photo.key]
        box = trusted(region, self.min_area)
        counts.add(photo.role, region, box, photo.box)
        return box


@dataclass
class BoxCounts:
    """What became of the photos of a set.

    Args:
        found: Photos with a new box.
        too_small: Photos whose box was under the smallest area.
        failed: Photos without any.
        kept: Photos whose known box was kept.
        reasons: Why there was none, to counts.
        overlaps: Role of a photo to sum and number of overlaps with known boxes.
    """

    found: int = 0
    too_small: int = 0
    failed: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    overlaps: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, role: str, region: Region, box: Box | None, known: Box | None) -> None:
        """Count a photo that was looked at; one left without a box overlaps as the whole photo, which models take then."""
        if region.box is None:
            self.failed += 1
            self.reasons[region.reason] += 1
        elif box is None:
            self.too_small += 1
        else:
            self.found += 1
        if known is not None:
            total, number = self.overlaps.get(role, (0.0, 0))
            self.overlaps[role] = total + iou(box or (0.0, 0.0, 1.0, 1.0), known), number + 1

    def record(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        overlaps = {
            role: {"mean_iou": round(total / number, 4), "photos": number}
            for role, (total, number) in sorted(self.overlaps.items())
        }
        counts = {"found": self.found, "too_small": self.too_small, "failed": self.failed, "kept": self.kept}
        reasons = dict(self.reasons.most_common(10))
        return {**counts, **({"failures": reasons} if reasons else {}), **({"overlap": overlaps} if overlaps else {})}

    def sentence(self) -> str:
        """The same for people."""
        parts = [f"{self.found:,} {'box' if self.found == 1 else 'boxes'} found"]
        parts += [f"{self.kept:,} kept"] if self.kept else []
        parts += [f"{self.too_small:,} too small"] if self.too_small else []
        if self.failed:
            reasons = "; ".join(f"{reason} ({count:,})" for reason, count in self.reasons.most_common(REASONS_SHOWN))
            parts.append(f"{many(self.failed, 'photo')} without one: {reasons}")
        text = ", ".join(parts)
        overlaps = [f"{role} {total / number:.3f}" for role, (total, number) in sorted(self.overlaps.items())]
        return text + (f"; mean IoU with known boxes: {', '.join(overlaps)}" if overlaps else "")


def _check(detector: str, model: str | None, known: str | None, min_area: float, batch_size: int | None) -> None:
    if detector not in DETECTORS:
        raise UsageError(
            f"unknown detector {detector!r}; there are {', '.join(DETECTORS)}",
            suggestions=did_you_mean(detector, DETECTORS),
            change="--detector",
        )
    if detector == "grounding" and model is None:
        raise UsageError("the detector grounding asks a model, and none is named", change="add --model FOLDER")
    for option, value, owner in (("--model", model, "grounding"), ("--known", known, "truth")):
        if value is not None and detector != owner:
            raise UsageError(
                f"{option} is for the detector {owner}, not for {detector}", change=f"--detector, or drop {option}"
            )
    if not 0 <= min_area < 1:
        raise UsageError(f"a smallest area of {min_area} is no share of a photo, 0 to 1", change="--min-area")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"{batch_size} photos cannot be looked at together", change="--batch-size")


def _detector(name: str, model: str | None, known: str, device: str) -> CoreRegionDetector:
    if name == "truth":
        return TruthDetector(sample for place in find_sets(known).values() for sample in IndexedShards(place))
    if name == "grounding":
        assert model is not None  # checked before
        return _grounding(model, device)
    from moon_zoo.regions.saliency import SaliencyDetector

    return SaliencyDetector()


def _grounding(model: str, device: str) -> CoreRegionDetector:
    """A detector that asks the model at a path or of a name."""
    from moon_zoo.models.pretrained import is_checkpoint, load
    from moon_zoo.regions.grounding import GroundingDetector, TransformersWriter, ZooWriter

    folder = Path(model)
    if (folder / "config.json").is_file() and not is_checkpoint(folder):
        return GroundingDetector(TransformersWriter(folder, device))
    import torch

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return GroundingDetector(ZooWriter(load(model).to(chosen), model))
