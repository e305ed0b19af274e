"""Clothing: one function per leaf category, ``(pen, style, shape parameters)``."""

from __future__ import annotations

from moon_zoo.shop.drawing.geometry import Point, arc, box, ellipse, flip, lerp, mirror, smooth, turn
from moon_zoo.shop.drawing.pen import Pen

Shape = dict[str, float]


def t_shirt(pen: Pen, style: str, s: Shape) -> None:
    """Short sleeves, a crew or v neck."""
    half, hem = lerp(0.2, 0.26, s["width"]), lerp(0.8, 0.93, s["length"])
    flare = lerp(-0.01, 0.05, s["flare"])
    _sleeves(pen, half, 0.16, lerp(0.36, 0.5, s["sleeve"]), 0.14, 0.13)
    body = [(0.1, 0.1), (half, 0.16), (half - 0.005, 0.38), (half + flare * 0.5, 0.62), (half + flare, hem)]
    pen.fill(_torso(body), level=1.0)
    if style == "v-neck":
        neck: list[Point] = [(0.4, 0.1), (0.6, 0.1), (0.5, 0.29)]
        pen.fill(neck, "inside", level=0.8)
        pen.stroke([(0.4, 0.1), (0.5, 0.29), (0.6, 0.1)], 0.022, "trim")
    else:
        pen.fill(arc(0.5, 0.1, 0.1, 0.085, 0, 180), "inside", level=0.8)
        pen.stroke(arc(0.5, 0.1, 0.105, 0.09, 0, 180), 0.026, "trim")
    pen.seam([(0.5 - half - flare, hem - 0.03), (0.5 + half + flare, hem - 0.03)], 0.86)
    _folds(pen, half, hem)
    pen.brand(0.5 + half * 0.45, 0.34, 0.058)


def shirt(pen: Pen, style: str, s: Shape) -> None:
    """A collar, a button strip, long or short sleeves."""
    half, hem = lerp(0.2, 0.25, s["width"]), lerp(0.84, 0.94, s["length"])
    if style == "long-sleeved":
        _sleeves(pen, half, 0.17, lerp(0.76, 0.84, s["length"]), 0.1, 0.1, cuff=True)
    else:
        _sleeves(pen, half, 0.17, 0.42, 0.16, 0.14)
    body = [(0.09, 0.12), (half, 0.17), (half - 0.01, 0.45), (half, hem - 0.06), (half * 0.6, hem), (0.0, hem - 0.03)]
    pen.fill(_torso(body))
    reach = lerp(0.14, 0.2, s["collar"])
    pen.fill([(0.41, 0.1), (0.59, 0.1), (0.5, 0.22)], "inside", level=0.85)
    for side in (1, -1):
        pen.fill(
            _sided([(0.5, 0.21), (0.59, 0.09), (0.625, 0.13), (0.5 + reach * 0.55, 0.13 + reach * 0.75)], side), "trim"
        )
    pen.seam([(0.475, 0.22), (0.475, hem - 0.04)], 0.8)
    pen.seam([(0.525, 0.22), (0.525, hem - 0.04)], 0.8)
    for row in range(5):
        pen.dot(0.5, lerp(0.28, hem - 0.1, row / 4), 0.013, "white")
    if s["pocket"] > 0.5:
        pen.fill(box(0.335, 0.34, 0.435, 0.46, 0.015), "trim")
    pen.brand(0.5 + half * 0.52, 0.37, 0.052)
    _folds(pen, half, hem)


def hoodie(pen: Pen, style: str, s: Shape) -> None:
    """A hood, long sleeves, a pouch; a zip in one style."""
    half, hem = lerp(0.22, 0.27, s["width"]), lerp(0.84, 0.93, s["length"])
    hood = lerp(0.13, 0.18, s["hood"])
    _sleeves(pen, half, 0.22, lerp(0.78, 0.86, s["cuff"]), 0.125, 0.1, cuff=True)
    pen.fill(_torso([(0.08, 0.16), (half, 0.22), (half + 0.01, 0.5), (half, hem - 0.05)]))
    pen.fill(box(0.5 - half + 0.01, hem - 0.06, 0.5 + half - 0.01, hem, 0.015), "trim")
    pen.fill(
        smooth(mirror([(0.5, 0.04), (0.5 + hood * 0.8, 0.08), (0.5 + hood, 0.2), (0.5 + hood * 0.55, 0.3)])), level=0.96
    )
    pen.fill(
        smooth(mirror([(0.5, 0.085), (0.5 + hood * 0.5, 0.12), (0.5 + hood * 0.55, 0.2), (0.5, 0.28)])),
        "inside",
        level=0.7,
    )
    pouch = [(0.36, hem - 0.27), (0.64, hem - 0.27), (0.7, hem - 0.07), (0.3, hem - 0.07)]
    pen.fill(pouch, level=0.95, edge=0.62)
    if style == "zip-up":
        pen.stroke([(0.5, 0.28), (0.5, hem)], 0.016, "metal")
    else:
        for x in (0.46, 0.54):
            pen.stroke([(x, 0.27), (x - 0.01, 0.4)], 0.014, "accent")
    pen.brand(0.5 + half * 0.55, 0.4, 0.058)


def trousers(pen: Pen, style: str, s: Shape) -> None:
    """Two legs and a waistband."""
    waist, crotch = lerp(0.15, 0.18, s["waist"]), lerp(0.36, 0.42, s["rise"])
    hem = lerp(0.68, 0.76, s["length"]) if style == "cropped" else lerp(0.9, 0.95, s["length"])
    foot = {"slim": 0.085, "wide-leg": 0.165, "cropped": 0.12}[style] + 0.02 * s["hem"]
    outer = 0.2 + foot * 0.55
    for side in (-1, 1):
        leg = [(0.5, 0.08), (0.5 + waist, 0.08), (0.5 + waist + 0.045, 0.28), (0.5 + outer, hem)]
        leg += [(0.5 + outer - foot, hem), (0.515, crotch)]
        pen.fill(_sided(leg, side), shape="round", edge=0.6)
        pen.seam(_sided([(0.5 + outer, hem - 0.035), (0.5 + outer - foot, hem - 0.035)], side), 0.75)
        pen.seam(
            _sided([(0.5 + waist, 0.17), (0.5 + waist * 0.55, 0.22), (0.5 + waist * 0.45, 0.14)], side), 0.72, 0.009
        )
    pen.fill(box(0.5 - waist - 0.005, 0.06, 0.5 + waist + 0.005, 0.125, 0.01), "trim")
    pen.dot(0.5, 0.093, 0.016, "brass")
    pen.seam([(0.5, 0.125), (0.5, crotch)], 0.66, 0.008)
    pen.brand(0.5 + waist * 0.95, 0.335, 0.05)


def dress(pen: Pen, style: str, s: Shape) -> None:
    """A bodice, a waist and a skirt."""
    waist, hem = lerp(0.105, 0.14, s["waist"]), lerp(0.84, 0.95, s["length"])
    flare = lerp(0.2, 0.36, s["flare"])
    if style != "sleeveless":
        _sleeves(pen, 0.17, 0.12, 0.32 if style == "short-sleeved" else 0.58, 0.11, 0.09)
    top = 0.08 if style != "sleeveless" else 0.07
    body: list[Point] = [(0.085, top), (0.15, top + 0.02), (0.14, 0.2), (0.155, 0.28), (waist, 0.42)]
    pen.fill([*_torso([*body, (flare * 0.62, 0.64), (flare, hem)])])
    neck = lerp(0.07, 0.14, s["neck"])
    pen.fill(arc(0.5, top, 0.085, neck, 0, 180), "inside", level=0.85)
    pen.stroke(arc(0.5, top, 0.088, neck, 0, 180), 0.018, "accent")
    pen.fill(box(0.5 - waist - 0.012, 0.4, 0.5 + waist + 0.012, 0.45, 0.01), "accent")
    for fold in (-0.6, -0.2, 0.2, 0.6):
        pen.seam([(0.5 + fold * waist, 0.45), (0.5 + fold * flare, hem - 0.01)], 0.84, 0.009)
    pen.brand(0.5, 0.31, 0.048)


def skirt(pen: Pen, style: str, s: Shape) -> None:
    """A waistband and a straight, flared or pleated panel."""
    waist, hem = lerp(0.15, 0.19, s["waist"]), lerp(0.66, 0.88, s["length"])
    flare = lerp(0.2, 0.24, s["flare"]) if style == "straight" else lerp(0.32, 0.42, s["flare"])
    band = lerp(0.05, 0.085, s["band"])
    curve = 0.05 if style != "straight" else 0.0
    bottom = [(0.5 + flare * (1 - step / 4), hem + curve * (1 - (1 - step / 4) ** 2)) for step in range(5)]
    outline = mirror([(0.5 + waist, 0.14), (0.5 + (waist + flare) * 0.53, 0.36), *bottom])
    pen.fill(outline)
    if style == "pleated":
        for fold in range(-4, 5):
            level = 0.62 if fold % 2 else 1.25
            pen.seam([(0.5 + fold * waist / 4.6, 0.16), (0.5 + fold * flare / 4.6, hem + curve * 0.8)], level, 0.011)
    elif style == "flared":
        for at in (-0.65, -0.2, 0.3, 0.7):
            pen.seam([(0.5 + at * waist, 0.3), (0.5 + at * flare, hem + 0.02)], 0.8, 0.012)
    else:
        pen.seam([(0.5 + flare * 0.5, hem - 0.16), (0.5 + flare * 0.55, hem)], 0.55, 0.012)
    pen.fill(box(0.5 - waist - 0.008, 0.14 - band * 0.3, 0.5 + waist + 0.008, 0.14 + band * 0.7, 0.008), "accent")
    pen.brand(0.5 + waist * 0.75, 0.33, 0.052)


def socks(pen: Pen, style: str, s: Shape) -> None:
    """A pair, one behind the other."""
    top = {"ankle": 0.42, "crew-length": 0.2, "knee-high": 0.05}[style]
    half = lerp(0.075, 0.095, s["width"])
    for dx, level in ((0.19, 0.86), (0.0, 1.0)):
        _sock(pen, 0.3 + dx, top + dx * 0.12, half, s, level)
    pen.brand(0.3, top + (0.14 if style == "ankle" else 0.2), 0.05)


def _sock(pen: Pen, x: float, top: float, half: float, s: Shape, level: float) -> None:
    floor, toe = 0.88 - 0.4 * (x - 0.3), x + lerp(0.26, 0.33, s["foot"])
    leg: list[Point] = [
        (x - half, top),
        (x - half, floor - 0.22),
        (x - half - 0.01, floor - 0.08),
        (x - half + 0.04, floor),
    ]
    foot: list[Point] = [
        (toe - 0.04, floor),
        (toe + 0.02, floor - 0.06),
        (toe - 0.03, floor - 0.13),
        (x + half, floor - 0.22),
    ]
    outline = [(x - half, top), *smooth([*leg, *foot, (x + half, top)], closed=False)[6:]]
    pen.fill(outline, shape="round", level=level, edge=0.6)
    end = lerp(0.07, 0.1, s["toe"])
    pen.fill(
        smooth(
            [
                (toe - end, floor - 0.005),
                (toe - 0.04, floor),
                (toe + 0.02, floor - 0.06),
                (toe - 0.03, floor - 0.13),
                (toe - end, floor - 0.145),
            ],
            False,
        ),
        "accent",
        level=level,
    )
    pen.fill(
        smooth([(x - half - 0.01, floor - 0.1), (x - half + 0.035, floor), (x + 0.02, floor - 0.005)], False),
        "accent",
        level=level,
    )
    cuff = lerp(0.05, 0.085, s["cuff"])
    pen.fill(box(x - half - 0.006, top - 0.01, x + half + 0.006, top + cuff, 0.015), "accent", "round", level)
    for rib in range(1, 6):
        pen.seam([(x - half + rib * half / 3, top), (x - half + rib * half / 3, top + cuff)], 0.82)


def hat(pen: Pen, style: str, s: Shape) -> None:
    """A baseball cap, a beanie or a hat with a wide brim."""
    half, top = lerp(0.25, 0.3, s["width"]), lerp(0.3, 0.2, s["height"])
    {"baseball": _baseball_cap, "beanie": _beanie, "wide-brimmed": _wide_brimmed}[style](pen, half, top, s)


def _baseball_cap(pen: Pen, half: float, top: float, s: Shape) -> None:
    base, x = 0.64, 0.43
    reach = lerp(0.3, 0.37, s["brim"])
    pen.fill(
        smooth(
            [
                (x - half, base),
                (x - half * 0.9, base - 0.2),
                (x - 0.1, top),
                (x + 0.1, top),
                (x + half * 0.9, base - 0.2),
                (x + half, base),
                (x, base + 0.03),
            ]
        ),
        shape="ball",
    )
    brim = [
        (x - 0.02, base - 0.02),
        (x + half, base - 0.06),
        (x + half + reach * 0.75, base + 0.02),
        (x + half + reach * 0.7, base + 0.07),
    ]
    pen.fill(smooth([*brim, (x + half * 0.6, base + 0.05)]), "accent", level=0.95)
    for bend in (-0.6, 0.25):
        pen.seam(smooth([(x, top), (x + bend * half * 0.9, base - 0.18), (x + bend * half, base)], False), 0.78)
    pen.dot(x, top, 0.022, "accent")
    pen.brand(x + 0.03, base - 0.16, 0.075)


def _beanie(pen: Pen, half: float, top: float, s: Shape) -> None:
    cuff = lerp(0.12, 0.17, s["band"])
    pen.fill(
        smooth(
            mirror([(0.5, top - 0.04), (0.5 + half * 0.6, top + 0.03), (0.5 + half * 0.98, 0.52), (0.5 + half, 0.7)])
        ),
        shape="round",
    )
    for rib in (-0.55, -0.2, 0.2, 0.55):
        pen.seam(
            smooth(
                [(0.5 + rib * 0.1, top - 0.03), (0.5 + rib * half * 1.2, 0.45), (0.5 + rib * half * 1.4, 0.66)], False
            ),
            0.84,
        )
    if s["brim"] > 0.4:
        pen.fill(ellipse(0.5, top - 0.07, 0.085, 0.08), "accent", "ball")
    pen.fill(box(0.5 - half - 0.02, 0.72 - cuff, 0.5 + half + 0.02, 0.76, 0.04), "accent", "round")
    pen.brand(0.5, 0.74 - cuff / 2, 0.06)


def _wide_brimmed(pen: Pen, half: float, top: float, s: Shape) -> None:
    reach = lerp(0.38, 0.46, s["brim"])
    pen.fill(ellipse(0.5, 0.66, reach, 0.13), shape="tube")
    crown = [
        (0.5, top + 0.05),
        (0.5 + half * 0.45, top),
        (0.5 + half * 0.7, top + 0.08),
        (0.5 + half * 0.82, 0.62),
        (0.5, 0.69),
    ]
    pen.fill(smooth(mirror(crown)), shape="round")
    band = lerp(0.06, 0.1, s["band"])
    pen.fill(
        [*arc(0.5, 0.61, half * 0.84, 0.07, 0, 180), *arc(0.5, 0.61 - band, half * 0.8, 0.06, 180, 0)],
        "accent",
        "round",
    )
    pen.brand(0.5, top + 0.2, 0.06)


def scarf(pen: Pen, style: str, s: Shape) -> None:
    """Knotted with two hanging ends, or folded into a loop."""
    half = lerp(0.08, 0.11, s["width"])
    ends = lerp(0.78, 0.88, s["length"])
    drape = lerp(0.02, 0.09, s["drape"])
    fringe = lerp(0.04, 0.08, s["fringe"])
    if style == "knotted":
        pen.stroke(
            smooth([(0.3, 0.34), (0.27, 0.16), (0.5, 0.09), (0.73, 0.16), (0.7, 0.34)], False),
            half * 1.5,
            "trim",
            level=0.8,
        )
        tails = ((0.44 - drape, -6.0, ends - 0.06), (0.57 + drape, 7.0, ends))
        collar = smooth([(0.26, 0.24), (0.38, 0.38), (0.5, 0.42), (0.62, 0.38), (0.74, 0.24)], False)
    else:
        pen.stroke(smooth([(0.36, 0.5), (0.31, 0.22), (0.5, 0.1), (0.69, 0.22), (0.64, 0.5)], False), half * 2, "main")
        tails = ((0.36 - drape * 0.5, -2.0, ends - 0.04), (0.64 + drape * 0.5, 2.0, ends))
        collar = []
    for x, angle, end in tails:
        _tail(pen, x, angle, end, half, fringe)
    if collar:
        pen.stroke(collar, half * 1.7, "main", "tube")
        pen.fill(ellipse(0.5, 0.42, half * 1.05, half * 0.95), "main", "ball", edge=0.6)
    pen.brand(tails[1][0], ends - 0.2, 0.052)


def _tail(pen: Pen, x: float, angle: float, end: float, half: float, fringe: float) -> None:
    pen.fill(turn(box(x - half, 0.38, x + half, end), -angle, x, 0.38), shape="round", edge=0.62)
    for k in range(7):
        at = x - half + half * k / 3
        pen.stroke(turn([(at, end), (at, end + fringe)], -angle, x, 0.38), 0.012, "accent")


def _torso(half: list[Point]) -> list[Point]:
    """Mirror ``(distance from the middle, y)`` pairs into an outline."""
    return mirror([(0.5 + x, y) for x, y in half])


def _sleeves(
    pen: Pen, half: float, shoulder: float, end: float, upper: float, lower: float, cuff: bool = False
) -> None:
    """Both sleeves, from the shoulder down and outwards to ``end``; widths at the shoulder and at the wrist."""
    reach = 0.5 + min(half + (end - shoulder) * 0.42 + 0.03, 0.42)
    sleeve = [(0.5 + half - 0.06, shoulder - 0.035), (0.5 + half + 0.02, shoulder + 0.02)]
    sleeve += [
        (reach + lower * 0.5, end - 0.03),
        (reach - lower * 0.5, end),
        (0.5 + half - 0.03, shoulder + upper + 0.06),
    ]
    for side in (1, -1):
        pen.fill(_sided(sleeve, side), level=0.93, edge=0.6)
        if cuff:
            wrist = [sleeve[2], sleeve[3], (sleeve[3][0] - 0.012, end - 0.07), (sleeve[2][0] - 0.015, end - 0.1)]
            pen.fill(_sided(wrist, side), "trim")
        else:
            pen.seam(
                _sided([(reach + lower * 0.5 - 0.008, end - 0.055), (reach - lower * 0.5 - 0.008, end - 0.025)], side),
                0.85,
            )


def _folds(pen: Pen, half: float, hem: float) -> None:
    pen.seam(
        smooth([(0.5 - half + 0.02, 0.42), (0.5 - half * 0.6, 0.56), (0.5 - half * 0.7, hem - 0.1)], False), 0.88, 0.012
    )
    pen.seam(
        smooth([(0.5 + half - 0.02, 0.5), (0.5 + half * 0.65, 0.62), (0.5 + half * 0.5, hem - 0.12)], False),
        0.88,
        0.012,
    )


def _sided(points: list[Point], side: int) -> list[Point]:
    return points if side > 0 else flip(points)


SILHOUETTES = {
    "t-shirt": t_shirt,
    "shirt": shirt,
    "hoodie": hoodie,
    "trousers": trousers,
    "dress": dress,
    "skirt": skirt,
    "socks": socks,
    "hat": hat,
    "scarf": scarf,
}
