"""Shards: written, indexed, checked, read in an exact order, and turned into batches."""
