"""Your own catalogue in ten lines: from a table and photos to search.

Run it as a script (`python examples/your_own_catalogue.py`, about 15 seconds) or cell by cell in an editor that knows
`# %%`. The same without Python is five commands: see "From a table to a search page" in the project's README.
"""

# %% A table and photos, as a shop has them. Put your own here: a CSV with at least item_id, title and photo.
import tempfile
from pathlib import Path

from _a_small_shop import write_table

folder = Path(tempfile.mkdtemp(prefix="your_own_catalogue_"))
table = write_table(folder)
print(f"{sum(1 for _ in table.open()) - 1} products in {table}")
print(*table.read_text("utf-8").splitlines()[:3], sep="\n")

# %%
import logging

import lightning as L

from moon_zoo import DualFlow, ShardDataModule, write_splits
from moon_zoo.search.catalogue import Catalogue
from moon_zoo.search.embedding import embed
from moon_zoo.sources.table import TableSource

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)

# %% The ten lines. Training starts from the zoo's checkpoint, so that an epoch on a small catalogue is enough.
source = TableSource(table, photo_root=folder / "photos", photo_separator=";", attributes="colour,pattern")
write_splits(folder / "shards", source.read(), source="my shop", licence="mine")
splits = {split: str(folder / "shards" / split) for split in ("train", "val", "test")}
data = ShardDataModule(**splits, batch_size=32, num_workers=0)
model = DualFlow.from_pretrained("dual_flow/shop")
trainer = L.Trainer(max_epochs=1, accelerator="cpu", **QUIET)
trainer.fit(model, data)
model.save_pretrained(folder / "checkpoint")
embed(model, list(splits.values()), folder / "embeddings", source=str(folder / "checkpoint"))
catalogue = Catalogue.open(folder / "embeddings")

# %% By photo: a customer's photo of something on sale. The product itself should be near the top.
photo = sorted((folder / "photos").glob("*_1.jpg"))[0]
print(f"\nproducts like the photo {photo.name}")
for result in catalogue.search(photo=photo, k=5):
    print(f"{result.rank:3}  {result.score:5.2f}  {result.item_id:10}  {result.title}")

# %% By words, within one part of the catalogue.
category = catalogue.search(photo=photo, k=1)[0].category.partition("/")[0]
print(f"\nproducts for 'red', within {category}")
for result in catalogue.search(text="red", k=5, category=category):
    print(f"{result.rank:3}  {result.score:5.2f}  {result.item_id:10}  {result.title}")

# %% The same search as a page with photos: moon-zoo search FOLDER/embeddings --photo FILE --html found.html
print(f"\nall of it is in {folder}")
