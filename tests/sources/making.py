"""Small data sets in the layouts that sources read, made up on the spot."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

from PIL import Image

Rows = list[dict[str, str]]


def photo(colour: str = "red", side: tuple[int, int] = (24, 16), form: str = "JPEG") -> bytes:
    """An encoded photo of one colour, ``side`` being width and height."""
    buffer = io.BytesIO()
    Image.new("RGB", side, colour).save(buffer, form)
    return buffer.getvalue()


def noisy(side: int, seed: int = 0) -> bytes:
    """A JPEG that does not compress to nothing, so that cutting it short loses pixels."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60 + seed).convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def catalogue(folder: Path, count: int = 10) -> Path:
    """products.csv of ``count`` mugs with ids 000, 001, ... and photos/000.jpg, ..."""
    rows = []
    for number in range(count):
        write(folder / "photos" / f"{number:03d}.jpg", photo("red" if number % 2 else "blue"))
        rows.append(
            {"sku": f"{number:03d}", "name": f"mug {number}", "image": f"{number:03d}.jpg", "kind": "kitchen > mug"}
        )
    return write_csv(folder / "products.csv", rows)


MUGS = "item_id=sku,title=name,photo=image,category=kind"
"""Column map of `catalogue`."""

GROCERY_CLASSES = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
    "Iconic Image Path (str),Product Description Path (str)\n"
)


def grocery(folder: Path, test: bool = False) -> dict[str, bytes]:
    """Files of GroceryStoreDataset's layout with two classes: a fruit with two photos in train, a carton of milk with one.

    Written below ``folder``; also returned, path to content.
    """
    files: dict[str, bytes] = {}
    classes = GROCERY_CLASSES
    for number, (place, fine, coarse) in enumerate(
        (("Fruit/Apple/Pink-Lady", "Pink-Lady", "Apple"), ("Packages/Milk/Arla-Milk", "Arla-Milk", "Milk"))
    ):
        stem = f"iconic-images-and-descriptions/{place}/{fine}"
        classes += f"{fine},{number},{coarse},{number},/{stem}_Iconic.jpg,/{stem}_Description.txt\n"
        files[f"{stem}_Iconic.jpg"] = photo("white")
        files[f"{stem}_Description.txt"] = f"{coarse} described.\n".encode()
    facts = "Title: Pink Lady Class 1 \nCountry and volume: Italy, ca 180g \nURL: https://example.com\n"
    files["iconic-images-and-descriptions/Fruit/Apple/Pink-Lady/Pink-Lady_Information.txt"] = facts.encode()
    files["classes.csv"] = classes.encode()
    lists = {"train": ["Fruit/Apple/Pink-Lady/Pink-Lady_001", "Fruit/Apple/Pink-Lady/Pink-Lady_002"]}
    lists["val"] = ["Packages/Milk/Arla-Milk/Arla-Milk_001"]
    if test:
        lists["test"] = ["Fruit/Apple/Pink-Lady/Pink-Lady_001"]
    for split, stems in lists.items():
        labels = [0 if "Fruit" in stem else 1 for stem in stems]
        files[f"{split}.txt"] = "".join(
            f"{split}/{stem}.jpg, {label}, {label}\n" for stem, label in zip(stems, labels)
        ).encode()
        files |= {f"{split}/{stem}.jpg": photo("green", (20, 30)) for stem in stems}
    for name, content in files.items():
        write(folder / name, content)
    return files


def movielens(folder: Path, users: int = 4, films: int = 10) -> dict[str, bytes]:
    """Files of MovieLens with posters: every user rates ``films`` films, one a second; film 3 has no poster.

    User ``u`` rates film ``f`` at second ``f`` (the films' order is theirs) with ``(u + f) % 5 + 1`` stars. Written below
    ``folder``; also returned, path to content.
    """
    genres = ("genre_unknown", "Comedy", "Drama", "Western")
    items = f"movie_id,title,{','.join(genres)},year,overview,original_language,runtime\n"
    for film in range(1, films + 1):
        flags = ["0", "1" if film % 2 else "0", "1", "1" if film == 4 else "0"]
        gaps = ("", "", "", "") if film == 2 else ("1994.0", f"About {film}.", "en", "90.0")
        items += ",".join([str(film), f'"Film, {film} (1994)"', *flags, *gaps]) + "\n"
    people = "user_id,age,gender,occupation\n" + "".join(
        f"{user},{17 + user * 10},F,writer\n" for user in range(1, users + 1)
    )
    ratings = "user_id,movie_id,rating,timestamp\n" + "".join(
        f"{user},{film},{(user + film) % 5 + 1},{film}\n"
        for user in range(1, users + 1)
        for film in range(1, films + 1)
    )
    files = {"items.csv": items.encode(), "users.csv": people.encode(), "ratings.csv": ratings.encode()}
    files |= {f"posters/{film}.jpg": photo("red", (20, 30)) for film in range(1, films + 1) if film != 3}
    for name, content in files.items():
        write(folder / name, content)
    return files
