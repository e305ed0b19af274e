"""Conversations through real shards: they come back as they were, and what is wrong with one is said where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moon_zoo.data.conversations import CATEGORIES, SOURCES, Instruction, Observation, Preference, Prompt, Turn, user
from moon_zoo.data.datamodule import ShardDataModule
from moon_zoo.data.inputs import Draw, stack
from moon_zoo.data.kinds import KINDS, detect_kind
from moon_zoo.data.reading import IndexedShards
from moon_zoo.data.verify import build_index, verify
from moon_zoo.data.writing import ShardWriter, write_splits
from moon_zoo.errors import DataError
from tests.conftest import draw_photo

RISK = Observation("bleach near vinegar", "image_content", "violence")


def instruction(number: int = 0, **changes: Any) -> Instruction:
    """Conversation ``number``: every third without an image, every other benign."""
    benign = number % 2 == 1
    return Instruction(
        **{
            "conversation_id": f"talk-{number}",
            "turns": (
                Turn("system", "You help in a shop."),
                Turn("user", "Hello"),
                Turn("assistant", "Hello!"),
                Turn("user", f"what is number {number}?"),
            ),
            "image": None if number % 3 == 2 else draw_photo(number),
            "answer": f"It is number {number}.",
            "observations": () if benign else (RISK,),
            "safe": benign,
            "situation": "benign" if benign else "joint",
            "truth": {"words": [["number"]], "number": number},
        }
        | changes
    )


def preference(number: int = 0, **changes: Any) -> Preference:
    """A pair about conversation ``number``."""
    return Preference(
        **{
            "conversation_id": f"talk-{number}",
            "turns": user(f"what is number {number}?"),
            "chosen": "It is a mug; take care, it is hot.",
            "rejected": "It is a mug.",
            "image": draw_photo(number),
            "observations": (RISK,),
            "safe": False,
            "scores": {"chosen": 0.9, "rejected": 0.25, "chosen/gs": 8},
            "judge": "rules-1",
            "round": 2,
            "origin": {"seed": 3, "places": [0, 2]},
        }
        | changes
    )


MAKERS: dict[str, Callable[[int], Any]] = {"talks": instruction, "pairs": preference}


class Words:
    """Inputs that read the length of the question and of the image."""

    def fit(self, samples: Any, manifest: Any) -> None: ...

    def sample(self, sample: Instruction | Preference, draw: Draw) -> dict[str, Any]:
        return {"question": torch.tensor(len(sample.prompt.text)), "image": torch.tensor(sample.image is not None)}

    def batch(self, samples: Any) -> dict[str, Any]:
        return stack(samples)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("make", [instruction, preference])
def test_samples_come_back_from_shards_as_they_were_written(make: Callable[[int], Any], tmp_path: Path) -> None:
    samples = [make(number) for number in range(7)]
    manifests = write_splits(
        tmp_path / "set", [("train", f"s{n}", one) for n, one in enumerate(samples)], max_samples=3
    )
    assert manifests["train"].kind == samples[0].kind
    assert list(IndexedShards(tmp_path / "set" / "train")) == samples
    assert verify(tmp_path / "set" / "train", deep=True) == []


@pytest.mark.parametrize("make", [instruction, preference])
def test_tars_without_a_manifest_are_known_by_their_members(make: Callable[[int], Any], tmp_path: Path) -> None:
    write_splits(tmp_path / "set", [("train", "s0", make(0))])
    folder = tmp_path / "set" / "train"
    before = IndexedShards(folder)
    for name in ("manifest.json", before.manifest.shards[0].index_name):
        (folder / name).unlink()
    assert build_index(folder).kind == make(0).kind == detect_kind(make(0).to_members())


def test_the_data_module_serves_every_conversation_once(tmp_path: Path) -> None:
    write_splits(
        tmp_path / "set", [("train", f"s{number}", instruction(number)) for number in range(10)], max_samples=4
    )
    data = ShardDataModule(train=str(tmp_path / "set" / "train"), batch_size=5, num_workers=0)
    data.inputs = Words()
    batches = list(data.train_dataloader())
    assert sorted(torch.cat([batch["index"] for batch in batches]).tolist()) == list(range(10))
    assert sum(int(batch["image"].sum()) for batch in batches) == 7


def test_the_manifest_counts_situations_and_harms(tmp_path: Path) -> None:
    samples = [(split, f"s{number}", make(number)) for split, make in MAKERS.items() for number in range(7)]
    manifests = write_splits(tmp_path / "set", samples)
    assert manifests["talks"].vocabularies == {
        "harm": {"violence": 4},
        "safety": {"benign": 3, "risky": 4},
        "situation": {"benign": 3, "joint": 4},
    }
    assert manifests["pairs"].vocabularies == {
        "harm": {"violence": 7},
        "judge": {"rules-1": 7},
        "safety": {"risky": 7},
    }


def test_a_prompt_ends_with_the_user_and_knows_its_sample() -> None:
    prompt = instruction(4).prompt
    assert (prompt.text, prompt.key, len(prompt.turns)) == ("what is number 4?", "talk-4", 4)
    with pytest.raises(DataError, match="'t' does not end with a turn of the user's"):
        Prompt((Turn("assistant", "hello"),), key="t")


def test_every_source_and_category_makes_an_observation() -> None:
    assert len(SOURCES) == 4 and len(CATEGORIES) == 9
    made = [Observation("a thing", source, category) for source in SOURCES for category in CATEGORIES]
    assert [Observation(**one.as_json()) for one in made] == made
    assert {"instruction", "preference"} <= set(KINDS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: instruction(conversation_id=""), "without a conversation_id"),
        (lambda: instruction(turns=()), "does not end with a turn of the user's"),
        (lambda: instruction(image="photo.jpg"), "the image of conversation talk-0 is no encoded photo: str"),
        (lambda: instruction(answer=None), "the answer of conversation talk-0 is no text: None"),
        (lambda: instruction(safe=1), "safe of conversation talk-0 is neither true, false nor null: 1"),
        (lambda: instruction(safe=True), "said to be benign, but has observations of risks: bleach near vinegar"),
        (lambda: instruction(truth=[1]), "the truth of conversation talk-0 is no object"),
        (
            lambda: preference(rejected="It is a mug; take care, it is hot."),
            "both answers .* are the same: 'It is a mug",
        ),
        (lambda: preference(scores={"chosen": "high"}), "scores that are no numbers by name"),
        (lambda: preference(round=-1), "is of round -1, which is no count"),
        (lambda: preference(origin=None), "an origin that is no object"),
        (lambda: Turn("usr", "hello"), "the role 'usr'; roles are system, user, assistant"),
        (lambda: Turn("user", 3), "a turn of the user is no text: 3"),
        (lambda: Observation(" ", "image_text", "privacy"), "no content"),
        (lambda: Observation("x", "picture", "privacy"), "the source 'picture'; known: text_instruction"),
        (lambda: Observation("x", "image_text", ["privacy"]), "the category \\['privacy'\\]"),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def tampered(tmp_path: Path, sample: Any, change: Callable[[dict[str, Any]], None]) -> Path:
    """A set whose only sample was changed past the checks of its dataclass."""
    members = sample.to_members()
    change(members)

    class Passed(type(sample)):  # type: ignore[misc]
        def to_members(self) -> dict[str, Any]:
            return members

    with ShardWriter(tmp_path / "bad", kind=sample.kind) as writer:
        writer.kind = type(writer.kind)(sample.kind, Passed, "", "")
        writer.write(
            "s7",
            Passed(**{name: getattr(sample, name) for name in type(sample).__dataclass_fields__ if name != "kind"}),
        )
    return tmp_path / "bad"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("image.jpg"), "conversation talk-0 is about an image, but the sample holds none"),
        (lambda members: members["conversation.json"].pop("turns"), "conversation.json holds no turns"),
        (
            lambda members: members["conversation.json"].update(kind="x", y=1),
            "conversation.json holds unknown fields kind, y",
        ),
        (lambda members: members["conversation.json"].update(turns="hi"), "are no list of role and text: 'hi'"),
        (
            lambda members: members["conversation.json"].update(turns=[{"role": "robot", "text": "x"}]),
            "the role 'robot'",
        ),
        (
            lambda members: members["conversation.json"].update(observations=[{"content": "x"}]),
            "observations are no list",
        ),
        (lambda members: members["conversation.json"].update(safe="yes"), "neither true, false nor null: 'yes'"),
        (
            lambda members: members.update({"conversation.json": [1]}),
            "conversation.json is missing or holds no JSON object",
        ),
    ],
)
def test_a_bad_conversation_is_named_with_shard_and_key(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    folder = tampered(tmp_path, instruction(0), change)
    with pytest.raises(DataError, match=message) as caught:
        IndexedShards(folder)[0]
    assert "sample s7 in" in str(caught.value.where) and "bad-000000.tar" in str(caught.value.where)
    assert len(verify(folder)) >= 1


def test_a_pair_of_equal_answers_in_shards_is_named(tmp_path: Path) -> None:
    folder = tampered(
        tmp_path,
        preference(0),
        lambda members: members["preference.json"].update(rejected=members["preference.json"]["chosen"]),
    )
    with pytest.raises(DataError, match="both answers of a pair of conversation talk-0 are the same") as caught:
        IndexedShards(folder)[0]
    assert "sample s7 in" in str(caught.value.where)
    assert json.loads(json.dumps(preference(0).to_members()["preference.json"]))["round"] == 2
