"""What the examples start from: a table of products and a folder of photos, as a shop would export them.

The products are those of the zoo's simulated shop, so that an example needs no download and finishes in seconds. Yours
come from your own database; nothing below the call of `write_table` would change.
"""

from __future__ import annotations

import csv
from pathlib import Path

from moon_zoo.shop.catalogue import spu
from moon_zoo.shop.writing import product_sample

COLUMNS = ["item_id", "spu_id", "title", "category", "colour", "pattern", "photo"]


def write_table(folder: Path, num_products: int = 150, photo_px: int = 64, seed: int = 3) -> Path:
    """Write ``folder/products.csv`` and ``folder/photos``; several photos of a row are separated by ``;``.

    Args:
        folder: Where to.
        num_products: Products; each comes in up to three colours, a row each.
        photo_px: Side of the photos in pixels.
        seed: Which shop.

    Returns:
        The table.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number in range(num_products):
            product = spu(seed, number)
            for item in product.items:
                sample = product_sample(product, item, 2, photo_px)
                names = [f"{sample.item_id}_{place}.jpg" for place in range(len(sample.photos))]
                for name, photo in zip(names, sample.photos):
                    (folder / "photos" / name).write_bytes(photo)
                facts = sample.attributes
                path = " > ".join(sample.category)
                cells = [sample.item_id, sample.spu_id, sample.title, path, facts["colour"], facts["pattern"]]
                table.writerow([*cells, ";".join(names)])
    return folder / "products.csv"
