"""What a sample holds: the table of kinds, checked when shards are written and again when they are read.

A sample in a shard is a group of tar members ``{key}.{field}.{ext}``. A kind says which Python object such a group
stands for. A new kind is one dataclass with `to_members` and `from_members`, and one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Protocol, Self

from moon_zoo.data.conversations import Instruction, Preference
from moon_zoo.data.follow_ups import FOLLOW_UP_MEMBER, FollowUp
from moon_zoo.data.impressions.block import MARK, Impressions
from moon_zoo.data.members import image_extension, photo_of, record_of
from moon_zoo.errors import DataError, did_you_mean

Box = tuple[float, float, float, float]
"""Corners ``(left, top, right, bottom)`` as fractions of the photo's width and height, in ``[0, 1]``."""

BEHAVIOURS = ("click", "cart", "purchase")


class Sample(Protocol):
    """What every kind's dataclass offers."""

    kind: ClassVar[str]

    def to_members(self) -> dict[str, Any]:
        """Member name without the key (``photo_0.jpg``, ``product.json``) to bytes or a JSON-like value."""
        ...

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`, from decoded members; photos stay encoded bytes."""
        ...


@dataclass(slots=True)
class Product:
    """A product on sale (an item) with its photos and texts.

    Args:
        item_id: Identity of the item, unique in its set.
        title: What the seller calls it; may be empty.
        description: Running text about it, beside the title; may be empty.
        photos: Encoded images (JPEG, PNG or WebP bytes), the clean catalogue photo first.
        spu_id: Identity shared by all variants of one product. Photos of one SPU are positives of one another.
        category: Path from the root to the leaf, such as ``("clothing", "shirt")``.
        attributes: Name to value, such as ``{"colour": "red"}``.
        photo_roles: One of `PHOTO_ROLES` per photo: ``catalogue`` (clean) or ``user`` (taken by a customer).
        core_boxes: The product's box in each photo, None where unknown.
    """

    kind: ClassVar[str] = "product"
    PHOTO_ROLES: ClassVar[tuple[str, ...]] = ("catalogue", "user")

    item_id: str
    title: str = ""
    description: str = ""
    photos: list[bytes] = field(default_factory=list, repr=False)
    spu_id: str = ""
    category: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    photo_roles: list[str] = field(default_factory=list)
    core_boxes: list[Box | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._check_types()
        self.spu_id = self.spu_id or self.item_id
        self.category = tuple(self.category)
        if not self.photo_roles:
            self.photo_roles = ["catalogue"] * min(len(self.photos), 1) + ["user"] * max(len(self.photos) - 1, 0)
        if not self.core_boxes:
            self.core_boxes = [None] * len(self.photos)
        self.core_boxes = [None if box is None else _box(box) for box in self.core_boxes]
        self._check()

    def _check_types(self) -> None:
        """Shards may come from anywhere: a number for a title or a word for a path must not get further than here."""
        if not self.item_id:
            raise DataError("a product without an item_id", change="the column or field that holds item_id")
        for name in ("item_id", "title", "description", "spu_id"):
            if not isinstance(getattr(self, name), str):
                raise DataError(f"the {name} of product {self.item_id} is no text: {getattr(self, name)!r}")
        if isinstance(self.category, str) or not all(isinstance(part, str) for part in self.category):
            raise DataError(f"the category of product {self.item_id} is no path of names: {self.category!r}")
        if not all(isinstance(word, str) for pair in self.attributes.items() for word in pair):
            raise DataError(f"the attributes of product {self.item_id} are not names and texts: {self.attributes!r}")

    def _check(self) -> None:
        for name, values in (("photo_roles", self.photo_roles), ("core_boxes", self.core_boxes)):
            if len(values) != len(self.photos):
                raise DataError(f"product {self.item_id} has {len(self.photos)} photos but {len(values)} {name}")
        for role in self.photo_roles:
            if role not in self.PHOTO_ROLES:
                raise DataError(
                    f"product {self.item_id} has the photo role {role!r}; roles are {', '.join(self.PHOTO_ROLES)}",
                    suggestions=did_you_mean(role, self.PHOTO_ROLES),
                )

    @property
    def customer_places(self) -> list[int]:
        """Places of the photos to ask with: those by customers; where none is marked so, all after the first; of one photo,
        that one."""
        others = [place for place, role in enumerate(self.photo_roles) if place > 0 and role == "user"]
        return others or list(range(1, len(self.photos))) or list(range(len(self.photos)))

    @property
    def customer_photos(self) -> list[bytes]:
        """Photos to ask with, those at `customer_places`."""
        return [self.photos[place] for place in self.customer_places]

    def to_members(self, prefix: str = "") -> dict[str, Any]:
        """Members named ``{prefix}photo_0.jpg`` ... and ``{prefix}product.json``."""
        members: dict[str, Any] = {
            f"{prefix}photo_{number}.{image_extension(photo)}": photo for number, photo in enumerate(self.photos)
        }
        record = {
            "item_id": self.item_id,
            "spu_id": self.spu_id,
            "title": self.title,
            "description": self.description,
            "category": list(self.category),
            "attributes": self.attributes,
            "photo_roles": self.photo_roles,
            "core_boxes": [None if box is None else list(box) for box in self.core_boxes],
        }
        members[f"{prefix}product.json"] = record
        return members

    @classmethod
    def from_members(cls, members: Mapping[str, Any], prefix: str = "") -> Self:
        """The inverse of `to_members` with the same prefix."""
        record = record_of(members, f"{prefix}product.json")
        photos = [photo_of(members, f"{prefix}photo_{number}") for number in range(len(record.get("photo_roles", ())))]
        return _build(cls, record, photos=photos)

    def products(self) -> Iterator[Product]:
        """The products in this sample: itself."""
        yield self


@dataclass(slots=True)
class Search:
    """A query and the item that was bought (or clicked) for it.

    Args:
        item: What was chosen.
        query_text: Words typed, None for a search by photo alone.
        query_photo: Encoded photo, None for a search by words alone. At least one of the two is there.
        query_box: The wanted product's box in the query photo, None where unknown.
        behaviour: One of `BEHAVIOURS`.
        hard_negatives: Other items of the same leaf category that were not chosen.
    """

    kind: ClassVar[str] = "search"

    item: Product
    query_text: str | None = None
    query_photo: bytes | None = field(default=None, repr=False)
    query_box: Box | None = None
    behaviour: str = "purchase"
    hard_negatives: list[Product] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.query_text is None and self.query_photo is None:
            raise DataError(f"the search for item {self.item.item_id} has neither a text nor a photo")
        if self.behaviour not in BEHAVIOURS:
            raise DataError(
                f"unknown behaviour {self.behaviour!r}; known: {', '.join(BEHAVIOURS)}",
                suggestions=did_you_mean(self.behaviour, BEHAVIOURS),
            )
        self.query_box = None if self.query_box is None else _box(self.query_box)

    def to_members(self) -> dict[str, Any]:
        """``query.json``, the photo, the item under ``item_`` and hard negatives under ``negative_0_`` ..."""
        query = {
            "text": self.query_text,
            "photo": self.query_photo is not None,
            "box": None if self.query_box is None else list(self.query_box),
            "behaviour": self.behaviour,
            "hard_negatives": len(self.hard_negatives),
        }
        members: dict[str, Any] = {"query.json": query}
        if self.query_photo is not None:
            members[f"query_photo.{image_extension(self.query_photo)}"] = self.query_photo
        members |= self.item.to_members("item_")
        for number, negative in enumerate(self.hard_negatives):
            members |= negative.to_members(f"negative_{number}_")
        return members

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """The inverse of `to_members`."""
        query = record_of(members, "query.json")
        return cls(
            item=Product.from_members(members, "item_"),
            query_text=query.get("text"),
            query_photo=photo_of(members, "query_photo") if query.get("photo") else None,
            query_box=query.get("box"),
            behaviour=query.get("behaviour", "purchase"),
            hard_negatives=[
                Product.from_members(members, f"negative_{number}_") for number in range(query.get("hard_negatives", 0))
            ],
        )

    def products(self) -> Iterator[Product]:
        """The products in this sample: the item, then its hard negatives."""
        yield self.item
        yield from self.hard_negatives


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of kinds.

    Args:
        name: The kind.
        sample: Its dataclass.
        summary: One line for people.
        mark: The member that only samples of this kind have.
    """

    name: str
    sample: type[Any]
    summary: str
    mark: str


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("product", Product, "a product: photos, title, category, attributes", "product.json"),
        Kind("search", Search, "a query (text, photo or both) and the item chosen for it", "query.json"),
        Kind("instruction", Instruction, "a prompt with its risks and how it should be answered", "conversation.json"),
        Kind("preference", Preference, "two answers to a prompt, one of them judged the better", "preference.json"),
        Kind("follow_up", FollowUp, "a question, its answer and what is asked next, with knowledge", FOLLOW_UP_MEMBER),
        Kind(
            Impressions.kind, Impressions, "rows of what was shown to whom and whether it was clicked, as columns", MARK
        ),
    )
}


def kind_of(name: str) -> Kind:
    """The row of `KINDS` called ``name``.

    Raises:
        DataError: There is no such kind.
    """
    if name not in KINDS:
        raise DataError(f"unknown kind of sample {name!r}", suggestions=did_you_mean(name, KINDS))
    return KINDS[name]


def detect_kind(fields: Iterable[str]) -> str:
    """The kind of a sample whose set has no manifest, from the names of its members.

    Raises:
        DataError: They are of no known kind.
    """
    names = set(fields)
    for kind in KINDS.values():
        if kind.mark in names:
            return kind.name
    marks = ", ".join(f"{kind.mark} ({kind.name})" for kind in KINDS.values())
    raise DataError(
        f"the members {', '.join(sorted(names)) or 'of an empty sample'} are of no known kind of sample; one of "
        f"these must be there: {marks}",
        change="moon-zoo pack, to write the set in a known kind",
    )


def refuse_rows(kind: str, where: str) -> None:
    """Refuse tars of impressions without their manifest: only it says what the columns are and which value an id stands for.

    Raises:
        DataError: The samples are of kind ``impressions``.
    """
    if kind == Impressions.kind:
        raise DataError(
            "blocks of impressions cannot be read without their manifest, which says what the columns and ids mean",
            where=where,
            change="the path, to the folder with manifest.json; or pack the table again with moon-zoo pack impressions",
        )


def _build(cls: type[Product], record: Mapping[str, Any], photos: list[bytes]) -> Any:
    unknown = set(record) - set(Product.__dataclass_fields__)
    if unknown:
        raise DataError(f"product.json holds unknown fields: {', '.join(sorted(unknown))}")
    try:
        return cls(**record, photos=photos)
    except TypeError as error:
        raise DataError(f"product.json is incomplete: {error}") from error


def _box(box: Any) -> Box:
    corners = tuple(box) if hasattr(box, "__len__") and not isinstance(box, (str, Mapping)) else ()
    numbers = len(corners) == 4 and all(isinstance(corner, Real) for corner in corners)
    if not numbers or not (0 <= corners[0] < corners[2] <= 1 and 0 <= corners[1] < corners[3] <= 1):
        raise DataError(
            f"the box {corners or box!r} is not (left, top, right, bottom) inside the photo as fractions of its size",
            change="the box, or null where it is not known; moon-zoo pack boxes finds boxes of photos without one",
        )
    left, top, right, bottom = (float(corner) for corner in corners)
    return left, top, right, bottom
