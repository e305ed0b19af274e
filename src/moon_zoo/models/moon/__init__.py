"""MOON: a generative multimodal LLM with guided experts, as an encoder of products and queries."""
