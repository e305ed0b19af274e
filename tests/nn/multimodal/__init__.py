"""Multimodal language models: against transformers, by hand, and by what must not change."""
