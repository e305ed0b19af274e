"""Writing: tokens one by one after a prompt, batched, with keys and values kept.

Prompts of different length are moved to the right of a batch (pads to the left, wherever they lay), so that all continue at
the same place; a prompt is read once for all of its texts. transformers' own `generate` would read photos a second way and
knows no token types; the tokens are its own (a test compares them). Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from moon_zoo.nn.multimodal import token_types
from moon_zoo.nn.multimodal.backbone import MultimodalLM
from moon_zoo.nn.multimodal.positions import rotary_positions
from moon_zoo.nn.multimodal.sequence import Sequence


@torch.no_grad()
def generate(
    model: MultimodalLM,
    sequence: Sequence,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    chances: Tensor | None = None,
    samples: int = 1,
    stop: Collection[int] | None = None,
    banned: Collection[int] = (),
) -> list[list[int]]:
    """Continue every sequence until a stop token, or for ``max_new_tokens``.

    Args:
        model: The language model; dropout is off while it writes.
        sequence: The prompts, read causally; their token types lead guided experts. New tokens are plain text.
        max_new_tokens: The most that is written.
        temperature: 0 takes the likeliest token each time; above, tokens are drawn from ``logits / temperature``.
        top_p: Draw among the likeliest tokens that together have this probability, in ``(0, 1]``.
        generator: Draws; a draw depends on the batch's other rows. None: torch's own.
        chances: Numbers in ``[0, 1)`` to draw by instead, ``(batch * samples, max_new_tokens)``: a text then depends on its own
            row of them alone, whatever stands beside it.
        samples: Texts of each prompt.
        stop: Ids at which a text ends; None: end of turn and end of text.
        banned: Ids that are never written, such as those that stand for photos.

    Returns:
        Token ids per row, without prompt and stop token; the texts of a prompt stand one after another.

    Raises:
        ValueError: A value out of its range, or a prompt without a token.
    """
    _check(sequence, max_new_tokens, temperature, top_p)
    rows = len(sequence) * samples
    if samples < 1:
        raise ValueError(f"samples must be at least 1: {samples}")
    if chances is not None and chances.shape != (rows, max_new_tokens):
        raise ValueError(f"chances must be ({rows}, {max_new_tokens}), not {tuple(chances.shape)}")
    device = sequence.token_ids.device
    ends = torch.tensor(sorted(model.special.stop if stop is None else stop), device=device)
    forbidden = torch.tensor(sorted(banned), dtype=torch.int64, device=device)
    written: list[Tensor] = []
    with evaluating(model):
        steps = _steps(model, sequence, samples)
        logits = next(steps)
        finished = torch.zeros(rows, dtype=torch.bool, device=logits.device)
        for step in range(max_new_tokens):
            logits = logits.index_fill(1, forbidden, -torch.inf)
            token = _chosen(logits, temperature, top_p, generator if chances is None else chances[:, step])
            finished = finished | torch.isin(token, ends)
            written.append(token.masked_fill(finished, -1))
            if step + 1 == max_new_tokens or bool(finished.all()):
                break
            logits = steps.send(token)
    columns = torch.stack(written, dim=1).tolist() if written else [[] for _ in range(rows)]
    return [[token for token in row if token >= 0] for row in columns]


def _steps(model: MultimodalLM, sequence: Sequence, samples: int) -> Generator[Tensor, Tensor, None]:
    """Logits of the next token ``(batch * samples, vocab)``; send the chosen tokens ``(batch * samples,)`` to get the next."""
    from transformers import DynamicCache

    positions, continues = rotary_positions(model.image_places(sequence), sequence.mask, model.photo_side)
    embedded = model.embed(sequence)
    order = sequence.mask.to(torch.uint8).argsort(dim=1, stable=True)  # pads first
    order = order[:, int((~sequence.mask).sum(dim=1).min()) :]
    mask = sequence.mask.gather(1, order)
    types = sequence.token_type.gather(1, order)
    embedded = embedded.gather(1, order[..., None].expand(-1, -1, embedded.shape[-1]))
    positions = positions.gather(2, order.expand(3, -1, -1))
    cache = DynamicCache(config=model.text_model.config)
    hidden = model.run_layers(embedded, positions, mask, types, attention="causal", cache=cache)
    hidden = hidden[:, -1:]
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        hidden, mask, continues = (one.repeat_interleave(samples, dim=0) for one in (hidden, mask, continues))
    while True:
        token = yield model.logits(hidden[:, -1]).float()
        embedded = model.text_model.embed_tokens(token[:, None])
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        types = sequence.token_type.new_full((len(mask), 1), token_types.TEXT)
        hidden = model.run_layers(
            embedded, continues.expand(3, -1)[..., None], mask, types, attention="causal", cache=cache
        )
        continues = continues + 1


def _chosen(logits: Tensor, temperature: float, top_p: float, chance: Tensor | torch.Generator | None) -> Tensor:
    """One token per row, int64 ``(batch,)``; of chances ``(batch,)`` each row's own decides."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities, tokens = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0)  # the likeliest always stays
    if isinstance(chance, Tensor):
        reached = probabilities.cumsum(dim=-1)
        reached = reached / reached[:, -1:]
        # rounding must not reach what has no probability: such tokens stand behind all others
        last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1
        drawn = torch.searchsorted(reached, chance.to(reached)[:, None].contiguous(), right=True).minimum(last)
    else:
        drawn = torch.multinomial(probabilities, 1, generator=chance)
    return tokens.gather(1, drawn).squeeze(1)


def _check(sequence: Sequence, max_new_tokens: int, temperature: float, top_p: float) -> None:
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0: {max_new_tokens}")
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0: {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1: {top_p}")
    empty = (~sequence.mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"every prompt needs a token; these rows have none: {empty}")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every module is in the mode it was in (frozen parts may differ)."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
