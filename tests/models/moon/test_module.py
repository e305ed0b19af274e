"""MOON as a whole: what reaches what, that micro-batches change nothing, and that checkpoints of other settings come along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from moon_zoo import IndexedShards, ZooModule
from moon_zoo.data.inputs import Draw
from moon_zoo.data.kinds import Product
from moon_zoo.errors import RecipeError
from moon_zoo.models import pretrained
from moon_zoo.models.moon.combinations import COMBINATIONS, checked_combinations, drawn_combinations
from moon_zoo.models.moon.module import Moon
from moon_zoo.nn.moe.install import moe_modules
from moon_zoo.nn.moe.losses import unstack
from moon_zoo.nn.multimodal.token_types import IMAGE
from tests.models.table import TINY_MOON

DENSE = {"guidance": "dense", "generation": None, "predict_tasks": []}
EVERYTHING = {
    "hard_negatives": 2,
    "dual_level": 0.4,
    "matryoshka": [8],
    "generation": None,
    "predict_tasks": [],
    "load_balance_weight": 0.5,
    "z_loss_weight": 0.1,
    "expert_noise": 0.5,
}


def made(shards: Path, **changes: Any) -> Moon:
    torch.manual_seed(0)
    module = Moon(**(TINY_MOON | changes))
    opened = IndexedShards(shards)
    module.inputs.fit(iter(opened), opened.manifest)
    module.build()
    return module


def batch_of(module: Moon, shards: Path, count: int = 8, training: bool = True) -> dict[str, Tensor]:
    opened = IndexedShards(shards)
    draws = [Draw(training, torch.Generator().manual_seed(row)) for row in range(count)]
    batch = module.inputs.batch([module.inputs.sample(opened[row], draw) for row, draw in enumerate(draws)])
    return batch | {"valid": torch.ones(count, dtype=torch.bool), "index": torch.arange(count)}


def gradients(module: Moon, batch: dict[str, Tensor], combination: str = "query_to_product") -> dict[str, Tensor]:
    module.zero_grad()
    figures: dict[str, Tensor] = {}
    encoded = module._encoded(batch, (combination,))
    loss, _ = module.objective(encoded, batch, combination)
    (loss + module._router_losses(encoded, figures)).backward()
    return {name: value.grad.clone() for name, value in module.network.named_parameters() if value.grad is not None}


# Training ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_give_the_gradient_of_the_whole_batch_with_hard_negatives_and_router_losses(
    search_set: Path, micro_batch_size: int
) -> None:
    module = made(search_set, **EVERYTHING)
    batch = batch_of(module, search_set)
    whole = gradients(module, batch)
    module.micro_batch_size = micro_batch_size
    split = gradients(module, batch)
    assert whole.keys() == split.keys()
    assert sum(float(value.abs().sum()) for value in whole.values()) > 0
    for name, value in whole.items():
        torch.testing.assert_close(
            split[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("combination", ["text_to_photo", "photo_to_text", "title_to_photo", "both_to_title_photo"])
def test_step_of_every_combination_reaches_all_weights(search_set: Path, combination: str) -> None:
    module = made(search_set, **EVERYTHING, combinations={combination: 1.0})
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    module._note = lambda *_: None  # type: ignore[method-assign, assignment]
    loss = module.training_step(batch_of(module, search_set), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert not [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]


def test_combinations_are_drawn_by_seed_and_step_alone_and_in_their_ratio() -> None:
    shares = checked_combinations({"photo_to_product": 12, "text_to_product": 3, "both_to_product": 2})
    drawn = [drawn_combinations(shares, 5, step)[0] for step in range(3000)]
    assert drawn == [drawn_combinations(shares, 5, step)[0] for step in range(3000)]
    assert drawn != [drawn_combinations(shares, 6, step)[0] for step in range(3000)]
    for name, share in shares.items():
        assert drawn.count(name) / 3000 == pytest.approx(share, abs=0.03)


def test_several_combinations_of_a_batch_are_different_ones_and_all_where_there_are_no_more() -> None:
    shares = checked_combinations({"photo_to_product": 12, "text_to_product": 3, "both_to_product": 2})
    for step in range(50):
        assert drawn_combinations(shares, 5, step, 2)[0] == drawn_combinations(shares, 5, step)[0]
        assert len(set(drawn_combinations(shares, 5, step, 2))) == 2
        assert set(drawn_combinations(shares, 5, step, 9)) == set(shares)
    seconds = [drawn_combinations(shares, 5, step, 2)[1] for step in range(3000)]
    # Of the second draw: text follows photo in 3 of 5, both in 3 of 15.
    assert seconds.count("text_to_product") / 3000 == pytest.approx(12 / 17 * 3 / 5 + 2 / 17 * 3 / 15, abs=0.03)


def test_several_combinations_of_a_batch_give_the_mean_of_their_gradients(search_set: Path) -> None:
    """Photos are read once for all of them, which changes no gradient; nor do micro-batches."""
    names = ("photo_to_product", "query_to_title_photo", "text_to_photo")
    module = made(search_set, **EVERYTHING | {"load_balance_weight": 0.0, "z_loss_weight": 0.0})
    batch = batch_of(module, search_set)
    apart = [gradients(module, batch, name) for name in names]
    for micro_batch_size in (None, 3):
        module.micro_batch_size = micro_batch_size
        module.zero_grad()
        encoded = module._encoded(batch, names)
        sum(module.objective(encoded, batch, name)[0] / 3 for name in names).backward()
        for name, parameter in module.network.named_parameters():
            if parameter.grad is None:
                continue
            expected = sum(one[name] for one in apart if name in one) / 3
            torch.testing.assert_close(
                parameter.grad, expected, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_photos_read_once_give_the_embeddings_of_photos_read_each_time(search_set: Path) -> None:
    module = made(search_set, max_photos=3).eval()
    batch = batch_of(module, search_set)
    batch["item_photo_mask"][2] = False  # of an item without photos nothing is shown, read or not
    for parts in (COMBINATIONS["query_to_product"][1], COMBINATIONS["text_to_photo"][1]):
        expected = module(batch, parts)["embedding"]
        for static in (False, True):
            module.network.backbone.static_shapes = static
            found = module(module.network.with_photos_read(batch, ["item"]), parts)["embedding"]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_hard_negatives_and_queue_are_counted_as_negatives(search_set: Path) -> None:
    module = made(search_set, **EVERYTHING, queue_size=16)
    batch = batch_of(module, search_set)
    for step in range(2):
        _, figures = module.objective(module.encode(batch, ("query_to_product",)), batch, "query_to_product")
        assert (figures["negatives/queue"] > 0) == (step > 0)
        module.on_train_batch_end(None, batch, step)
    assert figures["negatives/hard"] > 0 and figures["queue_staleness"] == 1


# The network -------------------------------------------------------------------------------------------------------------


def test_category_and_attribute_tokens_reach_their_experts_alone(search_set: Path) -> None:
    module = made(search_set, guidance="hard", num_experts=4)
    batch = batch_of(module, search_set)
    found = module(batch, COMBINATIONS["query_to_product"][1])
    load = sum(one.type_load.sum(0) for one in unstack(found))  # (types, experts): image, text, category, attribute
    assert (load[:2, 2:] == 0).all() and (load[:2, :2].sum(1) > 0).all()
    assert load[2].nonzero().tolist() == [[2]] and load[3].nonzero().tolist() == [[3]]
    query = module(batch, COMBINATIONS["query_to_product"][0])
    assert all((one.type_load[:, 2:] == 0).all() for one in unstack(query))


def test_pooling_of_parts_is_the_mean_of_the_photos_and_the_texts_means(search_set: Path) -> None:
    module = made(search_set, pooling="parts").eval()
    batch = batch_of(module, search_set)
    asks, answers = COMBINATIONS["query_to_product"]
    with torch.no_grad():
        found = module(batch, answers)["embedding"]
        sequence = module.network.sequence(batch, "item")
        hidden = module.network.backbone(sequence, "bidirectional")
        for row in range(len(found)):
            real, image = sequence.mask[row], sequence.token_type[row] == IMAGE
            assert (real & image).any() and (real & ~image).any()
            expected = hidden[row, real & image].mean(0) + hidden[row, real & ~image].mean(0)
            torch.testing.assert_close(found[row], expected / expected.norm(), rtol=0, atol=1e-5)
        # of what is there alone both ways are the same
        photo = module(batch, COMBINATIONS["photo_to_photo"][1])["embedding"]
        module.network.pooling = "tokens"
        torch.testing.assert_close(module(batch, COMBINATIONS["photo_to_photo"][1])["embedding"], photo)
        assert not torch.allclose(module(batch, answers)["embedding"], found, atol=1e-3)
    with pytest.raises(RecipeError, match="pooling is 'last'; known: tokens, parts"):
        made(search_set, pooling="last")
    assert asks.side == "query"


def test_padding_changes_no_embedding(search_set: Path) -> None:
    """A budget twice as long, and rows of other lengths in the batch, are nothing but pads."""
    short = made(search_set).eval()
    long = made(search_set, max_tokens=60, max_query_tokens=30, max_photos=5).eval()
    long.load_state_dict(short.state_dict())
    with torch.no_grad():
        for parts in COMBINATIONS["query_to_product"]:
            one = short(batch_of(made(search_set, max_tokens=60), search_set, training=False), parts)["embedding"]
            alone = [
                long(
                    {name: value[row : row + 1] for name, value in batch_of(long, search_set, training=False).items()},
                    parts,
                )
                for row in range(2)
            ]
            for row, found in enumerate(alone):
                torch.testing.assert_close(found["embedding"][0], one[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
def test_last_word_changes_the_first_hidden_state_only_when_bidirectional(search_set: Path, attention: str) -> None:
    module = made(search_set, attention=attention).eval()
    batch = batch_of(module, search_set, count=1, training=False)
    sequence = module.network.sequence(batch, "item")
    changed = module.network.sequence(batch | {"item_token_ids": batch["item_token_ids"].clone()}, "item")
    last = int(changed.mask[0].nonzero()[-1])
    changed.token_ids[0, last] = (changed.token_ids[0, last] + 7) % 250 + 6
    with torch.no_grad():
        first, second = (module.network.backbone(one, attention)[0, 0] for one in (sequence, changed))
    assert torch.equal(first, second) == (attention == "causal")


def test_sides_of_nothing_embed_as_zeros_and_say_so(search_set: Path) -> None:
    module = made(search_set).eval()
    empty = module.inputs.batch([module.inputs.sample(Product("nothing"), Draw())])
    with torch.no_grad():
        for vectors, there in module.embed(empty, module.modalities).values():
            assert not there.any() and (vectors == 0).all()


# Checkpoints -------------------------------------------------------------------------------------------------------------


def test_dense_checkpoint_becomes_experts_with_the_same_embeddings(search_set: Path, tmp_path: Path) -> None:
    dense = made(search_set, **DENSE).eval()
    folder = dense.save_pretrained(tmp_path / "dense")
    guided = made(search_set, **DENSE | {"guidance": "hard", "expert_noise": 0.0, "lora": {"rank": 2}}).eval()
    pretrained.load_into(guided, folder)
    assert len(moe_modules(guided)) == 2
    batch = batch_of(dense, search_set, training=False)
    with torch.no_grad():
        for parts in COMBINATIONS["query_to_product"]:
            torch.testing.assert_close(guided(batch, parts)["embedding"], dense(batch, parts)["embedding"])


def test_named_backbone_travels_in_the_checkpoint(search_set: Path, tmp_path: Path) -> None:
    from tests.test_recipes_run import save_qwen

    folder = save_qwen(tmp_path / "qwen")
    settings = {name: value for name, value in TINY_MOON.items() if name not in ("backbone_options", "vocab_size")}
    module = Moon(backbone=str(folder), **settings).eval()
    assert module.pretrained_names() == (str(folder),)
    batch = batch_of(module, search_set, training=False)
    saved = module.save_pretrained(tmp_path / "saved")
    folder.rename(tmp_path / "gone")
    again = ZooModule.from_pretrained(saved)
    assert isinstance(again, Moon)
    assert again.fingerprint() == module.fingerprint()
    with torch.no_grad():
        parts = COMBINATIONS["query_to_product"][1]
        assert torch.equal(again(batch, parts)["embedding"], module(batch, parts)["embedding"])
    product = Product("mug", title="red mug")
    assert again.generate([product], "title", max_new_tokens=4) == module.generate([product], "title", max_new_tokens=4)
    assert not [name for name in load_file(saved / "model.safetensors") if "queue" in name]


@pytest.mark.parametrize(
    ("init_args", "said"),
    [
        ({"backbone": "someone/model"}, "the backbone someone/model"),
        ({"backbone": "{checkpoint}/backbone", "backbone_pretrained": True}, "the backbone {checkpoint}/backbone"),
        ({"tokenizer": "someone/model"}, "the tokenizer someone/model"),
        ({"backbone_options": {"attn_implementation": "a/b"}}, "the attention a/b"),
        ({"backbone_options": {"trust_remote_code": True}}, "code that comes with the backbone"),
    ],
)
def test_checkpoint_that_would_read_from_elsewhere_is_refused(init_args: dict[str, Any], said: str) -> None:
    assert Moon.unsealed(init_args) == said
    assert Moon.unsealed({"backbone": None, "backbone_options": {"hidden_size": 16}}) is None
