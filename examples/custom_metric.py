"""A custom metric: how many of the first five answers are in the category of the photo that asked.

Recall asks for the very product. A shop may be content with the right shelf: that is *category precision at 5*, computed here
over the whole validation set, exactly for any number of processes, with its value by chance beside it. About 10 seconds.
"""

# %%
import logging
import tempfile
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from _a_small_shop import write_table
from moon_zoo import DualFlow, ShardDataModule, write_splits
from moon_zoo.metrics.bank import EmbeddingBank, Rows
from moon_zoo.metrics.catalogue import MetricInfo, describe, register
from moon_zoo.metrics.retrieval import top_documents
from moon_zoo.sources.table import TableSource

# %% Its meaning. With a unit and a direction, tables and reports show it like the zoo's own figures.
register(
    MetricInfo("category_precision@{k}", "fraction", "higher", "Share of the first k in the query's category.", 0, 1),
    MetricInfo("category_precision@{k}_chance", "fraction", "", "The same for answers in random order.", 0, 1),
)


# %% The figure, on plain tensors: easy to check by hand.
def category_precision(queries: Rows, items: Rows, k: int) -> tuple[float, float]:
    """Mean share of the first ``k`` items in the query's category, and what random order would give.

    The query's own item is no answer: it would always be of its own category.
    """
    _, places = top_documents(
        queries.embeddings, items.embeddings, k, query_items=queries.items, document_items=items.items
    )
    precision = (items.categories[places] == queries.categories[:, None]).double().mean()
    other = queries.items[:, None] != items.items
    same = (queries.categories[:, None] == items.categories) & other
    return float(precision), float((same.sum(1) / other.sum(1)).double().mean())


queries = Rows(torch.eye(2), torch.tensor([1, 2]), torch.tensor([1, 2]), torch.tensor([7, 8]), torch.arange(2))
items = Rows(
    torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]),
    torch.tensor([4, 5, 6]),
    torch.tensor([4, 5, 6]),
    torch.tensor([7, 8, 8]),
    torch.arange(3),
)
# Query 0 (category 7) gets items 4 and 5: one of two is right. Query 1 (category 8) gets items 6 and 5: both are.
# In random order query 0 meets 1 of 3, query 1 meets 2 of 3.
assert [round(value, 6) for value in category_precision(queries, items, 2)] == [0.75, 0.5]
print("by hand: 0.75 where the formula says", category_precision(queries, items, 2)[0])


# %% A model that reports it: collect embeddings batch by batch, compute once at the end.
class ShelfFlow(DualFlow):
    """DualFlow with category precision among its validation figures."""

    def __init__(self, *, shelf_k: int = 5, **options: object) -> None:
        super().__init__(**options)
        self.shelf_k = shelf_k
        self.asked, self.on_sale = EmbeddingBank(), EmbeddingBank()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """As the zoo's, and the photos that ask and the products that answer."""
        super().validation_step(batch, batch_idx, dataloader_idx)
        ids = (batch["item_id"], batch["spu_id"], batch["category"], batch["index"])
        photo, has_photo = self.embed(batch, ["photo"], side="query")["photo"]
        product, has_product = self.embed(batch, ["product"])["product"]
        # Padded rows, which make all batches equally long, must not count: that is what `valid` says.
        self.asked.update(photo, *ids, has_photo & batch["valid"])
        self.on_sale.update(product, *ids, has_product & batch["valid"])

    def on_validation_epoch_end(self) -> None:
        """Every process computes the same from all processes' rows."""
        super().on_validation_epoch_end()
        found = category_precision(self.asked.compute(), self.on_sale.compute(), self.shelf_k)
        for name, value in zip(("", "_chance"), found):
            self.log(f"val/category_precision@{self.shelf_k}{name}", value)
        self.asked.reset()
        self.on_sale.reset()


# %% The zoo's own checkpoint, reporting one figure more, on a shop it was not trained on.
folder = Path(tempfile.mkdtemp(prefix="custom_metric_"))
source = TableSource(write_table(folder), photo_root=folder / "photos", photo_separator=";", fractions="val=1")
write_splits(folder / "shards", source.read())
data = ShardDataModule(val=str(folder / "shards/val"), batch_size=64, num_workers=0)
model = ShelfFlow.from_pretrained("dual_flow/shop")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
trainer = L.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
figures = trainer.validate(model, data, verbose=False)[0]
for name in ("photo_to_product/recall@5", "category_precision@5"):
    value, chance = figures[f"val/{name}"], figures[f"val/{name}_chance"]
    print(f"{name:28} {value:.3f}  by chance {chance:.3f}  ({describe(f'val/{name}').direction} is better)")
