"""Loss in groups against a plain twin; what writing forbids, where it ends, and that batches change nothing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from moon_zoo.errors import CheckpointError, RecipeError, UsageError
from moon_zoo.nn.writing.generation import NoRepeats, Writing, write
from moon_zoo.nn.writing.lm import build_lm, write_config
from moon_zoo.nn.writing.loss import IGNORED, writing_loss
from moon_zoo.nn.writing.tokenizer import WritingTokenizer

TINY: dict[str, dict[str, Any]] = {
    "seq2seq": {"d_model": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32},
    "causal": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
    },
}
WORDS = 40


def tiny(architecture: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return build_lm(
        architecture=architecture, options={**TINY[architecture], **options}, vocab_size=WORDS, pad_id=0, end_id=2
    )


def batch_of(architecture: str, rows: int = 7) -> dict[str, torch.Tensor]:
    """Prompts of 2 to 14 tokens and texts of 1 to 7."""
    draws = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, WORDS, (2 + 2 * row,), generator=draws) for row in range(rows)]
    texts = [torch.randint(3, WORDS, (1 + (3 * row) % 7,), generator=draws) for row in range(rows)]
    if architecture == "seq2seq":
        read, wanted = prompts, texts
    else:
        read = [torch.cat(pair) for pair in zip(prompts, texts)]
        wanted = [torch.cat([torch.full_like(prompt, IGNORED), text]) for prompt, text in zip(prompts, texts)]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad(read, batch_first=True, padding_value=0)
    lengths = torch.tensor([len(one) for one in read])
    return {
        "token_ids": ids,
        "token_mask": torch.arange(ids.shape[1]) < lengths[:, None],
        "labels": pad(wanted, batch_first=True, padding_value=IGNORED),
    }


@pytest.mark.parametrize("architecture", TINY)
def test_loss_equals_that_of_single_rows_without_any_padding(architecture: str) -> None:
    lm, batch = tiny(architecture).eval(), batch_of(architecture)
    losses, count = [], 0
    for ids, mask, labels in zip(batch["token_ids"], batch["token_mask"], batch["labels"]):
        real = ids[mask][None]
        if architecture == "seq2seq":
            wanted = labels[labels != IGNORED]
            before = torch.cat([torch.tensor([0]), wanted[:-1]])[None]
            logits = lm(input_ids=real, decoder_input_ids=before).logits[0]
        else:
            wanted = labels[mask][1:]
            logits = lm(input_ids=real).logits[0, :-1]
        losses.append(F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
        count += int((wanted != IGNORED).sum())
    loss, sums = writing_loss(lm, batch)
    assert loss.item() == pytest.approx(float(torch.stack(losses).sum().detach()) / count, rel=1e-5)
    assert int(sums[2]) == count


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("groups", [2, 4, 99])
def test_groups_of_like_length_leave_loss_and_gradients_as_they_are(architecture: str, groups: int) -> None:
    lm, batch = tiny(architecture), batch_of(architecture)
    gradients = []
    losses = []
    for count in (1, groups):
        lm.zero_grad()
        loss, _ = writing_loss(lm, batch, count)
        loss.backward()
        losses.append(loss.item())
        gradients.append([parameter.grad.clone() for parameter in lm.parameters() if parameter.grad is not None])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_batch_with_nothing_to_predict_has_a_loss_of_zero() -> None:
    batch = batch_of("causal")
    loss, sums = writing_loss(tiny("causal"), {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}, 2)
    assert loss.item() == 0 and int(sums[2]) == 0


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_does_not_depend_on_what_is_written_beside_it(architecture: str, beams: int) -> None:
    lm, batch = tiny(architecture), batch_of(architecture)
    how = Writing(max_new_tokens=6, beams=beams, no_repeat=2)
    together = write(lm, batch["token_ids"], batch["token_mask"], how, pad_id=0, end_ids=[2])
    for row, text in enumerate(together):
        ids, mask = batch["token_ids"][row : row + 1], batch["token_mask"][row : row + 1]
        assert write(lm, ids, mask, how, pad_id=0, end_ids=[2]) == [text]
    assert lm.training


def test_no_run_is_written_twice_but_what_was_read_may_be_said() -> None:
    forbid = NoRepeats(2, start=3)
    scores = forbid(torch.tensor([[5, 6, 5, 7, 8, 7], [5, 6, 5, 6, 9, 9]]), torch.zeros(2, 10))
    assert scores[0].isinf().nonzero().flatten().tolist() == [8]  # 7 8 was written; 5 6 was only read
    assert scores[1].isinf().nonzero().flatten().tolist() == [9]
    assert not NoRepeats(3, start=0)(torch.tensor([[1, 2]]), torch.zeros(1, 4)).isinf().any()


@pytest.mark.parametrize("architecture", TINY)
def test_what_is_written_has_no_run_twice(architecture: str) -> None:
    lm, batch = tiny(architecture), batch_of(architecture)
    for text in write(lm, batch["token_ids"], batch["token_mask"], Writing(20, 1, no_repeat=2), pad_id=0, end_ids=[2]):
        runs = list(itertools.pairwise(text))
        assert len(set(runs)) == len(runs)


def test_any_of_several_ends_ends_a_text_and_draws_follow_the_seed() -> None:
    lm, batch = tiny("causal"), batch_of("causal")
    ends = list(range(2, 12))
    drawn = [
        write(lm, batch["token_ids"], batch["token_mask"], Writing(30, 1, 1.0, seed=seed), pad_id=0, end_ids=ends)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(not set(text[:-1]) & set(ends) for texts in drawn for text in texts)


def test_an_empty_prompt_and_an_empty_batch_are_no_errors() -> None:
    lm = tiny("causal")
    ids, mask = torch.zeros((1, 4), dtype=torch.int64), torch.zeros((1, 4), dtype=torch.bool)
    assert len(write(lm, ids, mask, Writing(3, 1), pad_id=0, end_ids=[2])) == 1
    assert write(lm, ids[:0], mask[:0], Writing(3, 1), pad_id=0, end_ids=[2]) == []


@pytest.mark.parametrize(
    "wrong", [{"beams": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"beams": 2, "temperature": 1.0}]
)
def test_settings_of_writing_out_of_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Writing(**wrong)


def test_tokenizer_writes_texts_back_and_survives_its_state() -> None:
    tokenizer = WritingTokenizer.train(["is it oak? 木の器", "<|im_end|> is a word"], vocab_size=300)
    twin = WritingTokenizer.from_state(tokenizer.state_dict())
    for text in ("is it oak?", "木の器 🙂", "<|im_end|> is a word"):
        assert twin.decode(twin.ids(text)) == text
        assert tokenizer.end_id not in tokenizer.ids(text)
    assert tokenizer.markup_ids("<|im_end|>")[-1] == tokenizer.end_id
    assert {tokenizer.decode([number])[-1] for number in tokenizer.asking_ids()} <= {"?"}
    assert tokenizer.ids("is it oak?")[-1] in tokenizer.asking_ids()


def test_options_that_do_not_exist_and_folders_that_are_not_there_are_refused() -> None:
    with pytest.raises(RecipeError, match="no option 'hiden_size'"):
        build_lm(architecture="causal", options={"hiden_size": 3}, vocab_size=10)
    with pytest.raises(RecipeError, match="unknown architecture 'decoder'"):
        build_lm(architecture="decoder", vocab_size=10)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="no folder /not/there"):
        build_lm("/not/there")


@pytest.mark.parametrize("architecture", TINY)
def test_a_folder_of_transformers_loads_with_its_weights(architecture: str, tmp_path: Path) -> None:
    lm = tiny(architecture)
    lm.save_pretrained(tmp_path)
    again = build_lm(str(tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(lm.parameters(), again.parameters(), strict=True))
    options = write_config(lm, tmp_path / "config")
    bare = build_lm(str(tmp_path / "config"), pretrained=False, options=options)
    assert [one.shape for one in bare.parameters()] == [one.shape for one in lm.parameters()]


@pytest.mark.parametrize("name", ["facebook/bart-large", "Qwen/Qwen2.5-3B-Instruct"])
def test_published_sizes_are_known_without_a_network(name: str) -> None:
    with torch.device("meta"):
        lm = build_lm(name)
    wanted = {"facebook/bart-large": 406_291_456, "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688}
    assert sum(parameter.numel() for parameter in lm.parameters()) == wanted[name]
