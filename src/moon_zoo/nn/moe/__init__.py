"""Mixtures of experts in place of a feed-forward network, guided by the field that a token comes from."""
