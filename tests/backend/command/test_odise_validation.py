from typing import Any

import numpy as np
import pytest
import torch

from backend.command.odise_validation import Figures, validate, vocabulary_of
from ovdiff.odise.naming import Label
from ovdiff.odise.outputs import PanopticResult, Segment
from ovdiff.odise.training.examples import Example
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

LABELS = [Label("car", ("car", "van"), False), Label("sky", ("sky",), True)]


class Answers:
    """An engine that finds the given segments in every image."""

    def __init__(self, ids: np.ndarray[Any, Any], labels: list[int]) -> None:
        self._ids, self._labels = ids.astype(np.int32), labels

    def encode(self, image: object) -> object:
        return image

    def panoptic(self, _encoded: object, vocabulary: Vocabulary) -> PanopticResult:
        assert vocabulary == vocabulary_of(LABELS)
        return PanopticResult(torch.from_numpy(self._ids), [Segment(label, 1.0) for label in self._labels])

    def label(self, _encoded: object, _vocabulary: Vocabulary) -> Segmentation:
        found = np.array([0, *(label + 1 for label in self._labels)], dtype=np.int32)[self._ids]
        return Segmentation(found, np.ones(found.shape, np.float32), np.ones(found.shape, np.float32))


def example(**more: Any) -> Example:
    segments = np.zeros((8, 8), np.int32)
    segments[:4], segments[4:6] = 1, 2
    return Example(np.zeros((8, 8, 3), np.uint8), segments, (1, 0), **more)


def test_the_truth_is_right_and_a_lost_segment_costs() -> None:
    truth = example()
    assert validate(Answers(truth.segment_map, [1, 0]), [truth], LABELS) == Figures(1.0, 1.0)  # type: ignore[arg-type]
    half = validate(Answers(np.where(truth.segment_map == 1, 1, 0), [1]), [truth], LABELS)  # type: ignore[arg-type]
    assert half.pq == pytest.approx(0.5)  # the sky is found, the car is not
    assert half.miou == pytest.approx((16 / 32 + 1 + 0) / 3)
    assert str(half) == "PQ 0.500, mIoU 0.500"


def test_what_a_partial_annotation_does_not_mark_does_not_count() -> None:
    everywhere = np.where(example().segment_map == 1, 1, 2)  # a car is found in the lowest rows, too
    whole, partial = (
        validate(Answers(everywhere, [1, 0]), [example(partial=part)], LABELS)  # type: ignore[arg-type]
        for part in (False, True)
    )
    assert partial == Figures(1.0, 1.0) and whole.pq < 1 and whole.miou < 1
