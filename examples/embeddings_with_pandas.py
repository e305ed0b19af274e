"""Embeddings with pandas: duplicates, what the vectors know of a product, and which shelves look alike. About 10 seconds.

`moon-zoo embed` writes plain Parquet: a row per product and modality, with ids, title, category and the vector. Anything that
reads Parquet can go on from there; here it is pandas and numpy, with no part of the zoo.
"""

# %% Make some: a shop in which one product is listed twice, under another title.
import csv
import tempfile
from pathlib import Path

from _a_small_shop import write_table
from moon_zoo.cli.main import main as moon_zoo

folder = Path(tempfile.mkdtemp(prefix="embeddings_with_pandas_"))
table = write_table(folder)
rows = list(csv.DictReader(table.open(encoding="utf-8")))
twin = rows[10] | {"item_id": "listed-twice", "spu_id": "listed-twice", "title": "BRAND NEW!!! best price"}
with table.open("a", newline="", encoding="utf-8") as file:
    csv.DictWriter(file, twin.keys()).writerow(twin)

# %% Two commands, here from Python: the table into shards, and the shards into embeddings by the zoo's own checkpoint.
shards, embeddings = str(folder / "shards"), str(folder / "embeddings")
words = ["table", str(table), "--photo-root", str(folder / "photos"), "--photo-separator", ";"]
assert moon_zoo(["pack", *words, "--to", shards]) == 0
assert moon_zoo(["embed", "dual_flow/shop", shards, "--to", embeddings, "--num-workers", "0"]) == 0

# %% From here on only pandas and numpy.
import numpy as np
import pandas as pd

frame = pd.concat([pd.read_parquet(path) for path in sorted(Path(embeddings).glob("part-*.parquet"))])
print(frame.groupby("modality", observed=True).size().to_string())
photos = frame[frame["modality"] == "photo"].reset_index(drop=True)
vectors = np.stack(photos["vector"].to_list()).astype(np.float32)  # (items, dim), of length 1: a product is a cosine

# %% Listed twice: photos whose cosine is 1, whatever their titles say.
cosines = vectors @ vectors.T
np.fill_diagonal(cosines, -1)
first, second = np.nonzero(np.triu(cosines > 0.9999))
twins = pd.DataFrame({"a": photos["title"].to_numpy()[first], "b": photos["title"].to_numpy()[second]})
print(f"\nlisted twice\n{twins.to_string(index=False)}")

# %% What the vectors know: how often the ten nearest photos share a product's colour, pattern or shelf. The shop's own table
# brings the facts, by item_id.
photos = photos.merge(pd.read_csv(table)[["item_id", "colour", "pattern"]], on="item_id")
photos["shelf"] = photos["category"].str.partition("/")[0]
nearest = np.argsort(-cosines, axis=1)[:, :10]
known = {}
for fact in ("colour", "pattern", "shelf"):
    values = photos[fact].to_numpy()
    shared = (values[nearest] == values[:, None]).mean()
    known[fact] = {"shared": shared, "by chance": photos[fact].value_counts(normalize=True).pow(2).sum()}
print(f"\nthe ten nearest photos\n{pd.DataFrame(known).T.round(2).to_string()}")

# %% Which parts of the shop look alike: cosines of their mean photos.
means = pd.DataFrame(vectors).groupby(photos["shelf"]).mean()
means = means.div(np.linalg.norm(means, axis=1), axis=0)
print(f"\ncosine of mean photos\n{(means @ means.T).round(2).to_string()}")
