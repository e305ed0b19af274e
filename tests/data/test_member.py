"""One member of a sample by position, and streamed samples with their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.streaming import StreamedShards
from moon_zoo.errors import DataError


def test_one_member_is_what_all_members_hold_under_its_name(search_set: Path) -> None:
    shards = IndexedShards(search_set)
    for position in (0, 11, 22):
        members = shards.members(position)
        for field, value in members.items():
            assert shards.member(position, field) == value
    assert shards.member(0, "nothing.json") is None
    with pytest.raises(IndexError, match="position 23 of 23 samples"):
        shards.member(23, "query.json")


def test_a_member_beyond_the_end_of_a_cut_tar_is_refused(product_set: Path, tmp_path: Path) -> None:
    for path in product_set.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shards = IndexedShards(tmp_path)
    entry = shards.manifest.shards[-1]
    shards.open_shard(entry)
    with (tmp_path / entry.name).open("rb+") as file:
        file.truncate(700)
    with pytest.raises(DataError, match="while it is read"):
        shards.member(len(shards) - 1, "product.json")


def test_streamed_samples_come_with_the_keys_that_positions_have(product_set: Path) -> None:
    tars = sorted(map(str, product_set.glob("*.tar")))
    shards = IndexedShards(product_set)
    streamed = StreamedShards(tars[0]).keyed_samples(tars)
    for position, (key, sample) in enumerate(streamed):
        assert (key, sample.item_id) == (shards.locate(position)[1], shards[position].item_id)
    assert position == len(shards) - 1
