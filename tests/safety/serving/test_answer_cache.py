"""Answers on disk: kept between processes, and a file that is something else is refused."""

from __future__ import annotations

import threading

import pytest

from moon_zoo.errors import DataError
from moon_zoo.safety.serving.answer_cache import AnswerCache


def test_answers_are_there_for_who_opens_the_file_later(tmp_path):
    first = AnswerCache(tmp_path / "a.sqlite")
    first.put("key", {"text": "so"})
    second = AnswerCache(tmp_path / "a.sqlite")
    assert second.get("key") == {"text": "so"}
    assert second.get("other") is None


def test_several_threads_and_openers_lose_nothing(tmp_path):
    caches = [AnswerCache(tmp_path / "a.sqlite") for _ in range(2)]
    threads = [
        threading.Thread(
            target=lambda name=name: [caches[name % 2].put(f"{name}/{n}", {"text": str(n)}) for n in range(25)]
        )
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caches[0]) == 100


def test_a_file_that_is_something_else_is_refused_in_words(tmp_path):
    (tmp_path / "a.sqlite").write_text("this is a letter, long enough to be taken for a database by nobody" * 20)
    with pytest.raises(DataError, match=r"(?s)cannot be used.*a\.sqlite.*change: the cache's path"):
        AnswerCache(tmp_path / "a.sqlite")
