"""The simulated shop: built-in data for every model, drawn and written by a seed, with known truth.

One direction of imports, one question per part:

- `vocabulary`  which words and colours there are: leaf categories, colours, patterns, materials, brands
- `catalogue`   which products exist: ``spu(seed, number)`` is a pure function, and so is everything made from it
- `drawing`     what they look like: silhouettes, surfaces, brand marks, catalogue and user photos with true boxes
- `words`       how sellers title them and how users ask for them
- `searches`    what users look for and what they choose
- `impressions` what users were shown and clicked: `shoppers` with interests in the `content` of items, who are shown
  what lies on `shelves` and click by a known model (`clicks`), and the `best` figures that can be reached
- `conversations` what they ask an assistant about a photo: household things, which of them are risky in which context, and
  how to answer
- `follow_ups`  what they ask next, with knowledge from a small encyclopedia of the shop's own
- `writing`     `write_shop`: all of these into shards, rendered by several `processes`
- `preview`     contact sheets
- `datamodule`  `ShopDataModule`: the shop in the cache, written on first use

**Where later kinds plug in.** A kind that is drawn is a function ``(plan, spu number) -> iterator of (key, sample)`` in the
table `moon_zoo.shop.writing.RENDERERS`; parallel rendering, splits by SPU, shards and cache then come for free.
Impressions are not drawn: they have a plan of their own (`impression_plan`) and come in blocks of users.

Nothing here imports torch except `datamodule`, so that worker processes start quickly.
"""

from __future__ import annotations

from typing import Any

__all__ = ["VERSION", "write_shop"]

VERSION = 1
"""Raised whenever the same arguments would give other bytes; part of the name of the cached shop."""


def __getattr__(name: str) -> Any:
    if name == "write_shop":
        from moon_zoo.shop.writing import write_shop

        return write_shop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
