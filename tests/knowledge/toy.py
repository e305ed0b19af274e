"""A source of knowledge in a dictionary, small enough to reckon with by hand."""

from __future__ import annotations

from collections.abc import Sequence

from moon_zoo.knowledge.source import Edge, Page

TEXTS = {
    "mug": "A cup with a handle for hot drinks.",
    "stoneware": "A dense ceramic that is fired hot.",
    "glaze": "A glassy coat on ceramic that keeps stains away.",
    "kiln": "An oven in which ceramic is fired.",
    "tea": "A hot drink of leaves.",
    "travel mug": "A mug with a lid.",
    "island": "Land with water around it.",
}
TIES = {
    "mug": (("stoneware", 2.0, "made of"), ("tea", 1.0, "holds"), ("travel mug", 0.5, "kind")),
    "stoneware": (("glaze", 3.0, "is covered with"), ("kiln", 1.0, "is fired in"), ("mug", 2.0, "becomes")),
    "tea": (("mug", 1.0, "is drunk from"),),
}


class ToySource:
    """Pages by name; titles that contain the topic, narrowed by keywords."""

    name = "toy"

    def __init__(self) -> None:
        self.searched: list[str] = []

    def search(self, topic: str, keywords: Sequence[str]) -> list[Page]:
        self.searched.append(topic)
        return [Page(key, key, TEXTS[key]) for key in TEXTS if topic in key] if topic else []

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        return [Edge(*tie) for tie in TIES.get(page.key, ())[:k]]

    def describe(self, page_key: str) -> str:
        return TEXTS[page_key]

    def fingerprint(self) -> str:
        return "toy-1"
