"""How sure an IoU over few images is: the bootstrap over images, counted as the images stream by.

    IoU of a replicate = sum of w * intersection / sum of w * union        w: drawn anew for each image and replicate

A bootstrap draws the images of the export again with replacement, many times, and looks how far the IoU moves. Each
image is then drawn about a Poisson(1) number of times (Hanley and MacGibbon 2006), which needs no list of the images.
Images are drawn and not pixels or regions, because those of one image resemble each other. The draws depend on nothing
but the number of the image, so the same export gives the same intervals.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt

from converters.metrics.confusion import ConfusionMatrix
from converters.metrics.intervals import Interval

REPLICATES = 400
FEWEST_IMAGES = 10
"""Fewer images than this differ too little among themselves for a bootstrap to tell: their interval is not known."""

# P(X <= k) of a Poisson(1) variable X for k = 0, 1, 2, ..., in units of 2^-16
_POISSON_CDF = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)]) * 65536


class IoUBootstrap:
    """Sums of intersections and unions in each replicate, for background and each category."""

    def __init__(self, category_count: int) -> None:
        """Start without images."""
        self._sums = np.zeros((2, REPLICATES, category_count + 1))  # intersections, unions
        self.images = np.zeros(category_count + 1, dtype=np.int64)
        self._number = 0

    def add(self, confusion: ConfusionMatrix) -> None:
        """Add the confusion matrix of one image."""
        both = np.diag(confusion)
        unions = confusion.sum(axis=0) + confusion.sum(axis=1) - both
        there = np.flatnonzero(unions)
        weights = _draws(self._number)
        self._sums[0][:, there] += np.outer(weights, both[there])
        self._sums[1][:, there] += np.outer(weights, unions[there])
        self.images[there] += 1
        self._number += 1

    def intervals(self) -> list[Interval | None]:
        """Return the 95 % interval of the IoU of background and of each category; None where images are few."""
        ious = self._ious()
        return [
            _interval(ious[:, label]) if self.images[label] >= FEWEST_IMAGES else None for label in range(ious.shape[1])
        ]

    def mean_interval(self, *, with_background: bool = True) -> Interval | None:
        """Return the 95 % interval of the mean IoU; None where images are few."""
        if self._number < FEWEST_IMAGES:
            return None
        return _interval(self._means(with_background))

    def differences_from(self, other: "IoUBootstrap") -> list[Interval | None]:
        """Return the 95 % interval of this IoU less another's, of background and of each category.

        Args:
            other: a bootstrap to which the same images were added in the same order.

        Returns:
            ``None`` where the images are few in which a category occurs, for either.
        """
        gains = self._ious() - other._ious()
        counts = np.minimum(self.images, other.images)
        return [
            _interval(gains[:, label]) if counts[label] >= FEWEST_IMAGES else None for label in range(gains.shape[1])
        ]

    def mean_difference_from(self, other: "IoUBootstrap", *, with_background: bool = True) -> Interval | None:
        """Return the 95 % interval of this mean IoU less another's, on the same images; None where images are few."""
        if self._number < FEWEST_IMAGES:
            return None
        return _interval(self._means(with_background) - other._means(with_background))

    def _means(self, with_background: bool) -> npt.NDArray[np.float64]:
        ious = self._ious()[:, 0 if with_background else 1 :]
        known = ~np.isnan(ious)
        sums, counts = np.where(known, ious, 0.0).sum(axis=1), known.sum(axis=1)
        return np.divide(sums, counts, out=np.full(REPLICATES, np.nan), where=counts > 0)

    def _ious(self) -> npt.NDArray[np.float64]:
        both, unions = self._sums
        return np.divide(both, unions, out=np.full(both.shape, np.nan), where=unions > 0)


def _draws(image: int) -> npt.NDArray[np.float64]:
    """Return how often each replicate draws an image, (REPLICATES,).

    The digits come from a hash of the image's number: they are the same with every version of numpy, and `numpy.random`
    is not loaded.
    """
    digits = hashlib.shake_128(str(image).encode("ascii")).digest(2 * REPLICATES)
    return np.searchsorted(_POISSON_CDF, np.frombuffer(digits, dtype="<u2"), side="right").astype(np.float64)


def _interval(values: npt.NDArray[np.float64]) -> Interval | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
