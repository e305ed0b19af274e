"""Embedding catalogues and searching in them."""
