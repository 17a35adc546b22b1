"""Looks at held-out images become figures: shares of categories, and pairs in the order of their risk. Pure numpy.

The formulas are in the docstring of :mod:`ovdiff.forecasting`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovdiff.forecasting.looks import Look

Table = NDArray[np.float64]

# Fitted by least squares on 320 drawn scenes of the `thresholds` split, generation seeds 45 and 46.
_IOU_BASE, _IOU_OF_CERTAIN, _IOU_OF_LOG_AREA = 0.59, 0.31, 0.054
_LEAST_SHARE, _LEAST_LOG = 1e-9, -30.0


@dataclass(frozen=True)
class Figures:
    """The figures of C categories; `told_apart` is NaN where CLIP did not look.

    Attributes:
        images: (C,) how many images were held out.
        confusion: (C, C + 1) shares of the row's foreground pixels that became the column; column 0 is background.
        expected_iou: (C,) in [0, 1].
        risk: (C, C) symmetric, the mean rank of each pair among all pairs, 0 to 1.
        told_apart: (C, C) symmetric, the share of images of two categories for which CLIP prefers the right one.
    """

    images: NDArray[np.int_]
    confusion: Table
    expected_iou: Table
    risk: Table
    told_apart: Table

    def confused(self) -> Table:
        """Return the share (C, C) of pixels of one category that become the other one, mean of both ways."""
        return symmetric(self.confusion[:, 1:])


def figures_of(looks: Sequence[Look], count: int) -> Figures:
    """Return the figures of ``count`` categories from looks at their held-out images; each image weighs the same."""
    groups = [[look for look in looks if look.category == index] for index in range(count)]
    pixels = _means([[look.pixels for look in group] for group in groups], count + 1)[:, 1:]
    beside = _means([[look.beside for look in group] for group in groups], count + 1)[:, 1:]
    seen = _means([[look.seen for look in group if look.seen is not None] for group in groups], count)
    certain = np.array([_mean([look.certain for look in group]) for group in groups])
    areas = np.array([_mean([look.area for look in group]) for group in groups])
    expected = _IOU_BASE + _IOU_OF_CERTAIN * certain + _IOU_OF_LOG_AREA * np.log(np.maximum(areas, _LEAST_SHARE))
    return Figures(
        images=np.array([len(group) for group in groups]),
        confusion=_means([[look.decided for look in group] for group in groups], count + 1),
        expected_iou=np.clip(expected, 0, 1),
        risk=mean_ranks([symmetric(pixels), symmetric(np.maximum(seen, _LEAST_LOG)), symmetric(beside)]),
        told_apart=_told_apart(groups),
    )


def symmetric(table: Table) -> Table:
    """Return the mean (C, C) of a table and its mirror image."""
    return (table + table.T) / 2


def mean_ranks(witnesses: Sequence[Table]) -> Table:
    """Return the mean rank (C, C) of each pair among all pairs, by several symmetric tables (C, C).

    Ranks go from 0 to 1; equal values share their mean rank. A table without a number in any pair has no voice. A pair
    that lacks a number in another table has none in the result, and there is none on the diagonal.
    """
    from scipy.stats import rankdata  # takes a second to import, and only forecasts rank

    count = len(witnesses[0])
    places = np.triu_indices(count, 1)
    votes = [table[places] for table in witnesses if not np.isnan(table[places]).all()]
    result = np.full((count, count), np.nan)
    if not votes:
        return result
    known = ~np.any(np.isnan(votes), axis=0)
    ranks = np.full(len(places[0]), np.nan)
    if known.any():
        steps = max(1, np.count_nonzero(known) - 1)
        ranks[known] = np.mean([(rankdata(vote[known]) - 1) / steps for vote in votes], axis=0)
    result[places] = ranks
    return np.fmax(result, result.T)


def _told_apart(groups: Sequence[Sequence[Look]]) -> Table:
    """Return the share of images of two categories for which CLIP's share of the right one is the larger one."""
    count = len(groups)
    right = np.full((count, count), np.nan)
    for index, group in enumerate(groups):
        seen = np.array([look.seen for look in group if look.seen is not None])
        if seen.size:
            ahead = seen[:, [index]] - seen
            right[index] = ((ahead > 0) + 0.5 * (ahead == 0)).mean(axis=0)
    return symmetric(right)


def _means(rows: Sequence[Sequence[Table]], width: int) -> Table:
    means = [np.mean(row, axis=0) if row else np.full(width, np.nan) for row in rows]
    return np.array(means).reshape(len(rows), width)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
