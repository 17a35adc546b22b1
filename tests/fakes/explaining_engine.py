"""The quick stand-in for the method, which explains: every place of every image as the explanation made by hand."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.explaining.explanation import Explanation
from ovdiff.segmentation import PlaceScores
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine
from tests.fakes.explanations import explanation


@dataclass
class ExplainingEngine(FakeEngine):
    """Notes the places that it was asked about; waits at its gate, if it has one."""

    explained: list[tuple[int, int]] = field(default_factory=list)
    explain_gate: threading.Event | None = None

    def explain(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary, where: Any) -> Explanation:
        self.explained.append(where)
        if self.explain_gate is not None:
            self.explain_gate.wait(60)
        return explanation()


@dataclass
class ScoringEngine(FakeEngine):
    """Says how strongly words claim a place, and cannot explain: each word in the vocabulary's order claims less."""

    def place_scores(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary, place: tuple[int, int]) -> PlaceScores:
        return PlaceScores(tuple(0.5 / (1 + number) for number in range(len(vocabulary.categories))), 0.25)
