"""Which images of an evaluation say most: those that came out worst, best and in the middle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from converters.metrics.confusion import ConfusionMatrix, mean_iou

IMAGES_OF_A_KIND = 3
"""So many images at most are worst, best, or in the middle."""


@dataclass(frozen=True)
class RankedImages:
    """Names of images, no name twice.

    Attributes:
        worst: the lowest mean IoU first.
        median: those in the middle, the lowest first.
        best: the highest first.
    """

    worst: tuple[str, ...]
    median: tuple[str, ...]
    best: tuple[str, ...]


def image_miou(confusion: ConfusionMatrix, *, counts_background: bool) -> float | None:
    """Return the mean IoU of one image over the classes that it shows or was given; ``None`` if nothing is known of it.

    Args:
        confusion: the image's confusion matrix.
        counts_background: whether background is a class of the dataset.
    """
    found = mean_iou(confusion, with_background=counts_background)
    return None if math.isnan(found) else found


def ranked_images(mious: Mapping[str, float | None], count: int = IMAGES_OF_A_KIND) -> RankedImages:
    """Return the worst, median and best images; of equal ones the first comes first.

    Args:
        mious: the mean IoU of each image by its name, in the dataset's order. Images without one are left out.
        count: how many of a kind; of fewer than three times as many images, a third.
    """
    known = {image: miou for image, miou in mious.items() if miou is not None}
    order = sorted(known, key=lambda image: known[image])
    taken = min(count, -(-len(order) // 3))
    worst, rest = order[:taken], order[taken:]
    best = rest[len(rest) - min(taken, len(rest)) :]
    between = rest[: len(rest) - len(best)]
    start = max(0, (len(between) - taken) // 2)
    return RankedImages(tuple(worst), tuple(between[start : start + taken]), tuple(reversed(best)))
