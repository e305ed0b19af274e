"""The page and the picture: nothing escapes, nothing is fetched, photos are inside and small."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moon_zoo.errors import DataError
from moon_zoo.reports.style import QUERY
from moon_zoo.search.page import PHOTO_PIXELS, draw_page
from moon_zoo.search.picture import MAX_QUERIES, MAX_RESULTS, draw_picture
from moon_zoo.search.queries import Query
from moon_zoo.search.results import Answer, Result
from tests.search.catalogues import photo

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="x()"> & \u2028 "quoted" $x^2$'


def result(rank: int, title: str = "a boot", **more: object) -> Result:
    values = {"item_id": f"item-{rank}", "spu_id": "", "category": "shoes/boot", "set": "s", "index": rank, "key": "k"}
    return Result(rank=rank, score=1 - rank / 10, title=title, **values | more)  # type: ignore[arg-type]


def photo_of(found: Result) -> bytes | None:
    """Item 2 has none, item 3 one that is broken."""
    return {2: None, 3: b"\xff\xd8\xff broken"}.get(found.rank, photo(found.rank, 600))


ANSWERS = [
    Answer(Query("a", "a red boot"), [result(rank) for rank in (1, 2, 3, 4)]),
    Answer(Query("b", photo=photo(9)), [result(1), result(2, title="", category="")]),
    Answer(Query("c", "nothing like it", photo(8)), []),
]


class Seen(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_shows_queries_and_results_with_photos_inside(tmp_path: Path) -> None:
    page = draw_page(
        ANSWERS, tmp_path / "new" / "page.html", photo_of=photo_of, heading="Search in shop", facts=["9 items"]
    )
    seen = Seen(page.read_text("utf-8"))
    assert seen.open == []
    for text in (
        "Search in shop",
        "9 items",
        "a red boot",
        "4 results",
        "shoes / boot",
        "0.900",
        "item-4",
        "(no title)",
    ):
        assert text in seen.text
    assert "nothing was found by words and photo" in seen.text
    images = [attributes["src"] or "" for tag, attributes in seen.tags if tag == "img"]
    assert len(images) == 2 + 3  # the two queries' own, and results 1, 4 and 1
    assert seen.text.count("no photo") == 3
    for source in images:
        head, _, content = source.partition(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert max(image.size) <= PHOTO_PIXELS
    assert [attributes["href"] for tag, attributes in seen.tags if tag == "a"] == ["#q1", "#q2", "#q3"]
    assert sorted(path.name for path in page.parent.iterdir()) == ["page.html"]


def test_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    text = draw_page(ANSWERS, tmp_path / "page.html", photo_of=photo_of).read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<script|\bon\w+=", text)
    assert "default-src 'none'; img-src data:" in text
    assert "prefers-color-scheme: dark" in text


def test_titles_words_and_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    hostile = result(1, title=HOSTILE, category=HOSTILE, item_id=HOSTILE)
    answers = [Answer(Query(HOSTILE, HOSTILE), [hostile])]
    page = draw_page(answers, tmp_path / "page.html", photo_of=photo_of, heading=HOSTILE, facts=[HOSTILE])
    seen = Seen(page.read_text("utf-8"))
    plain = Seen(draw_page(ANSWERS, tmp_path / "plain.html", photo_of=photo_of).read_text("utf-8"))
    assert {tag for tag, _ in seen.tags} <= {tag for tag, _ in plain.tags}
    assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
    assert seen.text.count("alert(1)") == 8  # twice in the title


def test_letters_that_no_file_can_hold_are_replaced(tmp_path: Path) -> None:
    page = draw_page([Answer(Query("a", "caf\udce9"), [])], tmp_path / "page.html", photo_of=photo_of)
    assert "caf?" in page.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*page\.html"):
        draw_page(ANSWERS, tmp_path / "file" / "page.html", photo_of=photo_of)
    with pytest.raises(DataError, match=r"cannot write .*page\.png"):
        draw_picture(ANSWERS, tmp_path / "file" / "page.png", photo_of=photo_of)


# The picture ----------------------------------------------------------------------------------------------------------


def count(picture: Path, colour: str) -> int:
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int((np.abs(pixels - rgb).sum(-1) < 12).sum())


def test_picture_has_a_line_per_query(tmp_path: Path) -> None:
    one, _ = draw_picture(ANSWERS[:1], tmp_path / "one.png", photo_of=photo_of)
    three, notes = draw_picture(ANSWERS, tmp_path / "three.png", photo_of=photo_of, heading=HOSTILE)
    assert notes == []
    assert Image.open(three).height > 2 * Image.open(one).height
    assert Image.open(three).width == Image.open(one).width
    assert count(three, QUERY) > 2.5 * count(one, QUERY) > 500


def test_what_a_picture_leaves_out_is_said(tmp_path: Path) -> None:
    many = [Answer(Query("a", "x"), [result(4)] * (MAX_RESULTS + 1))] + [Answer(Query("b", "y"), [])] * MAX_QUERIES
    _, notes = draw_picture(many, tmp_path / "many.png", photo_of=lambda found: None)
    assert notes == [
        f"the picture shows the first {MAX_QUERIES} of {MAX_QUERIES + 1} queries",
        f"the picture shows the first {MAX_RESULTS} results of each query",
    ]


def test_letters_that_the_font_lacks_are_a_note(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    answers = [Answer(Query("a", "红色的鞋"), [result(1, title="红色的鞋")])]
    _, notes = draw_picture(answers, tmp_path / "page.png", photo_of=photo_of)
    assert notes == ["the picture's font lacks some letters of the titles; --html shows them"]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
