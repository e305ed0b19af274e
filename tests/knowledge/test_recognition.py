"""Topics, pages and fused knowledge of ordinary and of odd questions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from moon_zoo.knowledge.finding import Found, KnowledgeFinder
from moon_zoo.knowledge.fusion import fuse
from moon_zoo.knowledge.recognition import Recognised, Topics, WordTopics, recognise
from moon_zoo.knowledge.selection import Selected
from moon_zoo.knowledge.source import Page

from .toy import ToySource

ODD = ["", "   ", "🙂🙂🙂", "?!", "\x00", "это чашка?", "木の器は何ですか"]


def test_topic_is_what_the_question_is_about_and_keywords_are_three_others() -> None:
    read = WordTopics()("Is a stoneware mug safe to heat?", "Yes, stoneware is fired hot. The glaze keeps stains away.")
    assert "stoneware mug" in read.topic
    assert len(read.keywords) <= 3 and read.topic not in read.keywords


def test_a_topic_without_a_page_gives_way_to_its_parts_and_keywords() -> None:
    source = ToySource()
    found = recognise("Does my grandmother's wobbly mug wobble?", "It does.", source)
    assert found.page is not None and found.page.key == "mug"
    assert len(source.searched) > 1


def test_without_a_topic_the_first_keyword_is_searched() -> None:
    source = ToySource()
    found = recognise("?", "", source, topics=lambda question, answer: Topics("", ("tea", "mug")))
    assert source.searched[0] == "tea"
    assert found.topic == "tea" and found.keywords == ("mug",)
    assert found.page is not None and found.page.key == "tea"


def test_of_several_pages_the_one_that_fits_best_is_first_unless_nothing_ranks() -> None:
    ranked = recognise("Has the travel mug a lid?", "It has.", ToySource(), topics=lambda q, a: Topics("mug"))
    assert ranked.page is not None and ranked.page.key == "travel mug"
    assert [one.score for one in ranked.candidates] == sorted((one.score for one in ranked.candidates), reverse=True)
    first = recognise("Has the travel mug a lid?", "", ToySource(), topics=lambda q, a: Topics("mug"), rank=False)
    assert first.page is not None and first.page.key == "mug"


def test_a_ranker_of_ones_own_decides() -> None:
    def longest(question: str, answer: str, pages: Sequence[Page]) -> Sequence[float]:
        return [len(page.title) for page in pages]

    found = recognise("a mug?", "", ToySource(), topics=lambda q, a: Topics("mug"), ranker=longest)
    assert found.page is not None and found.page.key == "travel mug"


@pytest.mark.parametrize("question", ODD)
@pytest.mark.parametrize("answer", ["", "🙂", "a " * 200_000])
def test_odd_questions_and_answers_find_nothing_and_are_no_errors(question: str, answer: str) -> None:
    found = KnowledgeFinder(ToySource()).find(question, answer)
    assert found.recognised.page is None and found.selected.node is None
    assert found.fused.text == found.fused.concept == ""
    assert found.fused.provenance["page"] is None


def test_stages_come_one_by_one_and_end_with_all() -> None:
    finder = KnowledgeFinder(ToySource())
    stages = list(finder.stages("Is the mug stoneware?", "Yes."))
    assert [type(stage) for stage in stages] == [Recognised, Selected, Found]
    assert stages[-1] == finder.find("Is the mug stoneware?", "Yes.")


def test_provenance_tells_topic_page_node_reasons_and_scores() -> None:
    fused = KnowledgeFinder(ToySource()).find("Is the mug stoneware?", "Yes.").fused
    assert fused.text == f"{fused.concept}: {ToySource().describe(fused.concept)}"
    assert set(fused.provenance) >= {"topic", "keywords", "page", "node", "reasons", "score", "mode", "seed"}


def test_a_writer_continues_the_definition_and_is_named() -> None:
    class Writer:
        def continued(self, question: str, answer: str, concept: str, definition: str, *, seed: int = 0) -> str:
            return f" So much for the {concept}. "

        def fingerprint(self) -> str:
            return "writer-1"

    found = KnowledgeFinder(ToySource(), writer=Writer()).find("Is the mug stoneware?", "Yes.")
    assert found.fused.text.endswith(f" So much for the {found.fused.concept}.")
    assert found.fused.provenance["writer"] == "writer-1"
    nothing = fuse("", "", Recognised("", (), None), Selected(None, None, {}), source="toy", writer=Writer())
    assert nothing.text == ""


def test_fingerprint_changes_with_settings_and_source() -> None:
    one = KnowledgeFinder(ToySource())
    assert one.fingerprint() == KnowledgeFinder(ToySource()).fingerprint()
    assert one.fingerprint() != KnowledgeFinder(ToySource(), beta=2.0).fingerprint()
