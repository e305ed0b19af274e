"""Follow-ups through real shards: they come back as they were, and what is wrong with one is said where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moon_zoo.data.follow_ups import FollowUp, Knowledge
from moon_zoo.data.kinds import KINDS, detect_kind
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import verify
from moon_zoo.data.writing import write_splits
from moon_zoo.errors import DataError


def follow_up(number: int = 0, **changes: Any) -> FollowUp:
    """Conversation ``number``: every third without knowledge, every third with none found."""
    known = (None, Knowledge("", source="toy"), Knowledge("glaze: a glassy coat.", "glaze", "toy", {"node": "glaze"}))
    return FollowUp(
        **{
            "conversation_id": f"ask-{number}",
            "question": f"What is mug {number} made of?",
            "answer": "It is stoneware \N{HOT BEVERAGE}.",
            "follow_up": "Does the glaze keep tea stains away?",
            "knowledge": known[number % 3],
            "truth": {"concept": "glaze"},
        }
        | changes
    )


def test_follow_ups_come_back_from_shards_as_they_were_written(tmp_path: Path) -> None:
    samples = [follow_up(number) for number in range(7)]
    manifests = write_splits(tmp_path / "set", [("train", one.conversation_id, one) for one in samples], max_samples=3)
    assert manifests["train"].kind == "follow_up"
    assert manifests["train"].vocabularies["knowledge"] == {"none": 3, "nothing found": 2, "toy": 2}
    assert list(IndexedShards(tmp_path / "set" / "train")) == samples
    assert verify(tmp_path / "set" / "train", deep=True) == []


def test_the_kind_is_known_by_its_member() -> None:
    assert detect_kind(follow_up().to_members()) == "follow_up"
    assert KINDS["follow_up"].sample is FollowUp


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversation_id": ""}, "without a conversation_id"),
        ({"question": 3}, "the question of conversation ask-0 is no text: 3"),
        ({"question": " ", "answer": ""}, "neither a question nor an answer"),
        ({"truth": []}, "the truth of conversation ask-0 is no object"),
        ({"knowledge": "glaze"}, "the knowledge of conversation ask-0 is 'glaze'"),
    ],
)
def test_what_is_no_follow_up_is_refused_with_its_fault(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        follow_up(**changes)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"conversation_id": "a"}, "no answer, question"),
        ({"conversation_id": "a", "question": "b", "answer": "c", "extra": 1}, "unknown fields extra"),
        ({"conversation_id": "a", "question": "b", "answer": "c", "knowledge": []}, "is no object"),
        ({"conversation_id": "a", "question": "b", "answer": "c", "knowledge": {"concept": "d"}}, "no text"),
        ({"conversation_id": "a", "question": "b", "answer": "c", "knowledge": {"text": 1}}, "is no text: 1"),
    ],
)
def test_a_record_of_another_shape_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FollowUp.from_members({"follow_up.json": record})
