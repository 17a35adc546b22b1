"""Evaluations of coloured squares in folders, by an engine that sees and one that is half blind."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.records import Records
from ovdiff.evaluation.result import Result, result_of
from ovdiff.evaluation.run import Protocol, Work, evaluate, run_identity
from ovdiff.evaluation.sums import totals_of
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine


@dataclass
class HalfBlind(FakeEngine):
    """Finds every other row of what is green."""

    name: str = "half blind"

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        found = super().segment(image, vocabulary)
        rows = found.label_map[::2]
        rows[rows == 2] = 0
        return found


def evaluated(folder: Path, engine: FakeEngine, dataset: Dataset) -> Result:
    """Evaluate into a folder."""
    for category in dataset.vocabulary.categories:
        engine.build(category)
    protocol = Protocol()
    with Records(folder, run_identity(engine, dataset, protocol)) as records:
        evaluate(
            Work(lambda: engine, lambda: dataset, protocol), dataset.images, records, lambda _image, _failure: None
        )
        figures = list(records.figures(dataset.images))
    totals = totals_of(figures, dataset.vocabulary.categories, counts_background=dataset.counts_background)
    done = tuple(each.image for each in figures)
    result = result_of(engine, dataset, protocol, done, (), totals, device="cpu", workers=1)
    result.write(folder)
    return result
