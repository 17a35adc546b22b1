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


class ReplicateSums:
    """Sums of numbers over the images of each replicate."""

    def __init__(self, kinds: int, count: int) -> None:
        """Start with zeros.

        Args:
            kinds: how many numbers there are of each thing, such as its intersection and its union.
            count: how many things there are, such as categories.
        """
        self._sums = np.zeros((kinds, REPLICATES, count))

    def add(self, image: int, places: npt.NDArray[np.integer], values: npt.NDArray[np.number]) -> None:
        """Add the numbers of one image.

        Args:
            image: the image's number, which decides how often each replicate draws it.
            places: (m,) the things that it has numbers of; each of them once.
            values: (kinds, m) these numbers.
        """
        weights = _draws(image)
        for sums, of_kind in zip(self._sums, values, strict=True):
            sums[:, places] += np.outer(weights, of_kind)

    @property
    def sums(self) -> npt.NDArray[np.float64]:
        """The sums, (kinds, REPLICATES, count)."""
        return self._sums


class IoUBootstrap:
    """Right, true and given pixels in each replicate, for background and each category."""

    def __init__(self, category_count: int) -> None:
        """Start without images."""
        self._pixels = ReplicateSums(3, category_count + 1)
        self.images = np.zeros(category_count + 1, dtype=np.int64)
        self._number = 0

    def add(self, confusion: ConfusionMatrix) -> None:
        """Add the confusion matrix of one image."""
        pixels = np.stack((np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))
        there = np.flatnonzero(pixels[1:].any(axis=0))
        self._pixels.add(self._number, there, pixels[:, there])
        self.images[there] += 1
        self._number += 1

    @property
    def pixels(self) -> npt.NDArray[np.float64]:
        """Right, true and given pixels of each replicate, (3, REPLICATES, n + 1)."""
        return self._pixels.sums

    def intervals(self) -> list[Interval | None]:
        """Return the 95 % interval of the IoU of background and of each category; None where images are few."""
        ious = self._ious()
        return [
            interval_of(ious[:, label]) if self.images[label] >= FEWEST_IMAGES else None
            for label in range(ious.shape[1])
        ]

    def mean_interval(self, *, with_background: bool = True) -> Interval | None:
        """Return the 95 % interval of the mean IoU; None where images are few."""
        if self._number < FEWEST_IMAGES:
            return None
        return interval_of(self._means(with_background))

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
            interval_of(gains[:, label]) if counts[label] >= FEWEST_IMAGES else None for label in range(gains.shape[1])
        ]

    def mean_difference_from(self, other: "IoUBootstrap", *, with_background: bool = True) -> Interval | None:
        """Return the 95 % interval of this mean IoU less another's, on the same images; None where images are few."""
        if self._number < FEWEST_IMAGES:
            return None
        return interval_of(self._means(with_background) - other._means(with_background))

    def _means(self, with_background: bool) -> npt.NDArray[np.float64]:
        return mean_of_known(self._ious()[:, 0 if with_background else 1 :])

    def _ious(self) -> npt.NDArray[np.float64]:
        right, true, given = self.pixels
        return ratio(right, true + given - right)


def ratio(over: npt.NDArray[np.float64], under: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ratio of sums; NaN where there is nothing to divide by."""
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)


def mean_of_known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of the numbers of each replicate (REPLICATES, n) that are known; NaN where none is."""
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def _draws(image: int) -> npt.NDArray[np.float64]:
    """Return how often each replicate draws an image, (REPLICATES,).

    The digits come from a hash of the image's number: they are the same with every version of numpy, and `numpy.random`
    is not loaded.
    """
    digits = hashlib.shake_128(str(image).encode("ascii")).digest(2 * REPLICATES)
    return np.searchsorted(_POISSON_CDF, np.frombuffer(digits, dtype="<u2"), side="right").astype(np.float64)


def interval_of(values: npt.NDArray[np.float64]) -> Interval | None:
    """Return the 95 % interval of a figure of which these are the replicates; None if none of them is known."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
