"""How good predicted segments are: mIoU, PQ, and how many regions a person has to touch.

A person touches a region that is wrong. Predicted and true regions of a label are paired, the best pairs first, each
region at most once, if they have a pixel in common. To be touched is a pair whose IoU is below .5, a true region
without a partner (it was missed), and a predicted region without one (it is superfluous).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.metrics.confusion import confusion_matrix, mean_iou
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments

LEAST_IOU = 0.5
"""A region that fits the truth less is touched."""


@dataclass(frozen=True)
class Figures:
    """The figures of some tasks.

    Attributes:
        miou: the mean IoU of background and all labels that occur, over the pixels of all tasks.
        pq: the mean panoptic quality of the labels that occur.
        touched: regions to touch, the mean of a task.
    """

    miou: float
    pq: float
    touched: float


def figures(truths: Sequence[SegmentMap], predicted: Sequence[SegmentMap], labels: int) -> Figures:
    """Return the figures of tasks whose segments have the categories 1 to ``labels``.

    Raises:
        ValueError: there is no task, or not one prediction for each truth.
    """
    if not truths:
        raise ValueError("expected at least one task")
    confusion = np.zeros((labels + 1, labels + 1), dtype=np.int64)
    matches, touched = SegmentMatches.none(labels), 0
    for truth, found in zip(truths, predicted, strict=True):
        confusion += confusion_matrix(truth.label_map(), found.label_map(), labels)
        matches += match_segments(truth, found, labels)
        touched += regions_to_touch(truth, found)
    return Figures(mean_iou(confusion), float(np.nanmean(matches.panoptic_quality)), touched / len(truths))


def regions_to_touch(truth: SegmentMap, predicted: SegmentMap) -> int:
    """Return how many regions of an image a person has to touch."""
    return sum(
        _touched(_masks(truth, label), _masks(predicted, label))
        for label in sorted({*truth.categories, *predicted.categories})
    )


def _masks(segments: SegmentMap, label: int) -> list[NDArray[np.bool_]]:
    masks = [segments.ids == i for i, category in enumerate(segments.categories, 1) if category == label]
    return [mask for mask in masks if mask.any()]


def _touched(true: list[NDArray[np.bool_]], given: list[NDArray[np.bool_]]) -> int:
    pairs = [(_iou(one, other), i, j) for i, one in enumerate(true) for j, other in enumerate(given)]
    left_true, left_given, wrong = set(range(len(true))), set(range(len(given))), 0
    for iou, i, j in sorted(pairs, key=lambda pair: -pair[0]):
        if iou > 0 and i in left_true and j in left_given:
            left_true.remove(i)
            left_given.remove(j)
            wrong += iou < LEAST_IOU
    return wrong + len(left_true) + len(left_given)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))
