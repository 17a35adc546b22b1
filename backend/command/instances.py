"""The connected parts of a segmentation: small ones taken away, and each one an instance with a score of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from converters.encodings.coco_rle import CocoRLE, label_map_to_coco_rles
from converters.encodings.masks import label_parts, remove_small_parts
from ovdiff.segmentation import Segmentation


@dataclass(frozen=True)
class Instance:
    """One connected part of a category's mask, with the mean score of its pixels, in [0, 1]."""

    rle: CocoRLE
    score: float


def without_small_parts(segmentation: Segmentation, min_area_px: int) -> tuple[Segmentation, int]:
    """Return a segmentation whose connected parts of fewer pixels are background, and how many these were."""
    if min_area_px <= 1:
        return segmentation, 0
    label_map, dropped = segmentation.label_map.copy(), 0
    for _, mask in segmentation.found():
        kept = remove_small_parts(mask, min_area_px)
        dropped += label_parts(mask & ~kept)[1]
        label_map[mask & ~kept] = 0
    return replace(segmentation, label_map=label_map), dropped


def instances_of(segmentation: Segmentation, index: int) -> Iterator[Instance]:
    """Yield the connected parts of the mask of a category, in reading order."""
    labels, count = label_parts(segmentation.mask(index))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sums = np.bincount(labels.ravel(), np.clip(segmentation.scores, 0, 1).ravel(), minlength=count + 1)
    for number, rle in label_map_to_coco_rles(labels).items():
        yield Instance(rle, float(sums[number] / sizes[number]))
