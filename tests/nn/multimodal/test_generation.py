"""Writing: against transformers, against recomputing everything at each step, and its settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moon_zoo.nn.moe.install import install
from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.sequence import Sequence
from tests.nn.multimodal import tiny


def written_without_cache(backbone: MultimodalLM, prompt: Sequence, count: int) -> list[int]:
    """One prompt continued by the likeliest token, all of it read again at each step."""
    given, written = prompt, []
    for _ in range(count):
        with torch.no_grad():
            last = int(given.mask[0].nonzero().max())
            token = int(backbone.logits(backbone(given, "causal"))[0, last].argmax())
        written.append(token)
        one = torch.ones(1, 1, dtype=torch.int64)
        given = Sequence(
            torch.cat([given.token_ids, one * token], dim=1),
            torch.cat([given.mask, one.bool()], dim=1),
            torch.cat([given.token_type, one * token_types.TEXT], dim=1),
            given.photos,
            given.photo_mask,
        )
    return written


def test_greedy_texts_equal_those_of_transformers() -> None:
    backbone = tiny.model()
    prompt = tiny.sequence(backbone, [[True, True]], [7])
    ours = backbone.generate(prompt, max_new_tokens=12, stop=())
    theirs = backbone.lm.generate(
        **tiny.transformers_inputs(backbone, prompt), do_sample=False, max_new_tokens=12, eos_token_id=None
    )
    assert ours == theirs[:, prompt.token_ids.shape[1] :].tolist()
    assert len(set(ours[0])) > 3


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("experts", [False, True])
def test_batched_prompts_of_any_length_equal_reading_each_again_at_every_step(experts: bool) -> None:
    """With experts: category and attribute tokens of the prompt go to theirs, what is written is plain text."""
    backbone = tiny.model()
    if experts:
        install(backbone.layers, num_experts=4, top_k=1, noise=0.5)
    prompts = tiny.sequence(backbone, [[True, True], [False, True], [False, False]], [7, 3, 1])
    expected = [written_without_cache(backbone, prompts[row : row + 1], 6) for row in range(3)]
    assert backbone.generate(prompts, max_new_tokens=6, stop=()) == expected
    assert backbone.generate(tiny.with_pads(prompts, [0, 4, 4, 20]), max_new_tokens=6, stop=()) == expected


def test_types_of_the_prompt_lead_its_experts() -> None:
    backbone = tiny.model()
    install(backbone.layers, num_experts=4, top_k=1, noise=3.0)
    prompt = tiny.sequence(backbone, [[]], [7])
    plain = Sequence(prompt.token_ids, prompt.mask, prompt.mask * token_types.TEXT, prompt.photos, prompt.photo_mask)
    assert backbone.generate(prompt, max_new_tokens=8, stop=()) != backbone.generate(plain, max_new_tokens=8, stop=())


def test_a_text_ends_before_its_stop_token_while_others_go_on() -> None:
    backbone = tiny.model()
    prompts = tiny.sequence(backbone, [[True], [False]], [7, 3])
    free = backbone.generate(prompts, max_new_tokens=8, stop=())
    stop = next(token for token in free[0][1:] if token not in free[1])
    ended = backbone.generate(prompts, max_new_tokens=8, stop=[stop])
    assert ended == [free[0][: free[0].index(stop)], free[1]]
    assert backbone.generate(prompts, max_new_tokens=8, stop=range(tiny.VOCAB)) == [[], []]


def test_draws_follow_their_generator_and_a_small_top_p_takes_the_likeliest() -> None:
    backbone = tiny.model()
    prompts = tiny.sequence(backbone, [[True], [False]], [7, 3])

    def drawn(seed: int, **options: Any) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return backbone.generate(prompts, max_new_tokens=8, generator=generator, stop=(), **options)

    greedy = backbone.generate(prompts, max_new_tokens=8, stop=())
    assert drawn(0, temperature=5.0) == drawn(0, temperature=5.0) != drawn(1, temperature=5.0)
    assert drawn(0, temperature=5.0, top_p=1e-6) == greedy
    assert drawn(0, temperature=1e-4) == greedy


def test_draws_have_the_probabilities_of_the_logits() -> None:
    """4000 first tokens at temperature 2, within the three likeliest that make up top_p."""
    backbone = tiny.model()
    prompt = tiny.sequence(backbone, [[]], [7])
    with torch.no_grad():
        probabilities = (backbone.logits(backbone(prompt, "causal"))[0, -1] / 2).softmax(-1)
    best = probabilities.sort(descending=True)
    top_p = float(best.values[:3].sum()) - 1e-4
    many = prompt[torch.zeros(4000, dtype=torch.int64)]
    found = backbone.generate(
        many, max_new_tokens=1, temperature=2.0, top_p=top_p, generator=torch.Generator().manual_seed(0), stop=()
    )
    shares = torch.tensor(found)[:, 0].bincount(minlength=tiny.VOCAB) / 4000
    assert set(shares.nonzero()[:, 0].tolist()) == set(best.indices[:3].tolist())
    expected = best.values[:3] / best.values[:3].sum()
    torch.testing.assert_close(shares[best.indices[:3]], expected, atol=0.03, rtol=0)


def test_a_model_in_training_writes_without_dropout_or_checkpointing_and_trains_on() -> None:
    backbone = tiny.model(attention_dropout=0.5)
    prompt = tiny.sequence(backbone, [[True]], [7])
    expected = backbone.generate(prompt, max_new_tokens=5, stop=())
    backbone.train()
    backbone.visual.eval()
    backbone.set_gradient_checkpointing(True)
    assert backbone.generate(prompt, max_new_tokens=5, stop=()) == expected
    assert backbone.training and backbone.layers[0].training and not backbone.visual.training


def test_nothing_is_written_when_nothing_is_wanted() -> None:
    backbone = tiny.model()
    assert backbone.generate(tiny.sequence(backbone, [[], []], [3, 3]), max_new_tokens=0) == [[], []]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be at least 0: -1"),
        ({"temperature": -0.5}, "temperature must be at least 0: -0.5"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1: 0.0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    backbone = tiny.model()
    with pytest.raises(ValueError, match=message):
        backbone.generate(tiny.sequence(backbone, [[]], [3]), **{"max_new_tokens": 3, **options})


def test_a_prompt_without_tokens_is_refused_by_its_row() -> None:
    backbone = tiny.model()
    with pytest.raises(ValueError, match=r"these rows have none: \[1\]"):
        backbone.generate(tiny.sequence(backbone, [[False], [False]], [3, 0]), max_new_tokens=3)


def test_banned_tokens_are_never_written_and_others_as_before() -> None:
    backbone = tiny.model()
    prompt = tiny.sequence(backbone, [[True, True], [False, True]], [7, 3])
    free = backbone.generate(prompt, max_new_tokens=12, stop=())
    often = max({token for row in free for token in row}, key=lambda token: sum(row.count(token) for row in free))
    banned = backbone.generate(prompt, max_new_tokens=12, stop=(), banned=[often])
    assert all(often not in row for row in banned)
    assert backbone.generate(prompt, max_new_tokens=12, stop=(), banned=[tiny.VOCAB - 1, tiny.SPECIAL.image]) == free
    drawn = backbone.generate(prompt, max_new_tokens=50, stop=(), banned=[often], temperature=5.0)
    assert all(often not in row for row in drawn)


def test_a_text_drawn_by_chances_does_not_depend_on_what_stands_beside_it() -> None:
    backbone = tiny.model()
    prompts = tiny.sequence(backbone, [[True, True], [False, True], [False, False]], [7, 3, 1])
    chances = torch.rand(6, 8, generator=torch.Generator().manual_seed(3))
    options: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.8, "top_p": 0.9, "stop": ()}
    together = backbone.generate(prompts, samples=2, chances=chances, **options)
    for row in range(3):
        for sample in range(2):
            number = 2 * row + sample
            alone = backbone.generate(prompts[row : row + 1], chances=chances[number : number + 1], **options)
            assert alone == [together[number]]
    assert together[0] != together[1]
    longer = backbone.generate(
        prompts, samples=2, chances=torch.cat([chances, chances], 1), **options | {"max_new_tokens": 16}
    )
    assert [row[:8] for row in longer] == together


def test_tokens_drawn_by_chances_occur_as_often_as_they_are_likely() -> None:
    from moon_zoo.nn.multimodal.generation import _chosen

    logits = torch.tensor([[0.0, 2.0, 1.0, -torch.inf]])
    chances = (torch.arange(10_000) + 0.5) / 10_000
    drawn = _chosen(logits.expand(10_000, -1), 1.0, 1.0, chances).bincount(minlength=4) / 10_000
    torch.testing.assert_close(drawn, logits.softmax(-1)[0], atol=2e-4, rtol=0)
    cut = _chosen(logits.expand(10_000, -1), 1.0, 0.5, chances).bincount(minlength=4)
    assert cut.tolist() == [0, 10_000, 0, 0], "only the likeliest tokens that together reach top_p"
