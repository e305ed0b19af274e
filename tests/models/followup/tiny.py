"""Tiny models of follow-ups, and samples to feed them."""

from __future__ import annotations

from typing import Any

import torch

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.models.followup.module import Followup

SIZES: dict[str, dict[str, Any]] = {
    "causal": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
    },
    "seq2seq": {"d_model": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 32},
}
THINGS = ("mug", "scarf", "lamp", "board")
CONCEPTS = ("glaze", "wool", "linen shade", "oak", "cork")


def make_follow_up(number: int, known: bool = True) -> FollowUp:
    thing, concept = THINGS[number % 4], CONCEPTS[number % 5]
    knowledge = Knowledge(f"{concept}: what a {thing} may have.", concept, "toy", {}) if known else None
    return FollowUp(
        conversation_id=f"c{number:03d}",
        question=f"is the {thing} number {number} new?",
        answer=f"yes, the {thing} came in this week.",
        follow_up=f"has the {thing} anything of {concept}?",
        knowledge=knowledge,
    )


def tiny(architecture: Any = "causal", *, samples: int = 12, **options: Any) -> Followup:
    """With a tokenizer of `make_follow_up`'s words."""
    torch.manual_seed(0)
    settings = {
        "backbone_options": SIZES[architecture],
        "vocab_size": 320,
        "max_tokens": 96,
        "max_follow_up_tokens": 24,
    }
    module = Followup(architecture=architecture, **{**settings, **options})
    module.inputs.fit((make_follow_up(number) for number in range(samples)), None)
    return module.eval()
