"""Sizes of language models: tiny ones that learn on a laptop, and published ones that are known without a network.

Source of the published: the configuration files beside facebook/bart-large (Apache-2.0; Lewis et al. 2020, arXiv:1910.13461)
and Qwen/Qwen2.5-3B-Instruct (Qwen Research License; Qwen Team 2024, arXiv:2412.15115). The tiny ones are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Architecture = Literal["seq2seq", "causal"]

TINY: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "seq2seq": (
        "t5",
        {
            "d_model": 128,
            "num_layers": 3,
            "num_decoder_layers": 3,
            "num_heads": 4,
            "d_kv": 32,
            "d_ff": 256,
            "feed_forward_proj": "gated-gelu",
            "dropout_rate": 0.0,
            "tie_word_embeddings": True,
        },
    ),
    "causal": (
        "qwen2",
        {
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": 384,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
        },
    ),
}
"""Architecture to transformers' ``model_type`` and numbers."""

PUBLISHED: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "facebook/bart-large": (
        "bart",
        {
            "vocab_size": 50265,
            "d_model": 1024,
            "encoder_layers": 12,
            "decoder_layers": 12,
            "encoder_attention_heads": 16,
            "decoder_attention_heads": 16,
            "encoder_ffn_dim": 4096,
            "decoder_ffn_dim": 4096,
            "max_position_embeddings": 1024,
            "forced_bos_token_id": 0,
        },
    ),
    "Qwen/Qwen2.5-3B-Instruct": (
        "qwen2",
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "intermediate_size": 11008,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "bos_token_id": 151643,
            "eos_token_id": 151645,
            "pad_token_id": 151643,
        },
    ),
}
"""Hub name to transformers' ``model_type`` and what differs from its defaults."""
