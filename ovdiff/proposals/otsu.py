"""Otsu's thresholds of a histogram, in numpy: one threshold between two classes, or two between three classes.

The thresholds equal those of scikit-image, which the released code uses, bit for bit; the tests compare them. For that,
two habits of scikit-image are kept: sums run in float32 from the lowest bin on, and a class that holds the lowest bin
alone is given no variance. Never imports torch.
"""

import numpy as np
from numpy.typing import NDArray

_BINS = 256


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """Return the threshold between two classes: the centre of the highest bin that belongs to the lower class.

    It maximises the variance between the classes, p1 p2 (m1 - m2)^2, where p are their shares and m their means.

    Args:
        values: an array of any shape, in which at least two values differ.

    Raises:
        ValueError: the values are too close together for 256 bins in float32.
    """
    counts, centres = _histogram(values)
    counts = counts.astype(np.float32)
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    mean_below = np.cumsum(counts * centres)[:-1] / below
    mean_above = np.cumsum((counts * centres)[::-1])[::-1][1:] / above
    return float(centres[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def otsu_threshold_pair(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the two thresholds between three classes, the lower threshold first.

    They maximise the sum of S^2 / P over the classes, where P is a class's share and S its sum of bin numbers. This sum
    differs from the variance between the classes by a constant.

    Args:
        values: an array of any shape.

    Raises:
        ValueError: the values fill fewer than three bins, or are too close together for 256 bins in float32.
    """
    counts, centres = _histogram(values)
    filled = np.flatnonzero(counts)
    if len(filled) < 3:
        raise ValueError(f"three classes need values in three of {_BINS} bins, and these fill {len(filled)}")
    shares = (counts / counts.sum()).astype(np.float32)
    lower, upper = filled[:2] if len(filled) == 3 else _best_pair(_class_terms(shares))
    return float(centres[lower]), float(centres[upper])


def _histogram(values: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the counts of equal bins from the lowest value to the highest, and the bins' centres."""
    counts, edges = np.histogram(values.ravel(), bins=_BINS)
    return counts, (edges[:-1] + edges[1:]) / 2


def _class_terms(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return S^2 / P of the class from bin i to bin j, for all i <= j, as (bins, bins); 0 for an empty class."""
    numbers = np.maximum(np.arange(len(shares)), 1).astype(np.float32)
    share, number = (np.concatenate([[np.float32(0)], np.cumsum(row)]) for row in (shares, shares * numbers))
    shares_ij = share[1:] - share[:-1, None]
    numbers_ij = number[1:] - number[:-1, None]
    terms = np.zeros_like(shares_ij)
    np.divide(numbers_ij**2, shares_ij, out=terms, where=shares_ij > 0)
    terms[0, 0] = 0
    return np.triu(terms)


def _best_pair(terms: NDArray[np.float32]) -> tuple[int, int]:
    """Return the last bins of the first two classes in the best split into three; of equal splits the first."""
    first, last = terms[0, :-2, None], terms[2:, -1]
    sums = np.triu(first + last + terms[1:-1, 1:-1])
    lower, upper = np.unravel_index(np.argmax(sums), sums.shape)
    return int(lower), int(upper) + 1
