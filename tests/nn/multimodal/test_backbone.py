"""What the hidden states must depend on, and what they must not."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moon_zoo.nn.moe.install import install, moe_modules
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.sequence import Sequence
from tests.nn.multimodal import tiny


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_changed_last_token_changes_the_first_hidden_state_only_where_both_sides_are_seen(attention: str) -> None:
    backbone = tiny.model(attn_implementation=attention)
    given = tiny.sequence(backbone, [[True]], [7])
    other = tiny.sequence(backbone, [[True]], [7])
    other.token_ids[0, -1] = 6 + (other.token_ids[0, -1] - 5) % (tiny.VOCAB - 6)
    with torch.no_grad():
        causal = (backbone(given, "causal") - backbone(other, "causal")).abs().amax(-1)[0]
        both = (backbone(given, "bidirectional") - backbone(other, "bidirectional")).abs().amax(-1)[0]
    assert causal[:-1].max() == 0 and causal[-1] > 0.1
    assert both[0] > 1e-3


def test_attention_is_one_of_two() -> None:
    backbone = tiny.model()
    wrong: Any = "both"
    with pytest.raises(ValueError, match="attention must be causal or bidirectional, not 'both'"):
        backbone(tiny.sequence(backbone, [[]], [3]), wrong)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("experts", [False, True])
def test_pads_anywhere_change_nothing(attention: Any, experts: bool) -> None:
    backbone = tiny.model()
    if experts:
        install(backbone.layers, num_experts=4, top_k=1, noise=0.1)
    given = tiny.sequence(backbone, [[True, True], [True, True]], [7, 7])
    padded = tiny.with_pads(given, [0, 2, 2, 7, 13, 13, 19])
    with torch.no_grad():
        expected, found = backbone(given, attention), backbone(padded, attention)
    assert bool(found.isfinite().all())
    found, expected = F.normalize(found[padded.mask], dim=-1), F.normalize(expected[given.mask], dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_missing_photo_is_as_good_as_none() -> None:
    backbone = tiny.model().double()  # rounding of single numbers would be as large as a small fault
    missing = tiny.sequence(backbone, [[False, True], [True, False]], [4, 7])
    with torch.no_grad():
        found = backbone(missing)
        for row, column in ((0, 1), (1, 0)):
            one = missing[row : row + 1]
            kept = one.mask[0]
            alone = Sequence(
                one.token_ids[:, kept],
                one.mask[:, kept],
                one.token_type[:, kept],
                one.photos[:, column : column + 1],
                one.photo_mask[:, column : column + 1],
            )
            torch.testing.assert_close(found[row, kept], backbone(alone)[0], atol=1e-12, rtol=1e-12)


def test_static_shapes_as_on_accelerators_give_the_same() -> None:
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[False, True], [True, True], [False, False]], [4, 7, 2])
    with torch.no_grad():
        dropped = backbone(given)
        backbone.static_shapes = True
        kept = backbone(given)
    torch.testing.assert_close(kept[given.mask], dropped[given.mask], atol=1e-6, rtol=1e-6)


class FromTensors(nn.Module):
    """The backbone as a graph takes it."""

    def __init__(self, backbone: MultimodalLM) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor, photos: Tensor, there: Tensor) -> Tensor:
        return self.backbone(Sequence(ids, mask, types, photos, there))


def test_an_exported_graph_serves_other_batch_sizes_and_missing_photos() -> None:
    network = FromTensors(tiny.model())
    one, other = (
        tiny.sequence(network.backbone, photos, [7] * len(photos), seed=seed)
        for seed, photos in ((0, [[True, True]] * 2), (1, [[False, True], [True, False], [False, False]]))
    )
    batch = torch.export.Dim("batch", min=1, max=64)
    tensors = [field.name for field in fields(one) if getattr(one, field.name) is not None]
    given = tuple(getattr(one, name) for name in tensors)
    graph = torch.export.export(network, given, dynamic_shapes=({0: batch},) * len(given)).module()
    with torch.no_grad():
        given = tuple(getattr(other, name) for name in tensors)
        found, expected = graph(*given), network(*given)
    torch.testing.assert_close(found[other.mask], expected[other.mask], atol=1e-6, rtol=1e-6)


def test_a_title_that_repeats_the_image_token_in_padding_takes_no_photo() -> None:
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[False, True]], [4])
    given.token_ids[~given.mask] = tiny.SPECIAL.image
    clean = tiny.sequence(backbone, [[False, True]], [4])
    with torch.no_grad():
        torch.testing.assert_close(backbone(given)[given.mask], backbone(clean)[clean.mask])


@pytest.mark.parametrize("photos", [[], [False]])
def test_every_weight_is_in_the_graph_of_a_batch_without_photos(photos: list[bool]) -> None:
    """All processes of a group must have gradients for the same weights."""
    backbone = tiny.model().train()
    backbone(tiny.sequence(backbone, [photos], [5])).sum().backward()
    without = [name for name, weight in backbone.named_parameters() if weight.grad is None]
    assert without == ["lm.lm_head.weight"]  # which only `logits` uses
    assert all(weight.grad is not None and not weight.grad.any() for weight in backbone.visual.parameters())


def test_a_flash_kernel_gets_the_padding_and_whether_it_is_causal() -> None:
    """transformers hands a flash kernel the mask of real tokens and `is_causal`; a twin of it computes with both."""
    from transformers import AttentionInterface

    def flash_twin(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, is_causal: bool, **_: Any
    ) -> tuple[Tensor, None]:
        groups = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
        looking = torch.arange(key.shape[2])[-query.shape[2] :, None]
        seen = mask[:, None, None] & ((torch.arange(key.shape[2]) <= looking) | (not is_causal))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen).nan_to_num().transpose(1, 2), None

    AttentionInterface.register("flash_twin", flash_twin)
    backbone = tiny.model()
    given = tiny.sequence(backbone, [[False, True]], [4])
    with torch.no_grad():
        expected = [backbone(given, "causal"), backbone(given, "bidirectional")]
        written = backbone.generate(given, max_new_tokens=5, stop=())
        backbone.text_model.config._attn_implementation = "flash_twin"
        found = [backbone(given, "causal"), backbone(given, "bidirectional")]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[given.mask], other[given.mask], atol=1e-5, rtol=1e-5)
    assert backbone.generate(given, max_new_tokens=5, stop=()) == written


def gradients_of_two_forwards(backbone: MultimodalLM, given: list[Sequence]) -> dict[str, Tensor]:
    """Of losses over hidden states and routers, all forwards before the one backward."""
    loss = torch.zeros(())
    for one in given:
        loss = loss + backbone(one)[one.mask].square().mean()
        for mixture in moe_modules(backbone):
            assert mixture.statistics is not None
            loss = loss + mixture.statistics.probability.square().mean() + mixture.statistics.z.mean()
    backbone.zero_grad()
    loss.backward()
    return {name: weight.grad for name, weight in backbone.named_parameters() if weight.grad is not None}


def test_gradient_checkpointing_sends_each_forwards_token_types_through_its_recomputation() -> None:
    backbone = tiny.model().train()
    install(backbone.layers, num_experts=4, top_k=1, noise=0.1)
    given = [tiny.sequence(backbone, [[True]], [7], seed=seed) for seed in (0, 1)]
    types = given[1].token_type
    types[given[1].mask] = types[given[1].mask].flip(0).clamp(min=1)  # other fields at other places
    kept = gradients_of_two_forwards(backbone, given)
    backbone.set_gradient_checkpointing(True)
    recomputed = gradients_of_two_forwards(backbone, given)
    assert kept.keys() == recomputed.keys()
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-6, rtol=1e-5, msg=lambda t, name=name: name + t)


def test_gradient_checkpointing_keeps_less_and_can_be_taken_back() -> None:
    backbone = tiny.model().train()
    given = tiny.sequence(backbone, [[True, True]] * 4, [7] * 4)

    def kept() -> int:
        sizes = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone(given)
        return sum(sizes.values())

    plain = kept()
    backbone.set_gradient_checkpointing(True)
    assert kept() < 0.5 * plain
    backbone.set_gradient_checkpointing(False)
    assert kept() == plain


def test_the_same_under_bfloat16_autocast_to_its_precision() -> None:
    backbone = tiny.model(initializer_range=0.1)
    given = tiny.sequence(backbone, [[True, True], [False, True]], [7, 3])
    with torch.no_grad():
        exact = backbone(given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = backbone(given)
    cosine = F.cosine_similarity(exact[given.mask], rounded[given.mask].float(), dim=-1)
    assert cosine.min() > 0.99


def test_weights_in_bfloat16_work_too() -> None:
    backbone = tiny.model(dtype="bfloat16")
    given = tiny.sequence(backbone, [[True, True], [False, True]], [7, 3])
    with torch.no_grad():
        hidden = backbone(given)
    assert hidden.dtype == torch.bfloat16 and bool(hidden.isfinite().all())
