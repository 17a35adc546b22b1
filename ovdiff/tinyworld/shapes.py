"""The twelve things of the drawn world. Each thing is drawn as a list of coloured polygons.

In a thing's frame x points right and y down, and the thing fills about [-0.5, 0.5] in its larger direction. A thing
consists of polygons alone, so its description can be rendered at any size, and its mask is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class ColouredPolygon:
    """A filled polygon: ``points`` are (K, 2) as (x, y), and ``rgb`` is its colour, 0 to 255."""

    points: NDArray[np.float64]
    rgb: Rgb


DARK: Rgb = (35, 32, 40)
WHITE: Rgb = (248, 248, 244)
WOOD: Rgb = (120, 78, 45)
GLASS: Rgb = (188, 226, 240)
STEEL: Rgb = (150, 150, 158)
CREAM: Rgb = (244, 232, 205)
BEAK: Rgb = (245, 150, 30)


def shade(rgb: Rgb, factor: float) -> Rgb:
    """Darken (factor < 1) or lighten (factor > 1, towards white) a colour."""
    if factor <= 1:
        red, green, blue = (round(c * factor) for c in rgb)
    else:
        red, green, blue = (round(c + (255 - c) * (factor - 1)) for c in rgb)
    return red, green, blue


def _poly(rgb: Rgb, *points: tuple[float, float]) -> ColouredPolygon:
    return ColouredPolygon(np.array(points, dtype=np.float64), rgb)


def _rect(rgb: Rgb, x0: float, y0: float, x1: float, y1: float) -> ColouredPolygon:
    return _poly(rgb, (x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _arc(cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360) -> NDArray[np.float64]:
    """Return the points of an elliptic arc. Angles are in degrees, clockwise on the screen from the right."""
    angles = np.radians(np.linspace(start, stop, max(4, int(abs(stop - start) / 9))))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def _ellipse(rgb: Rgb, cx: float, cy: float, rx: float, ry: float) -> ColouredPolygon:
    return ColouredPolygon(_arc(cx, cy, rx, ry), rgb)


def _ball(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    parts = [_ellipse(rgb, 0, 0, 0.5, 0.5)]
    turn = rng.uniform(0, 120)
    for sector in range(3):
        start = turn + 120 * sector
        rim = _arc(0, 0, 0.5, 0.5, start, start + 60)
        parts.append(ColouredPolygon(np.vstack([[[0.0, 0.0]], rim]), WHITE))
    return [*parts, _ellipse(shade(rgb, 0.7), 0, 0, 0.1, 0.1)]


def _car(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    roof = rng.uniform(0.14, 0.2)
    return [
        _poly(rgb, (-0.32, -0.08), (-0.2, -0.1 - roof), (0.14, -0.1 - roof), (0.3, -0.08)),
        _poly(rgb, (-0.5, -0.06), (-0.44, -0.1), (0.44, -0.1), (0.5, -0.02), (0.5, 0.17), (-0.5, 0.17)),
        _poly(GLASS, (-0.25, -0.08), (-0.17, -0.06 - roof), (-0.04, -0.06 - roof), (-0.04, -0.08)),
        _poly(GLASS, (0.01, -0.08), (0.01, -0.06 - roof), (0.12, -0.06 - roof), (0.22, -0.08)),
        _rect((255, 236, 130), 0.43, -0.02, 0.5, 0.06),
        _ellipse(DARK, -0.27, 0.16, 0.13, 0.13),
        _ellipse(DARK, 0.27, 0.16, 0.13, 0.13),
        _ellipse(STEEL, -0.27, 0.16, 0.055, 0.055),
        _ellipse(STEEL, 0.27, 0.16, 0.055, 0.055),
    ]


def _house(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    roof = shade((150, 60, 45), rng.uniform(0.8, 1.1))
    door = rng.choice([-0.2, 0.0, 0.2])
    window = 0.2 if door <= 0 else -0.2
    return [
        _rect(shade(roof, 0.8), 0.2, -0.48, 0.3, -0.2),
        _rect(rgb, -0.4, -0.1, 0.4, 0.48),
        _poly(roof, (-0.5, -0.08), (0.0, -0.5), (0.5, -0.08)),
        _rect(WOOD, door - 0.09, 0.16, door + 0.09, 0.48),
        _rect(WHITE, window - 0.12, 0.02, window + 0.12, 0.24),
        _rect(GLASS, window - 0.085, 0.055, window + 0.085, 0.205),
    ]


def _tree(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    lean = rng.uniform(-0.04, 0.04)
    dark = shade(rgb, 0.8)
    return [
        _poly(WOOD, (-0.07, 0.05), (0.07, 0.05), (0.09, 0.5), (-0.09, 0.5)),
        _ellipse(dark, -0.19 + lean, -0.02, 0.2, 0.19),
        _ellipse(dark, 0.19 + lean, -0.02, 0.2, 0.19),
        _ellipse(rgb, lean, -0.2, 0.29, 0.3),
        _ellipse(shade(rgb, 1.2), lean - 0.09, -0.29, 0.12, 0.11),
    ]


def _boat(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    sail = (WHITE, CREAM, (255, 244, 214))[rng.integers(3)]
    return [
        _rect(WOOD, -0.03, -0.48, 0.02, 0.2),
        _poly(sail, (0.04, -0.44), (0.04, 0.12), (0.4, 0.12)),
        _poly(shade(sail, 0.86), (-0.05, -0.34), (-0.05, 0.12), (-0.32, 0.12)),
        _poly(rgb, (-0.5, 0.17), (0.5, 0.17), (0.34, 0.42), (-0.34, 0.42)),
        _poly(shade(rgb, 0.7), (-0.5, 0.17), (0.5, 0.17), (0.47, 0.22), (-0.47, 0.22)),
    ]


def _fish(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    fin = shade(rgb, 0.75)
    stripe = rng.uniform(-0.06, 0.06)
    return [
        _poly(fin, (-0.24, 0.0), (-0.5, -0.22), (-0.43, 0.0), (-0.5, 0.22)),
        _poly(fin, (-0.12, -0.18), (0.1, -0.34), (0.16, -0.16)),
        _ellipse(rgb, 0.08, 0, 0.4, 0.24),
        _poly(WHITE, (stripe, -0.2), (stripe + 0.08, -0.2), (stripe + 0.08, 0.2), (stripe, 0.2)),
        _poly(fin, (0.06, 0.04), (-0.1, 0.16), (0.1, 0.14)),
        _ellipse(WHITE, 0.3, -0.07, 0.075, 0.075),
        _ellipse(DARK, 0.315, -0.07, 0.04, 0.04),
    ]


def _bird(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    lift = rng.uniform(0.3, 0.46)
    wing = shade(rgb, 0.68)
    return [
        _poly(wing, (-0.2, 0.02), (-0.5, -0.08), (-0.47, 0.14)),
        _poly(BEAK, (0.36, -0.1), (0.5, -0.03), (0.36, 0.02)),
        _ellipse(rgb, -0.02, 0.06, 0.28, 0.18),
        _ellipse(rgb, 0.26, -0.05, 0.15, 0.15),
        _poly(wing, (0.12, 0.03), (-0.14, 0.1), (-0.3, -lift), (-0.02, -lift * 0.62)),
        _ellipse(shade(rgb, 1.55), 0.04, 0.14, 0.17, 0.07),
        _ellipse(WHITE, 0.3, -0.08, 0.05, 0.05),
        _ellipse(DARK, 0.31, -0.08, 0.03, 0.03),
    ]


def _balloon(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    sway = rng.uniform(-0.08, 0.08)
    return [
        _poly(DARK, (-0.012, 0.2), (0.012, 0.2), (sway + 0.012, 0.5), (sway - 0.012, 0.5)),
        _poly(shade(rgb, 0.75), (0.0, 0.14), (-0.07, 0.23), (0.07, 0.23)),
        _ellipse(rgb, 0, -0.16, 0.28, 0.34),
        _ellipse(shade(rgb, 1.6), -0.11, -0.29, 0.06, 0.09),
    ]


def _mug(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    ring = np.vstack([_arc(0.2, 0.03, 0.27, 0.25, -90, 90), _arc(0.2, 0.03, 0.15, 0.14, 90, -90)])
    half = rng.uniform(0.28, 0.32)
    return [
        ColouredPolygon(ring, shade(rgb, 0.82)),
        _poly(rgb, (-0.08 - half, -0.36), (-0.08 + half, -0.36), (-0.1 + half, 0.42), (-0.06 - half, 0.42)),
        _ellipse(shade(rgb, 0.82), -0.07, 0.42, half - 0.02, 0.06),
        _ellipse(shade(rgb, 1.35), -0.08, -0.36, half, 0.1),
        _ellipse((70, 42, 25), -0.08, -0.35, half - 0.05, 0.065),
    ]


def _umbrella(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    hook = np.vstack([_arc(0.09, 0.4, 0.11, 0.1, 180, 0), _arc(0.09, 0.4, 0.055, 0.05, 0, 180)])
    parts = [
        _rect(WOOD, -0.025, -0.46, 0.025, 0.41),
        ColouredPolygon(hook, WOOD),
        ColouredPolygon(_arc(0, 0.02, 0.5, 0.42, 180, 360), rgb),
    ]
    light = shade(rgb, rng.uniform(1.45, 1.65))
    for centre, half in ((-0.25, 0.085), (0.25, 0.085)):
        parts.append(_poly(light, (0, -0.4), (centre - half, 0.02), (centre + half, 0.02)))
    scallops = [_ellipse(shade(rgb, 0.75), -0.375 + 0.25 * i, 0.02, 0.125, 0.045) for i in range(4)]
    return [*parts, *scallops]


def _mushroom(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    parts = [
        _poly(CREAM, (-0.13, -0.05), (0.13, -0.05), (0.18, 0.48), (-0.18, 0.48)),
        ColouredPolygon(_arc(0, 0.04, 0.48, 0.5, 180, 360), rgb),
        _ellipse(shade(CREAM, 0.85), 0, 0.04, 0.48, 0.07),
    ]
    shift = rng.uniform(-0.04, 0.04)
    for x, y, r in ((-0.26, -0.1, 0.08), (0.02, -0.27, 0.1), (0.27, -0.12, 0.075), (0.0, -0.06, 0.055)):
        parts.append(_ellipse(WHITE, x + shift, y, r, r * 0.9))
    return parts


def _clock(rgb: Rgb, rng: np.random.Generator) -> list[ColouredPolygon]:
    parts = [_ellipse(rgb, 0, 0, 0.5, 0.5), _ellipse(WHITE, 0, 0, 0.385, 0.385)]
    for hour in range(0, 360, 90):
        x, y = np.cos(np.radians(hour)), np.sin(np.radians(hour))
        parts.append(_ellipse(DARK, 0.31 * x, 0.31 * y, 0.045, 0.045))
    for angle, length, width in ((rng.uniform(0, 360), 0.2, 0.04), (rng.uniform(0, 360), 0.29, 0.03)):
        tip = length * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        side = width * np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
        parts.append(ColouredPolygon(np.stack([side, tip + side * 0.6, tip - side * 0.6, -side]), DARK))
    return [*parts, _ellipse(DARK, 0, 0, 0.055, 0.055)]


SHAPES: dict[str, Callable[[Rgb, np.random.Generator], list[ColouredPolygon]]] = {
    "ball": _ball,
    "car": _car,
    "house": _house,
    "tree": _tree,
    "boat": _boat,
    "fish": _fish,
    "bird": _bird,
    "balloon": _balloon,
    "mug": _mug,
    "umbrella": _umbrella,
    "mushroom": _mushroom,
    "clock": _clock,
}
