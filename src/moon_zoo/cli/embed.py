"""`moon-zoo embed`: embeddings of shards, to Parquet."""

from __future__ import annotations

summary = "embeddings of shards, to Parquet"
