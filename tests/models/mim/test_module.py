"""A click model as a whole: which embeddings it takes, checkpoints that hold everything, raw rows, MAKE's two steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from moon_zoo import ZooModule
from moon_zoo.cli.main import main
from moon_zoo.data.content_table import ContentTable
from moon_zoo.data.impressions.reading import RowShards
from moon_zoo.data.inputs import Draw
from moon_zoo.errors import CheckpointError, DataError, RecipeError
from moon_zoo.models.mim.module import Mim
from tests.conftest import make_impressions

SMALL: dict[str, Any] = {"embedding_dim": 4, "hidden": [8, 4], "attention_hidden": [4], "max_history": 10}


def model(rows: Path, **settings: Any) -> Mim:
    """An untrained model that knows the columns of ``rows``."""
    torch.manual_seed(0)
    module = Mim(**SMALL, **settings)
    module.inputs.fit([], RowShards(rows).manifest)
    module.build()
    return module.eval()


def batch_of(module: Mim, rows: Path) -> dict[str, Tensor]:
    shards = RowShards(rows)
    reader = module.inputs.reader(shards.schema, shards.vocabularies)
    return reader(shards.take(np.arange(len(shards)), reader.limits), Draw())


def scaled(content: Path, folder: Path, change: float = 0.0) -> Path:
    """The same vectors twice as long, or others."""
    table = ContentTable.open(content)
    ContentTable(table.item_ids, 2 * table.raw + change, source="drawn").write(folder)
    return folder / "items.parquet"


@pytest.mark.parametrize("behaviour", ["none", "din", "simtier", "sa_ta", "ciubm", "cube"])
def test_every_behaviour_layer_uses_content_exactly_where_it_says_so(
    behaviour: str, impressions_set: Path, content_file: Path
) -> None:
    module = model(impressions_set, behaviour=behaviour, embeddings=str(content_file))
    batch = batch_of(module, impressions_set)
    assert any(name.startswith("content/") for name in batch) == (behaviour not in ("none", "din"))
    assert module(batch).isfinite().all()


def test_mapped_table_gives_the_logits_of_a_held_one(impressions_set: Path, content_file: Path, tmp_path: Path) -> None:
    table = ContentTable.open(content_file)
    np.save(tmp_path / "v.npy", table.raw)
    (tmp_path / "v.ids.txt").write_text("\n".join(table.item_ids.to_pylist()), "utf-8")
    held, mapped = (
        model(impressions_set, behaviour="cube", embeddings=str(one)) for one in (content_file, tmp_path / "v.npy")
    )
    assert held.content is not None and mapped.content is None
    torch.testing.assert_close(held(batch_of(held, impressions_set)), mapped(batch_of(mapped, impressions_set)))


def test_behaviour_that_looks_at_content_is_refused_without_embeddings() -> None:
    with pytest.raises(RecipeError, match="behaviour cube looks at the content of items, but no embeddings are given"):
        Mim(behaviour="cube")


def test_embeddings_that_are_nowhere_are_named() -> None:
    with pytest.raises(CheckpointError, match="there are no embeddings 'nowhere/at_all'"):
        Mim(behaviour="cube", embeddings="nowhere/at_all")


def test_checkpoint_without_embeddings_says_how_to_make_them(impressions_set: Path, tmp_path: Path) -> None:
    saved = model(impressions_set, behaviour="din").save_pretrained(tmp_path / "din")
    with pytest.raises((CheckpointError, DataError), match="moon-zoo embed"):
        Mim(behaviour="cube", embeddings=str(saved))


def test_saved_checkpoint_needs_nothing_but_itself(impressions_set: Path, content_file: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.parquet"
    shutil.copy(content_file, own)
    module = model(impressions_set, behaviour="cube", embeddings=str(own), shuffle_embeddings=3)
    saved = module.save_pretrained(tmp_path / "saved")
    own.unlink()
    moved = saved.rename(tmp_path / "moved")
    loaded = Mim.from_pretrained(moved)
    batch = batch_of(module, impressions_set)
    assert torch.equal(loaded(batch), module(batch))
    assert loaded.fingerprint() == module.fingerprint()
    assert str(tmp_path) not in (moved / "config.yaml").read_text("utf-8")


def test_checkpoint_saved_without_its_table_wants_it_again(
    impressions_set: Path, content_file: Path, tmp_path: Path
) -> None:
    module = model(impressions_set, behaviour="cube", embeddings=str(content_file), store_embeddings=False)
    saved = module.save_pretrained(tmp_path / "saved")
    assert not (saved / "embeddings").exists()
    batch = batch_of(module, impressions_set)
    with pytest.raises(RecipeError, match="no embeddings are given"):
        Mim.from_pretrained(saved)(batch)
    assert torch.equal(Mim.from_pretrained(saved, embeddings=str(content_file))(batch), module(batch))


def test_embeddings_of_another_dimension_are_refused(impressions_set: Path, content_file: Path, tmp_path: Path) -> None:
    saved = model(impressions_set, behaviour="cube", embeddings=str(content_file)).save_pretrained(tmp_path / "saved")
    table = ContentTable.open(content_file)
    ContentTable(table.item_ids, table.raw[:, :5]).write(tmp_path / "five")
    with pytest.raises(CheckpointError, match="these embeddings have 5 dimensions, the model was trained with 8"):
        Mim.from_pretrained(saved, embeddings=str(tmp_path / "five"))


def test_other_embeddings_are_refused_unless_the_dimension_is_all_that_counts(
    impressions_set: Path, content_file: Path, tmp_path: Path
) -> None:
    saved = model(impressions_set, behaviour="cube", embeddings=str(content_file)).save_pretrained(tmp_path / "saved")
    other = str(scaled(content_file, tmp_path / "other", change=1.0))
    with pytest.raises(CheckpointError, match="not those that the model was trained with"):
        Mim.from_pretrained(saved, embeddings=other)
    Mim.from_pretrained(saved, embeddings=other, embeddings_check="dimension")


def test_grown_catalogue_of_the_same_embedding_model_is_taken(
    impressions_set: Path, content_file: Path, tmp_path: Path
) -> None:
    table = ContentTable.open(content_file)
    ContentTable(table.item_ids, table.raw, model="a" * 64).write(tmp_path / "then")
    more = pa.array([*table.item_ids.to_pylist(), "item-018"])
    ContentTable(more, np.concatenate([table.raw, table.raw[:1]]), model="a" * 64).write(tmp_path / "now")
    module = model(impressions_set, behaviour="cube", embeddings=str(tmp_path / "then"))
    saved = module.save_pretrained(tmp_path / "saved")
    Mim.from_pretrained(saved, embeddings=str(tmp_path / "now"))
    with pytest.raises(CheckpointError, match="fingerprint is"):
        Mim.from_pretrained(saved, embeddings=str(tmp_path / "now"), embeddings_check="table")


def test_second_step_of_make_holds_the_first_which_training_leaves_alone(
    impressions_set: Path, content_file: Path, tmp_path: Path
) -> None:
    first = model(impressions_set, behaviour="din", use_ids=False, embeddings=str(content_file))
    folder = first.save_pretrained(tmp_path / "first")
    second = model(impressions_set, behaviour="simtier", embeddings=str(content_file), make=str(folder))
    assert second.network is not None and second.network.make is not None and first.network is not None
    for name, value in first.network.state_dict().items():
        assert torch.equal(second.network.make.state_dict()[name], value), name
    assert not any(one.requires_grad for one in second.network.make.parameters())
    saved = second.save_pretrained(tmp_path / "second")
    shutil.rmtree(folder)
    batch = batch_of(second, impressions_set)
    assert torch.equal(Mim.from_pretrained(saved)(batch), second(batch))


def test_first_step_of_make_with_ids_is_refused(impressions_set: Path, content_file: Path, tmp_path: Path) -> None:
    folder = model(impressions_set, behaviour="cube", embeddings=str(content_file)).save_pretrained(tmp_path / "ids")
    with pytest.raises(CheckpointError, match="trained with ids"):
        Mim(**SMALL, behaviour="simtier", embeddings=str(content_file), make=str(folder))


def test_raw_rows_of_a_csv_are_predicted_from_a_checkpoint_folder_alone(
    impressions_set: Path, content_file: Path, tmp_path: Path
) -> None:
    """The rows of the set as a CSV, in another order, one of an unknown user: the set's probabilities by row."""
    module = model(impressions_set, behaviour="cube", embeddings=str(content_file))
    saved = module.save_pretrained(tmp_path / "saved")
    order = np.random.default_rng(0).permutation(61)
    table = make_impressions().take(order)
    for name in ("history.item_id", "history.category"):
        joined = ["^".join(values) for values in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(joined))
    users = table["user_id"].to_pylist()
    users[5] = "nobody"
    table = table.drop_columns(["click", "time", "user_id"]).append_column("user_id", pa.array(users))
    csv.write_csv(table, tmp_path / "rows.csv")
    words = ["--ckpt_path", str(saved), "--data.predict", str(tmp_path / "rows.csv"), "--data.num_workers", "0"]
    out = tmp_path / "out.parquet"
    assert main(["predict", *words, "--trainer.accelerator", "cpu", "--output", str(out), "--quiet"]) == 0
    found = pq.read_table(out).to_pydict()
    expected = module(batch_of(module, impressions_set)).sigmoid().detach().numpy()[order]
    known = np.arange(61) != 5
    np.testing.assert_allclose(np.array(found["probability"])[known], expected[known], atol=1e-6)
    assert found["user_id"] == users and found["item_id"] == table["item_id"].to_pylist()
    assert "label" not in found


def test_pretrained_of_any_class_gives_a_click_model(impressions_set: Path, tmp_path: Path) -> None:
    saved = model(impressions_set, behaviour="din").save_pretrained(tmp_path / "saved")
    assert isinstance(ZooModule.from_pretrained(saved), Mim)


@pytest.mark.parametrize(("name", "value"), [("max_history", 0), ("top_k", 0), ("embedding_l2", -1.0)])
def test_number_out_of_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"{name} is {value}, but must be at least"):
        Mim(behaviour="din", **{name: value})
