"""Drawn scenes with two to four things of one kind, some of them touching, and their true panoptic maps.

A scene begins as one of the world's scenes with a single thing (:func:`ovdiff.tinyworld.world.sample_scene`). The thing
is drawn smaller, and further things of its kind are set on the same ground, each with a colour, size and shape of its
own. About half of them are set so that their box overlaps a neighbour's; the others keep a distance. Every third scene
has a thing of another kind besides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ovdiff.tinyworld.world import COLOURS, STUFF, THINGS, Box, Placement, Rendering, Scene, Split, render, sample_scene

SCENE_PX = 320
_SMALLEST, _LARGEST = 0.2, 0.34  # of the scene's side
_TOUCHING = 0.5  # the share of further things that are set beside another one
_GAP = 0.03  # between the boxes of things that are not meant to touch, in sides of the scene
_VISIBLE_PX = 40  # a thing of which less is seen, behind another one, is no object of the truth


@dataclass(frozen=True)
class TrueScene:
    """A drawn scene with its true segments.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        ids: (S, S) int32: the segment of each pixel; 0 where nothing of the world's vocabulary is seen.
        names: ``names[id - 1]`` is the name of a segment: a thing's, of which a scene may have several, or stuff's.
    """

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    names: tuple[str, ...]

    def pairs(self) -> tuple[int, int]:
        """Return how many pairs of things of one kind the scene has, and how many of these touch at an edge."""
        alike = [(a, b) for a, b in combinations(range(1, len(self.names) + 1), 2) if self._alike(a, b)]
        touching = [(a, b) for a, b in alike if (ndimage.binary_dilation(self.ids == a) & (self.ids == b)).any()]
        return len(alike), len(touching)

    def _alike(self, first: int, second: int) -> bool:
        return self.names[first - 1] == self.names[second - 1] and self.names[first - 1] in THINGS


def true_scenes(first: int, count: int, split: Split) -> Iterator[TrueScene]:
    """Yield the scenes of the given numbers; the same number and split give the same scene."""
    for number in range(first, first + count):
        yield _truth(render(crowd(number, split), SCENE_PX))


def crowd(number: int, split: Split) -> Scene:
    """Return the description of scene ``number``: things of one kind, and in every third scene one of another kind."""
    rng = np.random.default_rng([len(split), number])
    base = next(scene for scene in _near(number, split) if scene.things)
    things = [_smaller(base.things[0], rng)]
    wanted = int(rng.integers(2, 5))
    for _ in range(8):
        things += _beside(things, rng) if len(things) < wanted else []
    if number % 3 == 0:
        guest = _guest(number, split, things, rng)
        things += [guest] if guest else []
    return Scene(base.bands, tuple(sorted(things, key=lambda thing: thing.box()[3])), base.seed)


def _near(number: int, split: Split) -> Iterator[Scene]:
    """Yield the scene of a number and, in case it has no thing, others that no number of a benchmark has."""
    return (sample_scene(number + shift, split, 1) for shift in range(0, 10**9, 10**7))


def _smaller(thing: Placement, rng: np.random.Generator) -> Placement:
    """Draw a thing smaller, with its lower edge where it was."""
    smaller = replace(thing, size=min(thing.size, float(rng.uniform(_SMALLEST, _LARGEST))))
    return _moved(smaller, 0.0, thing.box()[3] - smaller.box()[3])


def _beside(things: list[Placement], rng: np.random.Generator) -> list[Placement]:
    """Return one more thing of the first one's kind, near another or apart from all; none if no place is found."""
    partner = things[int(rng.integers(len(things)))]
    colour, touching = str(rng.choice(list(COLOURS))), bool(rng.random() < _TOUCHING)
    draft = replace(
        partner,
        colour=colour,
        rgb=COLOURS[colour],
        size=partner.size * float(rng.uniform(0.85, 1.15)),
        flip=bool(rng.random() < 0.5),
        seed=int(rng.integers(2**31)),
    )
    for _ in range(20):
        x0, _, x1, y1 = draft.box()
        overlap = float(rng.uniform(0.05, 0.35)) * (x1 - x0)
        left, right = partner.box()[0] + overlap - x1, partner.box()[2] - overlap - x0
        shift = (left if rng.random() < 0.5 else right) if touching else float(rng.uniform(-x0, 1 - x1))
        placed = _moved(draft, shift, partner.box()[3] - y1 + float(rng.normal(0, 0.02)))
        others = [thing for thing in things if not (touching and thing is partner)]
        if _inside(placed.box()) and all(_apart(placed.box(), other.box()) for other in others):
            return [placed]
    return []


def _guest(number: int, split: Split, things: list[Placement], rng: np.random.Generator) -> Placement | None:
    """Return a thing of another kind at its own place, if that is free."""
    for shift in range(1, 40):
        for thing in sample_scene(number + shift * 10**6, split, 1).things:
            small = _smaller(thing, rng)
            if thing.name != things[0].name and all(_apart(small.box(), other.box()) for other in things):
                return small
    return None


def _moved(thing: Placement, right: float, down: float) -> Placement:
    return replace(thing, centre_xy=(thing.centre_xy[0] + right, thing.centre_xy[1] + down))


def _inside(box: Box) -> bool:
    return box[0] > -0.05 and box[2] < 1.05


def _apart(first: Box, second: Box) -> bool:
    gaps = (first[0] - second[2], second[0] - first[2], first[1] - second[3], second[1] - first[3])
    return max(gaps) >= _GAP


def _truth(rendering: Rendering) -> TrueScene:
    """Number the segments of a rendering: each thing of which enough is seen, and each kind of stuff."""
    scene, owners = rendering.scene, rendering.owners
    ids = np.zeros(owners.shape, dtype=np.int32)
    names: list[str] = []
    for owner, thing in enumerate(scene.things, start=len(scene.bands)):
        if np.count_nonzero(owners == owner) >= _VISIBLE_PX:
            names.append(thing.name)
            ids[owners == owner] = len(names)
    for name in STUFF:
        if (mask := rendering.mask(name)).any():
            names.append(name)
            ids[mask] = len(names)
    return TrueScene(rendering.image, ids, tuple(names))
