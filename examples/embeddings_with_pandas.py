"""Embeddings with pandas: duplicates, products on the wrong shelf, and which categories look alike. About 10 seconds.

`moon-zoo embed` writes plain Parquet: a row per product and modality, with ids, title, category and the vector. Anything that
reads Parquet can go on from there; here it is pandas and numpy, with no part of the zoo.
"""

# %% Make some: a shop in which one product is listed twice and one is on the wrong shelf.
import csv
import tempfile
from pathlib import Path

from _a_small_shop import write_table
from moon_zoo.cli.main import main as moon_zoo

folder = Path(tempfile.mkdtemp(prefix="embeddings_with_pandas_"))
rows = list(csv.DictReader(write_table(folder).open(encoding="utf-8")))
shelves = [row["category"] for row in rows]
copied, strayed = rows[10], rows[20]
strayed["category"] = max(set(shelves) - {strayed["category"]}, key=shelves.count)
rows.append(copied | {"item_id": "listed-twice", "spu_id": "listed-twice", "title": "BRAND NEW!!! best price"})
with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.DictWriter(file, rows[0].keys())
    table.writeheader()
    table.writerows(rows)

# %% Two commands, here from Python: the table into shards, and the shards into embeddings by the zoo's own checkpoint.
shards, embeddings = str(folder / "shards"), str(folder / "embeddings")
words = ["table", str(folder / "products.csv"), "--photo-root", str(folder / "photos"), "--photo-separator", ";"]
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

# %% Wrong shelf: products whose ten nearest neighbours by photo are mostly of one other category.
shelf = photos["category"].str.partition("/")[0]
nearest = np.argsort(-cosines, axis=1)[:, :10]
votes = pd.DataFrame(shelf.to_numpy()[nearest]).mode(axis=1)[0]
share = (shelf.to_numpy()[nearest] == shelf.to_numpy()[:, None]).mean(1)
suspects = photos.assign(shelf=shelf, looks_like=votes, share_of_own_shelf=share)
suspects = suspects.sort_values("share_of_own_shelf")[["item_id", "title", "shelf", "looks_like", "share_of_own_shelf"]]
print(f"\non the wrong shelf, perhaps\n{suspects.head(5).to_string(index=False)}")

# %% Which parts of the shop look alike: cosines of their mean photos.
means = pd.DataFrame(vectors).groupby(shelf).mean()
means = means.div(np.linalg.norm(means, axis=1), axis=0)
print(f"\ncosine of mean photos\n{(means @ means.T).round(2).to_string()}")
