"""The feed: what is read, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from moon_zoo.errors import DataError, Faults

from acme_products.demo import write_feed
from acme_products.feed import AcmeFeedSource, read_feed


def test_demo_feed_becomes_products_of_every_split(tmp_path: Path) -> None:
    samples = list(AcmeFeedSource(write_feed(tmp_path, 20)).read())
    assert [split for split, _, _ in samples].count("train") == 16
    _, key, product = next(sample for sample in samples if sample[1] == "A-0006")
    assert product.title == "plate 6"
    assert product.category == ("kitchen", "plates")
    assert product.attributes == {"colour": "green"}
    assert len(product.photos) == 2


def test_every_wrong_line_is_named(tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("# feed 2\nsku=1 | name=mug\nsku=2 | nam=mug\nsku=1 | name=cup\nmug\nname=mug\n")
    with pytest.raises(Faults) as caught:
        read_feed(feed)
    said = str(caught.value)
    assert f"{feed}, line 3" in said and "unknown field 'nam'" in said and "did you mean: name" in said
    assert "the sku 1 is on line 2 already" in said
    assert "'mug' is no name=value" in said
    assert "there is no sku" in said
    assert said.endswith("4 faults found")


def test_a_feed_without_products_and_a_missing_feed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "feed.txt").write_text("# feed 2\n")
    with pytest.raises(DataError, match="no product"):
        read_feed(tmp_path / "feed.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_feed(tmp_path / "none.txt")


def test_missing_pictures_are_counted_or_skipped(tmp_path: Path) -> None:
    feed = write_feed(tmp_path, 10)
    (tmp_path / "A-0003.jpg").unlink()
    with pytest.raises(DataError, match="1 photo of 20 cannot be found: A-0003.jpg"):
        list(AcmeFeedSource(feed).read())
    photos = {key: len(product.photos) for _, key, product in AcmeFeedSource(feed, on_error="skip").read()}
    assert photos["A-0003"] == 1
