"""All pictures of a run, written into its ``report/`` folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moon_zoo.models.base import GalleryRow
from moon_zoo.reports.answers import draw_conversations
from moon_zoo.reports.calibration import draw_calibrations, save_data
from moon_zoo.reports.curves import draw_curves
from moon_zoo.reports.gallery import Shards, draw_gallery, save_rows
from moon_zoo.reports.generation import draw_generations


def write_report(
    run: Path,
    gallery: Sequence[GalleryRow],
    shards: Shards,
    data: Mapping[str, Any] | None = None,
    *,
    curves: bool = True,
) -> list[Path]:
    """Draw what there is to draw.

    Args:
        run: The run's folder.
        gallery: Retrieval results of the last evaluation; those of each split get a picture of their own.
        shards: Where the gallery's samples are.
        data: What else the model has to show, by name; see `moon_zoo.models.base.ZooModule.report_data`.
        curves: Whether the learning curves may have changed.

    Returns:
        The pictures written.
    """
    pictures = []
    log = run / "metrics.csv"
    if curves and log.is_file():
        pictures.append(draw_curves({run.name if len(run.name) > 3 else str(run): log}, run / "report" / "curves.png"))
    for split in dict.fromkeys(row.query.split for row in gallery):
        rows = [row for row in gallery if row.query.split == split]
        save_rows(rows, run / "report" / f"gallery_{split}.json")
        pictures.append(draw_gallery(rows, shards, run / "report" / f"gallery_{split}.png"))
    save_data(data or {}, run / "report")
    pictures += draw_calibrations(run / "report", names=data or {})
    pictures += draw_generations(run / "report", shards, names=data or {})
    pictures += draw_conversations(run / "report", shards, names=data or {})
    return [picture for picture in pictures if picture is not None]
