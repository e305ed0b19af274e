"""The axes of scaling studies and their default sizes: strings and numbers alone, which the command line's help shows."""

from __future__ import annotations

AXES: dict[str, str] = {
    "samples": "training samples of the towers",
    "negatives": "negatives per photo of the towers",
    "history": "longest history of the click model",
    "rows": "training rows of the click model",
}
"""Axis to what stands under it in a plot."""

DEFAULT_SIZES: dict[str, tuple[int, ...]] = {
    "samples": (1600, 3200, 6400, 12800, 25600),
    "negatives": (7, 15, 31, 63, 127),
    "history": (1, 3, 10, 30, 100),
    "rows": (12_500, 25_000, 50_000, 100_000, 200_000),
}
"""Axis to the sizes of a study on the built-in shop."""
