"""Household things that conversations are about: a table."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
"""Main colours of most things."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing on a photo.

    Args:
        name: What it is called; also names its silhouette.
        traits: What its risks and uses depend on, such as ``sharp``.
        use: What it is for, after "it is for".
        colours: Main colours it comes in.
        count: ``one`` (a mug), ``many`` (scissors) or ``mass`` (bleach).
        seen: Word by which an answer may call it; its name's last word where empty.
    """

    name: str
    traits: frozenset[str]
    use: str
    colours: tuple[str, ...]
    count: str = "one"
    seen: str = ""

    @property
    def a(self) -> str:
        """With its article where it has one: a mug, an apple, scissors, bleach."""
        return self.name if self.count != "one" else f"a{'n' if self.name[0] in 'aeiou' else ''} {self.name}"

    @property
    def are(self) -> str:
        """Its verb: is or are."""
        return "are" if self.count == "many" else "is"

    @property
    def it(self) -> str:
        """Its pronoun as an object: it or them."""
        return "them" if self.count == "many" else "it"

    @property
    def subject(self) -> str:
        """Its pronoun as a subject: it or they."""
        return "they" if self.count == "many" else "it"

    @property
    def word(self) -> str:
        """What an answer must say to have named it."""
        return self.seen or self.name.split()[-1]


def _thing(name: str, traits: str, use: str, count: str = "one", colours: str = "", seen: str = "") -> Thing:
    return Thing(name, frozenset(traits.split()), use, tuple(colours.split()) or COLOURS, count, seen)


_TABLE = (
    _thing("kitchen knife", "sharp cutter", "cutting food", seen="knife"),
    _thing("craft knife", "sharp cutter", "cutting paper and card", seen="knife"),
    _thing("scissors", "sharp cutter", "cutting paper", "many"),
    _thing("saw", "sharp", "cutting wood"),
    _thing("lighter", "flame", "lighting a fire"),
    _thing("matches", "flame", "lighting a fire", "many"),
    _thing("candle", "flame goods", "soft light"),
    _thing("button batteries", "small", "small clocks and toys", "many", "grey"),
    _thing("marbles", "small", "rolling games", "many", "red green blue purple yellow"),
    _thing("magnets", "small", "notes on the fridge", "many", "red green blue yellow purple"),
    _thing("tablets", "medicine", "pain", "many", "red yellow green blue purple"),
    _thing("pill bottle", "medicine", "keeping pills", colours="red yellow green blue purple", seen="pill"),
    _thing("cough syrup", "medicine", "a cough", "mass", "brown green purple red", seen="syrup"),
    _thing("bleach", "chlorine cleaner toxic bottled", "white laundry and drains", "mass"),
    _thing("mould spray", "chlorine cleaner toxic bottled", "mould on tiles", "mass", seen="spray"),
    _thing("limescale remover", "acid cleaner toxic bottled", "white crusts on taps", "mass", seen="remover"),
    _thing("vinegar", "acid cleaner bottled", "salads and crusts", "mass", "red yellow green brown"),
    _thing("lemon juice", "acid cleaner bottled", "tea and cakes", "mass", "yellow", seen="lemon"),
    _thing("washing-up liquid", "soapy cleaner bottled", "dishes", "mass", seen="washing-up"),
    _thing("hand soap", "soapy cleaner bottled", "washing hands", "mass", seen="soap"),
    _thing("brand labels", "brand", "sewing on clothes", "many", "red yellow green blue purple", seen="label*"),
    _thing("brand stickers", "brand", "sticking on boxes", "many", "red green blue purple brown", seen="sticker*"),
    _thing("name tags", "own", "marking your own things", "many", "red green blue purple black", seen="tag*"),
    _thing("bank card", "private", "paying", colours="red green blue purple black"),
    _thing("identity card", "private", "showing who you are", colours="red green blue purple black"),
    _thing("house key", "private", "opening a door"),
    _thing("toy blocks", "toy", "building towers", "many", seen="blocks"),
    _thing("ball", "toy goods", "throwing and catching"),
    _thing("teddy bear", "toy goods", "hugging", colours="red yellow brown blue purple white", seen="teddy"),
    _thing("book", "toy goods", "reading"),
    _thing("sweets", "food", "a treat", "many"),
    _thing("apple", "food", "eating", colours="red green yellow"),
    _thing("mug", "goods", "drinking tea"),
    _thing("teapot", "goods", "making tea"),
    _thing("clock", "goods", "telling the time"),
    _thing("cushion", "goods place", "sitting softly"),
    _thing("sunscreen", "goods bottled", "sunny days", "mass"),
    _thing("toddler chair", "place", "small children at the table", seen="chair"),
)

THINGS: dict[str, Thing] = {thing.name: thing for thing in _TABLE}
"""Name to thing."""

PLACES: dict[str, tuple[float, float]] = {
    "toddler chair": (0.5, 0.36),
    "toy blocks": (0.5, 0.62),
    "sweets": (0.5, 0.5),
    "cushion": (0.5, 0.48),
}
"""Things that something may lie on, with the spot, as fractions of their width and height."""


def with_trait(*traits: str) -> tuple[Thing, ...]:
    """Things that have one of these traits, in the table's order."""
    return tuple(thing for thing in _TABLE if thing.traits & set(traits))
