"""The drawn world: descriptions of scenes, and their rendering at any size with exact label maps.

A :class:`Scene` is a description in normalised coordinates, and :func:`render` draws it. Each split has a random stream
of its own, so a scene of one split never occurs in another. ``python -m ovdiff.tinyworld.world OUT.png`` draws a sheet
of 48 scenes, in seconds.
"""

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ovdiff.tinyworld.shapes import SHAPES, ColouredPolygon, Rgb, shade

Split = Literal["train", "thresholds", "test"]
Box = tuple[float, float, float, float]

THINGS = tuple(SHAPES)
STUFF = ("sky", "grass", "sand", "water", "wall", "snow", "road")
UNNAMED = ("floor", "mountain")
"""Regions that are drawn but are in no vocabulary, so that scenes have background."""
NAMES = (*THINGS, *STUFF, *UNNAMED)
"""A label map holds indices into this tuple."""
COLOURS: dict[str, Rgb] = {
    "red": (214, 40, 40),
    "orange": (244, 132, 28),
    "yellow": (250, 208, 40),
    "green": (46, 150, 66),
    "blue": (40, 84, 208),
    "purple": (134, 58, 172),
    "pink": (244, 130, 176),
    "white": (240, 240, 240),
}
_FOLIAGE = ("green", "green", "green", "orange", "yellow", "red", "pink")
_SUPERSAMPLING = 4
_SPLITS: tuple[Split, ...] = ("train", "thresholds", "test")

_SURFACES: dict[str, tuple[str, ...]] = {
    "ball": ("grass", "sand", "snow", "road", "floor", "floor"),
    "car": ("road", "road", "road", "grass", "sand", "snow"),
    "house": ("grass", "snow", "sand", "road"),
    "tree": ("grass", "snow", "sand"),
    "boat": ("water",),
    "fish": ("water",),
    "bird": ("sky", "sky", "sky", "grass", "sand", "snow"),
    "balloon": ("sky", "sky", "wall"),
    "mug": ("floor", "floor", "floor", "grass", "sand", "snow"),
    "umbrella": ("sand", "grass", "floor", "road"),
    "mushroom": ("grass", "grass", "snow", "sand"),
    "clock": ("wall", "wall", "wall", "floor", "grass", "sand"),
}
_FLOATS = ("sky", "wall", "water")
"""The surfaces in which things float: such a thing lies inside the band and does not stand on it."""


@dataclass(frozen=True)
class Band:
    """A horizontal region from ``top`` to ``bottom``, which are fractions of the scene's height."""

    name: str
    top: float
    bottom: float
    rgb: Rgb


@dataclass(frozen=True)
class Placement:
    """The place of one thing. Centre and size are fractions of the scene's side; ``angle`` is in degrees."""

    name: str
    colour: str
    rgb: Rgb
    centre_xy: tuple[float, float]
    size: float
    angle: float
    flip: bool
    seed: int

    def polygons(self) -> list[ColouredPolygon]:
        """Return the thing's polygons in scene coordinates."""
        turn = np.radians(self.angle)
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        mirror = np.array([-1.0 if self.flip else 1.0, 1.0])
        parts = SHAPES[self.name](self.rgb, np.random.default_rng(self.seed))
        offset = np.array(self.centre_xy)
        return [ColouredPolygon((p.points * mirror * self.size) @ rotation + offset, p.rgb) for p in parts]

    def box(self) -> Box:
        """Return (x0, y0, x1, y1) in scene coordinates."""
        points = np.vstack([polygon.points for polygon in self.polygons()])
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True)
class Scene:
    """A square scene: its regions and its things, both from back to front, and the seed of its texture."""

    bands: tuple[Band, ...]
    things: tuple[Placement, ...]
    seed: int


@dataclass(frozen=True)
class Rendering:
    """A drawn scene.

    ``image`` is (S, S, 3) uint8 RGB. ``owners`` is (S, S) uint8: for each pixel the part of the scene that it shows, as
    an index into ``scene.bands + scene.things``.
    """

    scene: Scene
    image: NDArray[np.uint8]
    owners: NDArray[np.uint8]

    @property
    def label_map(self) -> NDArray[np.uint8]:
        """The label map (S, S) uint8 of indices into :data:`NAMES`."""
        parts: list[Band | Placement] = [*self.scene.bands, *self.scene.things]
        return np.array([NAMES.index(part.name) for part in parts], dtype=np.uint8)[self.owners]

    def mask(self, name: str, colour: str | None = None) -> NDArray[np.bool_]:
        """Return the mask (S, S) bool of the things or regions of a name, or of those that also have a given colour."""
        parts: list[Band | Placement] = [*self.scene.bands, *self.scene.things]
        wanted = [
            i for i, part in enumerate(parts)
            if part.name == name and colour in (None, getattr(part, "colour", None))
        ]  # fmt: skip
        return np.isin(self.owners, wanted)

    def visible(self, min_share: float = 0.01) -> list[str]:
        """Return the names that cover at least ``min_share`` of the pixels, in the order of :data:`NAMES`."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(NAMES))
        return [name for name, n in zip(NAMES, counts, strict=True) if n >= min_share * self.owners.size]


def sample_scene(index: int, split: Split = "train", things: int | None = None) -> Scene:
    """Draw scene ``index`` of a split.

    Args:
        index: the scene's number, from 0; the same number gives the same scene.
        split: ``train``, ``thresholds`` or ``test``; their random streams are separate.
        things: how many things to place; fewer are placed if they do not fit. With ``None``, 62 % of scenes get one
            thing, 14 % none, and 24 % two or three.
    """
    rng = np.random.default_rng([_SPLITS.index(split), index])
    if things is None:
        things = int(rng.choice([0, 1, 2, 3], p=[0.14, 0.62, 0.14, 0.10]))
    # The first thing is drawn before the place, so that every thing is as frequent as any other.
    first = str(rng.choice(THINGS)) if things else None
    bands = _sample_bands(rng, str(rng.choice(_SURFACES[first])) if first else None)
    placed: list[Placement] = []
    for attempt in range(8 * things):
        if len(placed) == things:
            break
        name = first if attempt < 8 and not placed else str(rng.choice(THINGS))
        candidate = _place(rng, name or "ball", bands, crowd=things)
        if candidate and all(_overlap(candidate.box(), other.box()) < 0.12 for other in placed):
            placed.append(candidate)
    placed.sort(key=lambda thing: thing.box()[3])
    return Scene(bands, tuple(placed), int(rng.integers(2**31)))


def _jitter(rng: np.random.Generator, rgb: Rgb, spread: float = 14) -> Rgb:
    red, green, blue = (int(np.clip(c + rng.normal(0, spread), 0, 255)) for c in rgb)
    return red, green, blue


_STUFF_RGB: dict[str, tuple[Rgb, ...]] = {
    "sky": ((126, 190, 240), (164, 214, 250), (246, 188, 150), (188, 206, 226)),
    "grass": ((98, 176, 72), (128, 190, 84), (84, 154, 78)),
    "sand": ((230, 206, 150), (220, 190, 128), (238, 218, 174)),
    "water": ((44, 112, 176), (30, 134, 160), (60, 128, 200)),
    "wall": ((216, 180, 168), (196, 208, 178), (206, 196, 222), (222, 214, 180), (176, 192, 208)),
    "snow": ((236, 242, 250), (224, 234, 246)),
    "road": ((92, 92, 98), (112, 110, 112)),
    "floor": ((164, 112, 68), (140, 92, 58), (186, 140, 92)),
    "mountain": ((126, 112, 134), (108, 118, 124)),
}


def _band(rng: np.random.Generator, name: str, top: float, bottom: float) -> Band:
    choices = _STUFF_RGB[name]
    return Band(name, top, bottom, _jitter(rng, choices[int(rng.integers(len(choices)))], 7))


def _sample_bands(rng: np.random.Generator, surface: str | None) -> tuple[Band, ...]:
    """Choose the regions of a scene that has ``surface`` among them. A few scenes have only that one region."""
    surface = surface or str(rng.choice([*STUFF, "floor"]))
    if rng.random() < 0.15:
        return (_band(rng, surface, 0, 1),)
    if surface in ("wall", "floor"):
        edge = rng.uniform(0.5, 0.8) if surface == "wall" else rng.uniform(0.25, 0.6)
        return _band(rng, "wall", 0, edge), _band(rng, "floor", edge, 1)
    ground = surface if surface != "sky" else str(rng.choice(["grass", "sand", "snow", "road", "water"]))
    horizon = rng.uniform(0.5, 0.8) if surface == "sky" else rng.uniform(0.2, 0.55)
    bands = [_band(rng, "sky", 0, horizon)]
    if rng.random() < 0.3:
        bands.append(_band(rng, "mountain", max(0.05, horizon - rng.uniform(0.15, 0.3)), horizon))
    bands.append(_band(rng, ground, horizon, 1))
    if rng.random() < 0.35:
        others = [s for s in ("grass", "sand", "snow", "road", "water") if s != ground]
        edge = rng.uniform(horizon + 0.55 * (1 - horizon), 0.92)
        bands.append(_band(rng, str(rng.choice(others)), edge, 1))
    return tuple(bands)


def _place(rng: np.random.Generator, name: str, bands: tuple[Band, ...], crowd: int) -> Placement | None:
    spots = [b for b in _visible_bands(bands) if b.name in _SURFACES[name] and b.bottom - b.top > 0.12]
    if not spots:
        return None
    band = spots[int(rng.integers(len(spots)))]
    size = rng.uniform(0.3, 0.68) if crowd == 1 else rng.uniform(0.22, 0.42)
    colour = str(rng.choice(_FOLIAGE if name == "tree" else tuple(COLOURS)))
    angle = rng.normal(0, 20 if name in ("fish", "bird", "ball") else 5)
    draft = Placement(
        name, colour, _jitter(rng, COLOURS[colour], 10), (0, 0), size, angle,
        bool(rng.random() < 0.5), int(rng.integers(2**31)),
    )  # fmt: skip
    x0, y0, x1, y1 = draft.box()
    x = rng.uniform(min(-x0, 0.5), max(1 - x1, 0.5)) + rng.normal(0, 0.03)
    if band.name in _FLOATS and name != "boat":
        height = band.bottom - band.top
        size = min(size, 1.1 * height) if name != "fish" else min(size, 1.0 * height)
        scale = size / draft.size
        y0, y1 = y0 * scale, y1 * scale
        low, high = band.top - y0, band.bottom - y1
        y = rng.uniform(min(low, high), max(low, high))
    else:
        depth = rng.uniform(0.15, 0.95) if name != "boat" else rng.uniform(0.2, 0.8)
        y = min(band.top + depth * (band.bottom - band.top), 1.02) - y1
        y = max(y, 0.02 - y0 - 0.08)
    return Placement(name, colour, draft.rgb, (float(x), float(y)), float(size), float(angle), draft.flip, draft.seed)


def _visible_bands(bands: tuple[Band, ...]) -> list[Band]:
    """Return the regions, each cut where the next region begins."""
    ends = [*(b.top for b in bands[1:]), 1.0]
    return [Band(b.name, b.top, end, b.rgb) for b, end in zip(bands, ends, strict=True)]


def _overlap(a: Box, b: Box) -> float:
    """Return the intersection of two boxes as a share of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(width, 0) * max(height, 0) / smaller


def render(scene: Scene, size_px: int, viewport: Box = (0, 0, 1, 1)) -> Rendering:
    """Draw the part of a scene inside ``viewport`` (x0, y0, x1, y1), stretched to a square of ``size_px``."""
    canvas = size_px * _SUPERSAMPLING
    image = Image.new("RGB", (canvas, canvas))
    owners = Image.new("L", (canvas, canvas))
    paint, mark = ImageDraw.Draw(image), ImageDraw.Draw(owners)
    origin = np.array(viewport[:2])
    scale = canvas / (np.array(viewport[2:]) - origin)
    for owner, polygon in _polygons(scene):
        points = ((polygon.points - origin) * scale).ravel().tolist()
        paint.polygon(points, fill=polygon.rgb)
        mark.polygon(points, fill=owner)
    pixels = np.asarray(image.resize((size_px, size_px), Image.Resampling.BOX), dtype=np.float32)
    centre = _SUPERSAMPLING // 2
    shown = np.array(owners)[centre::_SUPERSAMPLING, centre::_SUPERSAMPLING]
    return Rendering(scene, _lit(pixels, scene.seed), np.ascontiguousarray(shown))


def segments_of(rendering: Rendering) -> tuple[NDArray[np.int32], list[str]]:
    """Return the true segments of a drawn scene: each thing, and each kind of stuff.

    Returns:
        The segment of each pixel, (S, S) int32, from 1; 0 where the world has no label. And the segments' names.
    """
    scene = rendering.scene
    ids, names = np.zeros(rendering.owners.shape, dtype=np.int32), []
    masks = [(thing.name, rendering.owners == i) for i, thing in enumerate(scene.things, len(scene.bands))]
    for name, mask in [*masks, *((name, rendering.mask(name)) for name in STUFF)]:
        if mask.any():
            names.append(name)
            ids[mask] = len(names)
    return ids, names


def _lit(pixels: NDArray[np.float32], seed: int) -> NDArray[np.uint8]:
    """Add smooth uneven light, so that no region is one flat colour."""
    rng = np.random.default_rng(seed)
    size = pixels.shape[1], pixels.shape[0]
    light = Image.fromarray(rng.normal(0, 7, (6, 6)).astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(pixels + np.asarray(light)[..., None], 0, 255).astype(np.uint8)


def _polygons(scene: Scene) -> list[tuple[int, ColouredPolygon]]:
    """Return every polygon from back to front, with the index of its owner in ``scene.bands + scene.things``."""
    rng = np.random.default_rng(scene.seed)
    drawn = [_texture(band, rng) for band in scene.bands] + [thing.polygons() for thing in scene.things]
    return [(owner, polygon) for owner, polygons in enumerate(drawn) for polygon in polygons]


def _strip(rgb: Rgb, x0: float, y0: float, x1: float, y1: float) -> ColouredPolygon:
    return ColouredPolygon(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), rgb)


def _texture(band: Band, rng: np.random.Generator) -> list[ColouredPolygon]:
    """Draw a region, and the marks that tell it from other regions of its colour. Marks stay inside the region."""
    top, bottom, rgb = band.top, band.bottom, band.rgb
    if band.name == "mountain":
        return _mountain(band, rng)
    # A region extends past the scene's lower edge, so that the next band decides where it ends.
    parts = [_strip(rgb, 0, top, 1, 1)]
    if band.name == "sky":
        return parts + _clouds(band, rng)
    if band.name == "wall":
        return parts + _bricks(band, rng)
    if band.name == "road":
        middle = top + (bottom - top) * rng.uniform(0.4, 0.6)
        x = np.arange(rng.uniform(-0.2, 0), 1, 0.26).tolist()
        return parts + [_strip((236, 230, 190), a, middle, a + 0.15, middle + 0.022) for a in x]
    if band.name == "floor":
        lines = np.arange(top + 0.03, 1, 0.085).tolist()
        return parts + [_strip(shade(rgb, 0.78), 0, y, 1, y + 0.012) for y in lines]
    return parts + _marks(band, rng)


def _mountain(band: Band, rng: np.random.Generator) -> list[ColouredPolygon]:
    parts = [_strip(band.rgb, 0, band.bottom - 0.02, 1, band.bottom)]
    for x in (rng.uniform(0.05, 0.35), rng.uniform(0.6, 0.95)):
        peak = band.top + rng.uniform(0, 0.06)
        half = (band.bottom - peak) * rng.uniform(1.1, 1.7)
        slope = np.array([(x - half, band.bottom), (x, peak), (x + half, band.bottom)])
        cap = np.array([(x, peak), (x + half * 0.25, peak + 0.25 * (band.bottom - peak)),
                        (x - half * 0.25, peak + 0.25 * (band.bottom - peak))])  # fmt: skip
        parts += [ColouredPolygon(slope, band.rgb), ColouredPolygon(cap, (240, 240, 246))]
    return parts


def _clouds(band: Band, rng: np.random.Generator) -> list[ColouredPolygon]:
    parts = []
    height = band.bottom - band.top
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, 1), band.top + height * rng.uniform(0.05, 0.6)
        for dx in (-0.07, 0.0, 0.07):
            angles = np.linspace(0, 2 * np.pi, 20)
            wide, high = rng.uniform(0.06, 0.1), min(rng.uniform(0.025, 0.05), height * 0.2)
            points = np.stack([x + dx + wide * np.cos(angles), y + high * np.sin(angles)], axis=1)
            parts.append(ColouredPolygon(points, shade(band.rgb, 1.7)))
    return parts


def _bricks(band: Band, rng: np.random.Generator) -> list[ColouredPolygon]:
    mortar = shade(band.rgb, 0.82)
    if rng.random() < 0.5:  # striped wallpaper
        return [_strip(mortar, x, band.top, x + 0.035, 1) for x in np.arange(0.04, 1, 0.14).tolist()]
    rows = np.arange(band.top + 0.08, 1, 0.1).tolist()
    parts = [_strip(mortar, 0, y, 1, y + 0.014) for y in rows]
    for row, y in enumerate(rows):
        offset = 0.1 * (row % 2)
        parts += [_strip(mortar, x, y, x + 0.014, y + 0.1) for x in np.arange(offset, 1, 0.2).tolist()]
    return parts


def _marks(band: Band, rng: np.random.Generator) -> list[ColouredPolygon]:
    """Draw a region's marks: blades of grass, waves, grains of sand, or snow drifts."""
    area = 1 - band.top
    parts = []
    for _ in range(int(area * 34)):
        x, y = rng.uniform(0, 1), rng.uniform(band.top + 0.03, 1.0)
        if band.name == "grass":
            points = [(x - 0.01, y), (x + 0.01, y), (x + rng.uniform(-0.015, 0.015), y - 0.05)]
            parts.append(ColouredPolygon(np.array(points), shade(band.rgb, rng.uniform(0.7, 0.85))))
        elif band.name == "water":
            parts.append(_strip(shade(band.rgb, 1.42), x - 0.05, y, x + 0.05, y + 0.013))
        elif band.name == "sand":
            parts.append(_strip(shade(band.rgb, rng.uniform(0.74, 0.86)), x, y, x + 0.016, y + 0.013))
        else:
            parts.append(_strip(shade(band.rgb, 0.9), x - 0.035, y, x + 0.035, y + 0.01))
    return parts


def contact_sheet(count: int = 48, size_px: int = 128, columns: int = 8) -> Image.Image:
    """Return a sheet of the first scenes of the training split."""
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * size_px, rows * size_px))
    for i in range(count):
        tile = Image.fromarray(render(sample_scene(i), size_px).image)
        sheet.paste(tile, (i % columns * size_px, i // columns * size_px))
    return sheet


if __name__ == "__main__":
    contact_sheet().save(sys.argv[1])
