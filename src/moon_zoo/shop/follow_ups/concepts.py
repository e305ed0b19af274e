"""What is known in the shop's own encyclopedia: ways to care for things, surfaces, extras, crafts and repairs.

Tables only. A concept has a title of two words and an effect, said as a verb goes after *to*. Titles share no word with what is
asked and answered (`moon_zoo.shop.follow_ups.wordings`), nor with names of things.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import Final


@dataclass(frozen=True, slots=True)
class Concept:
    """Something that is known.

    Args:
        title: Two words.
        effect: What it does, as it is said after *to*.
    """

    title: str
    effect: str


GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "textile": ("t-shirt", "shirt", "hoodie", "trousers", "dress", "skirt", "socks", "hat", "cushion", "scarf"),
    "carried": ("sneaker", "boot", "pump", "sandal", "backpack", "handbag", "suitcase"),
    "ware": ("mug", "bottle", "vase", "teapot"),
    "room": ("lamp", "chair", "clock", "watch", "glasses", "umbrella", "headphones"),
}
"""Leaf categories whose things share their concepts."""

ASPECTS: Final = ("care", "surface", "company", "making", "repair")
"""What may be asked about a thing."""


def _table(*rows: tuple[str, str]) -> tuple[Concept, ...]:
    return tuple(starmap(Concept, rows))


CONCEPTS: Final[dict[tuple[str, str], tuple[Concept, ...]]] = {
    ("textile", "care"): _table(
        ("wool soap", "keep fibres soft"), ("mesh bag", "stop threads from snagging"),
        ("salt soak", "hold the dye in place"), ("cedar block", "drive moths away"),
        ("steam press", "take out creases"), ("vinegar rinse", "take out stale smells"),
        ("lint roller", "lift hair and fluff"), ("flat drying", "hold the shape"),
    ),
    ("textile", "surface"): _table(
        ("brushed nap", "trap warm air"), ("enzyme polish", "take loose fibres away"),
        ("wax coat", "let rain run off"), ("silicone softener", "let the cloth drape"),
        ("mercerised yarn", "give a silky shine"), ("plasma bath", "let colour sink in"),
        ("starch size", "keep the cloth crisp"), ("carbon print", "block the sun"),
    ),
    ("textile", "company"): _table(
        ("leather belt", "hold the waist"), ("silver brooch", "close an open fold"),
        ("thermal layer", "keep the body warm"), ("padded hanger", "spare the shoulders"),
        ("lavender sachet", "scent the drawer"), ("linen throw", "match the colour"),
        ("button kit", "replace a lost button"), ("travel roll", "save room in luggage"),
    ),
    ("textile", "making"): _table(
        ("ring spinning", "give a fine yarn"), ("indigo vat", "build a deep blue"),
        ("jacquard loom", "weave a pattern in"), ("circular knitting", "leave out side seams"),
        ("block printing", "repeat a motif"), ("laser cutting", "waste less cloth"),
        ("chain stitching", "let seams stretch"), ("garment dyeing", "give an even shade"),
    ),
    ("textile", "repair"): _table(
        ("darning egg", "close a hole"), ("iron patch", "cover a worn spot"), ("fabric glue", "mend a hem"),
        ("zip slider", "close a stuck zip"), ("elastic cord", "tighten a loose edge"),
        ("pill razor", "shave off small knots"), ("sashiko thread", "strengthen a thin spot"),
        ("dye pen", "hide a pale mark"),
    ),
    ("carried", "care"): _table(
        ("saddle balm", "keep leather supple"), ("suede eraser", "lift dark marks"),
        ("horsehair brush", "free the seams of mud"), ("silica packet", "draw out damp"),
        ("glycerine bar", "feed dry leather"), ("ozone locker", "take out stale smells"),
        ("rubber conditioner", "stop fine cracks"), ("microfibre mitt", "pick up fine grit"),
    ),
    ("carried", "surface"): _table(
        ("beeswax dressing", "let rain run off"), ("aniline dye", "show the natural grain"),
        ("tallow stuffing", "darken with use"), ("patent lacquer", "give a mirror shine"),
        ("nubuck sanding", "give a velvet touch"), ("ripstop grid", "stop tears from spreading"),
        ("nano shield", "keep stains out"), ("pebble embossing", "hide small scratches"),
    ),
    ("carried", "company"): _table(
        ("cedar tree", "hold the shape"), ("gel insole", "ease long walks"), ("luggage scale", "check the weight"),
        ("rain cover", "keep the inside dry"), ("packing cube", "sort small things"),
        ("shoulder pad", "spread the load"), ("spare laces", "replace a torn lace"),
        ("reflective band", "be seen at night"),
    ),
    ("carried", "making"): _table(
        ("goodyear welt", "let soles be replaced"), ("vegetable tanning", "age with beauty"),
        ("blake stitch", "keep the base thin"), ("vulcanised bond", "join rubber for good"),
        ("seam welding", "keep water out"), ("wooden moulding", "hold the shape"),
        ("saddle stitching", "hold if one thread breaks"), ("frame riveting", "carry heavy loads"),
    ),
    ("carried", "repair"): _table(
        ("heel cap", "silence a worn step"), ("edge paint", "seal a frayed rim"),
        ("contact cement", "stick a loose base"), ("waxed thread", "close an open seam"),
        ("wheel axle", "roll without noise"), ("buckle pin", "fasten a torn strap"),
        ("leather filler", "level a deep scratch"), ("eyelet press", "replace a lost ring"),
    ),
    ("ware", "care"): _table(
        ("citric powder", "dissolve lime"), ("foam wand", "reach the bottom"), ("baking soda", "lift tea stains"),
        ("rice shake", "scour a narrow neck"), ("oak rack", "let water drip off"),
        ("bamboo fibre", "spare the gloss"), ("fizzing tablet", "dissolve old stains"),
        ("lukewarm bath", "avoid sudden heat"),
    ),
    ("ware", "surface"): _table(
        ("tin glaze", "keep stains out"), ("salt glaze", "give an orange skin"),
        ("ash glaze", "run in green streams"), ("slip trailing", "raise fine lines"),
        ("powder coat", "resist hard knocks"), ("acid etching", "look like frost"),
        ("gold lustre", "catch the light"), ("cobalt brushwork", "keep the blue bright"),
    ),
    ("ware", "company"): _table(
        ("cork coaster", "spare the table"), ("mesh strainer", "catch loose leaves"),
        ("flower frog", "hold stems upright"), ("felt sleeve", "keep fingers cool"),
        ("honey spoon", "stir without noise"), ("tea candle", "keep drinks warm"), ("steel straw", "sip iced drinks"),
        ("serving tray", "carry several at once"),
    ),
    ("ware", "making"): _table(
        ("slip casting", "copy a shape"), ("wheel throwing", "leave fine rings"),
        ("wood firing", "draw flames on clay"), ("mouth blowing", "enclose tiny bubbles"),
        ("deep drawing", "shape one sheet of steel"), ("coil building", "allow large forms"),
        ("raku kiln", "crack the glaze on purpose"), ("press moulding", "repeat a relief"),
    ),
    ("ware", "repair"): _table(
        ("kintsugi lacquer", "show cracks in gold"), ("epoxy putty", "rebuild a chipped rim"),
        ("silicone ring", "stop a leak"), ("diamond file", "round a sharp chip"), ("milk cure", "seal fine cracks"),
        ("rattan wrap", "replace a lost handle"), ("spout tip", "end the dripping"),
        ("cap spring", "close tight again"),
    ),
    ("room", "care"): _table(
        ("goose feather", "reach narrow gaps"), ("lens fluid", "leave no streaks"), ("teak oil", "feed dry timber"),
        ("antistatic cloth", "keep fluff away"), ("compressed air", "blow out fine grit"),
        ("soft chamois", "restore the gleam"), ("beech soap", "deepen the grain"),
        ("alcohol swab", "take grease away"),
    ),
    ("room", "surface"): _table(
        ("anodised layer", "resist scratches"), ("shellac polish", "glow like amber"),
        ("titanium plating", "weigh almost nothing"), ("milk paint", "look gently worn"),
        ("hydrophobic film", "let rain run off"), ("brushed nickel", "hide finger marks"),
        ("velvet lacquer", "take glare away"), ("mirror chrome", "double the light"),
    ),
    ("room", "company"): _table(
        ("dimmer plug", "lower the light"), ("charging stand", "keep the battery full"),
        ("magnetic clasp", "close with one finger"), ("hard case", "survive a fall"),
        ("seat pad", "soften long evenings"), ("wall hook", "save floor space"), ("cable clip", "sort loose wires"),
        ("neck cord", "stay within reach"),
    ),
    ("room", "making"): _table(
        ("steam bending", "curve solid timber"), ("quartz movement", "keep time for years"),
        ("injection moulding", "repeat one form"), ("spot welding", "join thin metal"),
        ("sand casting", "give a rough skin"), ("dovetail joinery", "hold without screws"),
        ("acetate milling", "layer bright colours"), ("coil winding", "carry the sound"),
    ),
    ("room", "repair"): _table(
        ("hinge screw", "tighten a loose arm"), ("button cell", "start it again"),
        ("wood dowel", "steady a shaky leg"), ("foam ring", "soften a hard rim"),
        ("rib splint", "straighten a bent rod"), ("socket spring", "end a flicker"),
        ("scratch paste", "clear a dull spot"), ("strap pin", "hold a loose band"),
    ),
}  # fmt: skip
"""Group of things and aspect to its concepts, equally many everywhere."""

PER_CELL: Final = 8
"""Concepts of a group and aspect: who does not look up which one a thing has is right once in so many times."""
