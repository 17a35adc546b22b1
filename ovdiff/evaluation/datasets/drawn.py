"""The drawn world as a dataset: what this repository can show without weights and photographs.

A usual scene is one of those that the embedded models were trained on, 256 px large. A crowded scene holds three things
where they fit, and is 320 px large. Thresholds are chosen on a split of their own, and figures are of the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import Dataset, DatasetKind, LabelledImage, Measure, TrueObject, Truth
from ovdiff.tinyworld.world import STUFF, THINGS, Split, render, sample_scene, segments_of
from ovdiff.vocabulary import Category

CATEGORIES = (
    *(Category(name, kind="thing") for name in THINGS),
    *(Category(name, kind="stuff") for name in STUFF),
)
_NAMES = tuple(category.name for category in CATEGORIES)
_MEASURES: frozenset[Measure] = frozenset({"semantic", "panoptic", "instances"})


@dataclass(frozen=True)
class Scenes:
    """Which scenes are drawn, and how.

    Attributes:
        split: the split of the world.
        first: the number of the first scene.
        count: how many there are.
        size_px: the side of the picture.
        things: how many things each holds, where they fit; ``None`` leaves it to the world.
    """

    split: Split
    first: int
    count: int
    size_px: int
    things: int | None = None

    def draw(self, name: str) -> LabelledImage:
        """Draw a scene by its name, such as ``test-17``."""
        split, _, number = name.rpartition("-")
        if split != self.split or not number.isdigit():
            raise DatasetError(f"There is no drawn scene {name!r}; expected a name such as {self.split}-{self.first}.")
        drawn = render(sample_scene(int(number), self.split, self.things), self.size_px)
        ids, names = segments_of(drawn)
        labels = [_NAMES.index(each) + 1 for each in names]
        objects = tuple(
            TrueObject(label, ids == place) for place, label in enumerate(labels, 1) if label <= len(THINGS)
        )
        label_map = np.array([0, *labels], dtype=np.int32)[ids]
        return LabelledImage(drawn.image, Truth(label_map, SegmentMap(ids, tuple(labels)), objects=objects))


def _open(name: str, scenes: Scenes, _folder: Path) -> Dataset:
    numbers = range(scenes.first, scenes.first + scenes.count)
    images = tuple(f"{scenes.split}-{number}" for number in numbers)
    return Dataset(name, _kind(name, "", scenes).vocabulary, images, scenes.draw, measures=_MEASURES)


def _kind(name: str, title: str, scenes: Scenes) -> DatasetKind:
    opened: Callable[[Path], Dataset] = partial(_open, name, scenes)
    return DatasetKind(
        name, title, CATEGORIES, opened, image_count=scenes.count, measures=_MEASURES, needs_folder=False
    )


USUAL = _kind("drawn", "the drawn world, usual scenes, test", Scenes("test", 0, 1000, 256))
CROWDED = _kind("drawn-crowded", "the drawn world, crowded scenes, test", Scenes("test", 50_000, 1000, 320, 3))
CHOOSING = _kind(
    "drawn-choosing", "the drawn world, usual scenes, to choose settings on", Scenes("thresholds", 0, 1000, 256)
)
