"""The connected parts of a segmentation, each an instance with a score of its own; what is below a threshold goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from backend.serving.predicting.limits import shown_score
from converters.encodings.coco_rle import CocoRLE, label_map_to_coco_rles
from converters.encodings.masks import PartNumbers, label_parts
from ovdiff.segmentation import Segmentation


@dataclass(frozen=True)
class Instance:
    """One connected part of a category's mask, with its own score, in [0, 1]."""

    rle: CocoRLE
    score: float


def without_low_scores(
    segmentation: Segmentation, leasts: Sequence[float], *, split_parts: bool
) -> tuple[Segmentation, int]:
    """Return a segmentation without the masks whose score, as it is written, is too low, and how many these were.

    Args:
        segmentation: the segmentation.
        leasts: by the index of a category, the score that its mask must have.
        split_parts: judge each connected part by the score of its own, not the whole mask. Where the segmentation has
            objects, each object is judged, whatever is said here.
    """
    label_map, hidden = segmentation.label_map.copy(), 0
    if segmentation.instance_map is not None:
        low = [each.mask for each in segmentation.objects() if shown_score(each.score) < leasts[each.index]]
        for mask in low:
            label_map[mask] = 0
        return (replace(segmentation, label_map=label_map) if low else segmentation), len(low)
    for index, mask in segmentation.found():
        if split_parts:
            parts = _parts(segmentation, index)
            is_low = [shown_score(score) < leasts[index] for score in parts.scores]
            label_map[np.array([False, *is_low])[parts.labels]] = 0
            hidden += sum(is_low)
        elif shown_score(segmentation.category_score(index)) < leasts[index]:
            label_map[mask] = 0
            hidden += 1
    return (replace(segmentation, label_map=label_map) if hidden else segmentation), hidden


def instances_of(segmentation: Segmentation, index: int) -> Iterator[Instance]:
    """Yield the connected parts of the mask of a category, in reading order."""
    parts = _parts(segmentation, index)
    for number, rle in label_map_to_coco_rles(parts.labels).items():
        yield Instance(rle, parts.scores[number - 1])


class _Parts(NamedTuple):
    """The part number of each pixel, (H, W) int32 from 1, 0 outside; and the score of each part."""

    labels: PartNumbers
    scores: list[float]


def _parts(segmentation: Segmentation, index: int) -> _Parts:
    labels, _ = label_parts(segmentation.mask(index))
    return _Parts(labels, segmentation.region_scores(index, labels))
