"""A feed to try the commands on: ``python -m acme_products.demo FOLDER [PRODUCTS]`` draws coloured things and lists them."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": "#c8282e", "green": "#3a944a", "blue": "#306ccc", "black": "#262626", "white": "#f4f2ec"}
THINGS = {"mug": "kitchen/mugs", "plate": "kitchen/plates", "lamp": "living/lamps"}


def draw(thing: str, colour: str, random_: random.Random) -> Image.Image:
    """A photo of 64 px: the thing's outline in its colour, moved and scaled a little."""
    photo = Image.new("RGB", (64, 64), random_.choice(["#e8e4d8", "#d8dfe8", "#dfe8d8"]))
    pen, size = ImageDraw.Draw(photo), random_.randint(30, 42)
    left, top = random_.randint(4, 60 - size), random_.randint(4, 60 - size)
    box = (left, top, left + size, top + size)
    if thing == "plate":
        pen.ellipse(box, fill=COLOURS[colour], outline="#555555")
    elif thing == "mug":
        pen.arc((left + size // 2, top + 6, left + size + 4, top + size - 6), 270, 90, fill="#555555", width=4)
        pen.rectangle((left, top, left + size * 2 // 3, top + size), fill=COLOURS[colour], outline="#555555")
    else:
        pen.polygon([(left + size // 2, top), box[2:], (left, top + size)], fill=COLOURS[colour], outline="#555555")
    return photo


def write_feed(folder: Path, products: int = 90) -> Path:
    """Draw two pictures of each product and list them in ``folder/feed.txt``; every thing comes in several colours."""
    folder.mkdir(parents=True, exist_ok=True)
    random_ = random.Random(0)
    lines = ["# feed 2"]
    for number in range(products):
        colour = list(COLOURS)[number % len(COLOURS)]
        thing = list(THINGS)[number // len(COLOURS) % len(THINGS)]
        sku = f"A-{number:04d}"
        pictures = [f"{sku}.jpg", f"{sku}-b.jpg"]
        for picture in pictures:
            draw(thing, colour, random_).save(folder / picture, quality=92)
        cells = {"sku": sku, "family": sku, "name": f"{thing} {number}", "path": THINGS[thing], "colour": colour}
        lines.append(
            " | ".join(f"{name}={value}" for name, value in (cells | {"pictures": ";".join(pictures)}).items())
        )
    (folder / "feed.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "feed.txt"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m acme_products.demo FOLDER [PRODUCTS]")
    print(write_feed(Path(sys.argv[1]), *map(int, sys.argv[2:])))
