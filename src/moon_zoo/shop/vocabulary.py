"""Which words, colours, brands and leaf categories the shop knows.

Tables only. A leaf category is a row of `LEAVES`; a person can name each at sight, and each has two or three *styles* a
person can see (crew-neck or v-neck). Brands are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "red": (204, 38, 46),
    "orange": (240, 128, 34),
    "yellow": (247, 205, 62),
    "green": (58, 148, 74),
    "olive": (112, 116, 54),
    "teal": (26, 142, 146),
    "blue": (48, 108, 204),
    "navy": (30, 42, 96),
    "purple": (124, 66, 164),
    "pink": (242, 148, 180),
    "brown": (122, 76, 46),
    "beige": (222, 200, 164),
    "grey": (146, 148, 152),
    "black": (38, 38, 42),
    "white": (244, 242, 236),
}

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet", "crimson"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "mustard", "lemon"),
    "green": ("green", "emerald"),
    "olive": ("olive", "khaki"),
    "teal": ("teal", "petrol"),
    "blue": ("blue", "cobalt"),
    "navy": ("navy", "dark blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "chocolate"),
    "beige": ("beige", "sand", "cream"),
    "grey": ("grey", "gray", "silver grey"),
    "black": ("black", "jet black"),
    "white": ("white", "ivory"),
}

PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid", "unicolour"),
    "striped": ("striped", "stripy", "with stripes"),
    "dotted": ("dotted", "polka dot", "with dots"),
    "checked": ("checked", "checkered", "plaid"),
    "zigzag": ("zigzag", "chevron"),
    "floral": ("floral", "flowered", "with flowers"),
    "colour-block": ("colour-block", "two-tone"),
}
PATTERNS = tuple(PATTERN_WORDS)

BRANDS: dict[str, str] = {
    "Aldera": "disc",
    "Brunvel": "ring",
    "Corvana": "triangle",
    "Dastri": "square",
    "Elmora": "diamond",
    "Fjelda": "star",
    "Grunella": "heart",
    "Halvex": "bolt",
    "Ilmaro": "moon",
    "Jorvela": "crown",
    "Kestari": "cross",
    "Lumbrix": "bars",
}
"""Brand name to the shape of its mark (`moon_zoo.shop.drawing.marks`)."""


def luminance(colour: Rgb) -> float:
    """Perceived brightness of an RGB colour (ITU-R BT.601 luma), 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


CLOTHES_SIZES = ("XS", "S", "M", "L", "XL")
SHOE_SIZES = tuple(str(size) for size in range(36, 47))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf category.

    Args:
        root: The category above it.
        name: Its name, one of the words of `nouns`.
        nouns: What people call such a product.
        styles: What a person sees at once; each is an adjective.
        materials: What it may be made of (`moon_zoo.shop.drawing.surfaces`).
        sizes: What a photo cannot show: sizes, capacities, lengths.
        shape: Names of the shape parameters, each drawn from ``[0, 1]`` for an SPU.
        extras: Words of sellers that say nothing a photo shows.
        patterns: Surface patterns it comes in.
    """

    root: str
    name: str
    nouns: tuple[str, ...]
    styles: tuple[str, ...]
    materials: tuple[str, ...]
    sizes: tuple[str, ...]
    shape: tuple[str, ...]
    extras: tuple[str, ...]
    patterns: tuple[str, ...] = PATTERNS

    @property
    def path(self) -> tuple[str, str]:
        """The category path of `moon_zoo.data.kinds.Product`."""
        return self.root, self.name


_WEAR = ("machine washable", "for everyday", "regular fit", "new season", "organic")
_SHOES = ("cushioned", "for wide feet", "non-slip", "for everyday", "waterproof")
_BAGS = ("water-repellent", "with inner pocket", "for travel", "lightweight", "for work")
_HOME = ("gift idea", "handmade", "dishwasher safe", "for the kitchen", "new design")
_ROOM = ("gift idea", "handmade", "for the living room", "easy to clean", "new design")
_ACCESSORIES = ("gift idea", "unisex", "with case", "limited edition", "for everyday")
_LITRES = ("15 l", "20 l", "25 l", "30 l", "40 l")
_MILLILITRES = ("250 ml", "350 ml", "500 ml", "750 ml", "1 l")
_CENTIMETRES = ("20 cm", "30 cm", "40 cm", "50 cm", "60 cm")

LEAVES: tuple[Leaf, ...] = (
    Leaf(
        "clothing", "t-shirt", ("t-shirt", "tee", "tee shirt"), ("crew-neck", "v-neck"),
        ("cotton", "linen", "jersey"), CLOTHES_SIZES, ("width", "length", "sleeve", "flare"), _WEAR,
    ),
    Leaf(
        "clothing", "shirt", ("shirt", "button-up shirt", "button-down"), ("long-sleeved", "short-sleeved"),
        ("cotton", "linen", "denim"), CLOTHES_SIZES, ("width", "length", "collar", "pocket"), _WEAR,
    ),
    Leaf(
        "clothing", "hoodie", ("hoodie", "hooded sweatshirt"), ("pullover", "zip-up"),
        ("cotton", "fleece", "jersey"), CLOTHES_SIZES, ("width", "length", "hood", "cuff"), _WEAR,
    ),
    Leaf(
        "clothing", "trousers", ("trousers", "pants"), ("slim", "wide-leg", "cropped"),
        ("denim", "cotton", "linen"), CLOTHES_SIZES, ("waist", "length", "rise", "hem"), _WEAR,
    ),
    Leaf(
        "clothing", "dress", ("dress", "gown"), ("sleeveless", "short-sleeved", "long-sleeved"),
        ("cotton", "linen", "silk"), CLOTHES_SIZES, ("waist", "length", "flare", "neck"), _WEAR,
    ),
    Leaf(
        "clothing", "skirt", ("skirt",), ("straight", "flared", "pleated"),
        ("cotton", "denim", "silk"), CLOTHES_SIZES, ("waist", "length", "flare", "band"), _WEAR,
    ),
    Leaf(
        "clothing", "socks", ("socks", "pair of socks"), ("ankle", "crew-length", "knee-high"),
        ("cotton", "wool", "knit"), ("35-38", "39-42", "43-46"), ("width", "foot", "cuff", "toe"), _WEAR,
    ),
    Leaf(
        "clothing", "hat", ("hat", "headwear"), ("baseball", "beanie", "wide-brimmed"),
        ("cotton", "wool", "felt"), ("54 cm", "56 cm", "58 cm", "60 cm"), ("height", "width", "brim", "band"), _WEAR,
    ),
    Leaf(
        "shoes", "sneaker", ("sneaker", "trainer", "running shoe"), ("low-top", "high-top"),
        ("canvas", "leather", "mesh"), SHOE_SIZES, ("sole", "toe", "tongue", "heel"), _SHOES,
    ),
    Leaf(
        "shoes", "boot", ("boot", "winter boot"), ("ankle", "tall"),
        ("leather", "suede", "rubber"), SHOE_SIZES, ("shaft", "heel", "toe", "sole"), _SHOES,
    ),
    Leaf(
        "shoes", "pump", ("pump", "high heel", "heeled shoe"), ("stiletto", "block-heel"),
        ("leather", "suede", "satin"), SHOE_SIZES, ("heel", "toe", "cut", "sole"), _SHOES,
    ),
    Leaf(
        "shoes", "sandal", ("sandal", "summer shoe"), ("slide", "flip-flop"),
        ("leather", "rubber", "suede"), SHOE_SIZES, ("sole", "strap", "arch", "buckle"), _SHOES,
    ),
    Leaf(
        "bags", "backpack", ("backpack", "rucksack", "daypack"), ("classic", "roll-top"),
        ("canvas", "nylon", "leather"), _LITRES, ("width", "height", "pocket", "straps"), _BAGS,
    ),
    Leaf(
        "bags", "handbag", ("handbag", "purse", "shoulder bag"), ("tote", "satchel", "bucket"),
        ("leather", "suede", "canvas"), ("5 l", "8 l", "12 l"), ("width", "height", "handle", "flap"), _BAGS,
    ),
    Leaf(
        "bags", "suitcase", ("suitcase", "trolley", "travel case"), ("hard-shell", "soft-sided"),
        ("plastic", "nylon", "aluminium"), ("35 l", "60 l", "90 l"), ("width", "height", "handle", "corner"), _BAGS,
    ),
    Leaf(
        "home", "mug", ("mug", "cup", "coffee cup"), ("straight", "rounded", "flared"),
        ("ceramic", "enamel", "stoneware"), _MILLILITRES[:3], ("width", "height", "handle", "rim"), _HOME,
    ),
    Leaf(
        "home", "bottle", ("bottle", "water bottle", "flask"), ("wide-necked", "slim-necked", "looped"),
        ("steel", "plastic", "glass"), _MILLILITRES[1:], ("width", "height", "shoulder", "cap"), _HOME,
    ),
    Leaf(
        "home", "lamp", ("lamp", "table lamp", "light"), ("cone-shade", "drum-shade", "dome-shade"),
        ("linen", "metal", "glass"), _CENTIMETRES, ("shade", "height", "base", "stem"), _ROOM,
    ),
    Leaf(
        "home", "chair", ("chair", "seat"), ("slatted", "upholstered", "round-backed"),
        ("wood", "metal", "plastic"), ("seat 42 cm", "seat 45 cm", "seat 48 cm"),
        ("width", "back", "legs", "seat"), _ROOM,
    ),
    Leaf(
        "home", "vase", ("vase", "flower vase"), ("bulbous", "slender", "amphora"),
        ("ceramic", "glass", "stoneware"), _CENTIMETRES[:3], ("belly", "neck", "lip", "height"), _ROOM,
    ),
    Leaf(
        "home", "cushion", ("cushion", "throw pillow", "pillow"), ("square", "round", "oblong"),
        ("cotton", "velvet", "linen", "knit"), _CENTIMETRES[1:], ("puff", "ratio", "piping", "tassels"), _ROOM,
    ),
    Leaf(
        "home", "teapot", ("teapot", "tea pot"), ("round", "tall", "flat"),
        ("ceramic", "stoneware", "enamel"), ("for 2 cups", "for 4 cups", "for 6 cups"),
        ("belly", "spout", "handle", "lid"), _HOME,
    ),
    Leaf(
        "home", "clock", ("clock", "wall clock"), ("round", "square", "alarm"),
        ("metal", "wood", "plastic"), _CENTIMETRES[:3], ("rim", "ticks", "hands", "width"), _ROOM,
    ),
    Leaf(
        "accessories", "watch", ("watch", "wristwatch"), ("round", "square"),
        ("leather", "metal", "rubber"), ("36 mm", "40 mm", "44 mm"), ("case", "strap", "ticks", "lugs"), _ACCESSORIES,
    ),
    Leaf(
        "accessories", "glasses", ("glasses", "spectacles", "sunglasses"), ("round", "square", "cat-eye"),
        ("plastic", "metal", "wood"), ("narrow", "medium", "wide"), ("lens", "bridge", "frame", "tint"), _ACCESSORIES,
        ("plain", "striped", "dotted", "checked", "colour-block"),
    ),
    Leaf(
        "accessories", "umbrella", ("umbrella", "parasol"), ("crook-handled", "straight-handled"),
        ("nylon", "cotton", "satin"), ("90 cm", "100 cm", "120 cm"),
        ("dome", "scallop", "shaft", "width"), _ACCESSORIES,
    ),
    Leaf(
        "accessories", "scarf", ("scarf", "shawl", "wrap"), ("knotted", "folded"),
        ("wool", "knit", "silk"), ("150 cm", "180 cm", "200 cm"), ("width", "length", "fringe", "drape"), _ACCESSORIES,
    ),
    Leaf(
        "accessories", "headphones", ("headphones", "headset"), ("over-ear", "on-ear"),
        ("plastic", "metal", "leather"), ("20 h battery", "30 h battery", "40 h battery"),
        ("band", "cups", "width", "pads"), _ACCESSORIES,
    ),
)  # fmt: skip
