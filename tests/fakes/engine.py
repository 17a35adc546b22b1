"""A quick stand-in for the method: a category is what is painted in the colour its name or prompts mention."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import MissingPrototypesError, SupportError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
TOLERANCE = 60  # JPEG's colours are not exact
SCORE = 0.75


@dataclass(frozen=True)
class FakePreset:
    name: str = "fake"

    def fingerprint(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


@dataclass
class FakeEngine:
    """Keeps its bank as empty files, so a second one on the same folder finds what the first one made."""

    folder: Path
    preset: FakePreset = FakePreset()
    build_seconds: float = 0.0
    failing: frozenset[str] = frozenset()
    gate: threading.Event | None = None
    built: list[str] = field(default_factory=list)
    segmented: int = 0
    segmenting: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prototype_key(self, category: Category) -> str:
        return hashlib.sha256(json.dumps([category.phrases, category.kind, self.preset.name]).encode()).hexdigest()

    def has(self, category: Category) -> bool:
        return (self.folder / self.prototype_key(category)).is_file()

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        if progress is not None:
            progress("generating", 0.5)
        if self.gate is not None:
            self.gate.wait(10)
        time.sleep(self.build_seconds)
        if progress is not None:
            progress("extracting", 0.5)
        if category.name in self.failing:
            raise SupportError(f"No support image of {category.name!r} has any foreground.")
        self.built.append(category.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / self.prototype_key(category)).touch()

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        missing = [category.name for category in vocabulary.categories if not self.has(category)]
        if missing:
            raise MissingPrototypesError(missing)
        with self._lock:
            self.segmenting += 1
            self.segmented += 1
            self.most_at_once = max(self.most_at_once, self.segmenting)
        label_map = np.zeros(image.shape[:2], dtype=np.int32)
        for index, category in enumerate(vocabulary.categories):
            colour = np.array(colour_of(category), dtype=np.int32)
            label_map[(np.abs(image.astype(np.int32) - colour) <= TOLERANCE).all(axis=2)] = index + 1
        scores = np.where(label_map > 0, SCORE, 0.25).astype(np.float32)
        with self._lock:
            self.segmenting -= 1
        return Segmentation(label_map, scores, scores / 2)


def colour_of(category: Category) -> tuple[int, int, int]:
    """Return the RGB of the first colour word in the category's phrases; a colour no image has if there is none."""
    for phrase in category.phrases:
        for word in phrase.split():
            if word in COLOURS:
                return COLOURS[word]
    return (1000, 1000, 1000)
