"""The quick stand-in for the method, which scores tasks and finds novelties: what is green is none of the words."""

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import ImageError
from ovdiff.learning.next_tasks import FoundWord, Rivals, TaskScore
from ovdiff.novelties.groups import NovelRegion
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine

TAUGHT, BROKEN = 1, 2
"""The red of an image's first pixel by which it is taught, or cannot be looked at."""


@dataclass
class SearchingEngine(FakeEngine):
    """Waits at its gate, if it has one, and counts what it looked at."""

    looked: int = 0
    look_gate: threading.Event | None = None
    words: list[tuple[str, ...]] = field(default_factory=list)

    def task_score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        self._look(image, vocabulary)
        if image[0, 0, 0] == TAUGHT:
            return None
        doubt = float(image[0, 0, 1]) / 255
        found = FoundWord("red", 0.1, 1 - doubt, 0)
        return TaskScore((found,), (Rivals(("red", "blue"), 0.2),), doubt, 0.5, 0.0, None)

    def novel_regions(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        self._look(encoded, vocabulary)
        shares, view = np.array([0.9, 0.1], np.float32), np.array([1, 0], np.float32)
        region = NovelRegion((0.1, 0.1, 0.4, 0.4), 0.09, 0.9, 0.3, ('snow "man"', "cup"), shares, view)
        other = NovelRegion((0.6, 0.6, 0.9, 0.9), 0.09, 0.4, 0.3, region.words, shares[::-1].copy(), view[::-1].copy())
        return (region, other) if encoded[0, 0, 1] > 100 else (region,)

    def _look(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> None:
        self.looked += 1
        self.words.append(vocabulary.names)
        if self.look_gate is not None:
            self.look_gate.wait(60)
        if image[0, 0, 0] == BROKEN:
            raise ImageError("This image cannot be looked at.")
