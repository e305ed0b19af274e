"""Generative multimodal language models as encoders: sequences of photos and texts in, hidden states out."""
