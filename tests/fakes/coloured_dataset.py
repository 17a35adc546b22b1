"""A dataset of coloured squares, and an engine that finds most of them; other processes can make both."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import Dataset, LabelledImage, TrueObject, Truth
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import COLOURS, FakeEngine

WORDS = ("red", "green", "blue")
VOCABULARY = Vocabulary(Category(name, kind="thing") for name in WORDS)
SIZE_HW = (24, 32)


@dataclass(frozen=True)
class Squares:
    """Makes images of squares; those in ``broken`` cannot be read, and one kills its process."""

    count: int = 12
    broken: tuple[str, ...] = ()
    kills: str = ""

    def __call__(self) -> Dataset:
        names = tuple(f"square-{number}" for number in range(self.count))
        measures = frozenset({"semantic", "panoptic", "instances"})
        return Dataset("squares", VOCABULARY, names, self.read, measures=measures)  # type: ignore[arg-type]

    def read(self, name: str) -> LabelledImage:
        if name == self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if name in self.broken:
            raise DatasetError(f"The picture of {name} is damaged.")
        number = int(name.rpartition("-")[2])
        image = np.full((*SIZE_HW, 3), 128, dtype=np.uint8)
        ids = np.zeros(SIZE_HW, dtype=np.int32)
        labels = []
        for place in range(1 + number % 2):
            label = (number + place) % len(WORDS) + 1
            rows, columns = slice(2, 12 + number % 5), slice(2 + 15 * place, 12 + 15 * place)
            ids[rows, columns] = place + 1
            labels.append(label)
            image[rows, columns] = COLOURS[WORDS[label - 1]]
        image[:3] = 128  # the engine finds less than there is
        label_map = np.array([0, *labels], dtype=np.int32)[ids]
        objects = tuple(TrueObject(label, ids == place) for place, label in enumerate(labels, 1))
        return LabelledImage(image, Truth(label_map, SegmentMap(ids, tuple(labels)), objects=objects))


@dataclass(frozen=True)
class MakesEngine:
    """Makes the engine of a folder, in which the categories are built."""

    folder: Path

    def __call__(self) -> FakeEngine:
        engine = FakeEngine(self.folder)
        for category in VOCABULARY.categories:
            engine.build(category)
        return engine
