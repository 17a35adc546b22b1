"""Reliability of scores: do regions with a score of 0.8 agree with people to 0.8?

    expected calibration error = sum over bins of (regions in the bin / all regions) * |mean score - mean outcome|

There are two outcomes of a region: its IoU with the region that a person made of it (0 if the region was removed or got
another label), and whether it was accepted unchanged (Guo et al., ICML 2017, with equally wide bins).
"""

from dataclasses import dataclass

import numpy as np

BIN_COUNT = 10

USEFUL_IOU = 0.5
"""A predicted region of which less was right is sooner drawn anew than corrected."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The regions whose scores lie in [low, high); the last bin includes 1.0. Means are None in an empty bin.

    `accepted` counts the regions that were accepted unchanged, `useful` those with an outcome IoU of 0.5 or more.
    """

    low: float
    high: float
    regions: int
    mean_score: float | None
    mean_iou: float | None
    accepted_share: float | None
    accepted: int = 0
    useful: int = 0


@dataclass(frozen=True)
class Reliability:
    """Scores against outcomes.

    Attributes:
        bins: ten bins, from 0 to 1.
        iou_error: the expected calibration error of scores as a forecast of IoU; None if no region has a score.
        acceptance_error: the expected calibration error of scores as a forecast of being accepted unchanged.
        scored_regions: how many predicted regions have a score.
        unscored_regions: how many have no score, or a score that is not between 0 and 1.
    """

    bins: tuple[ReliabilityBin, ...]
    iou_error: float | None
    acceptance_error: float | None
    scored_regions: int
    unscored_regions: int


class ReliabilityCounter:
    """Sums over scored regions: a few numbers for each bin, however many regions there are."""

    def __init__(self) -> None:
        """Start with all sums at 0."""
        self._sums = np.zeros((BIN_COUNT, 5))  # regions, score, IoU, accepted, useful
        self._unscored = 0

    def add(self, score: float | None, iou: float, accepted: bool) -> None:
        """Count one predicted region: its score, its IoU (0..1), and whether it was accepted."""
        if score is None or not 0 <= score <= 1:
            self._unscored += 1
        else:
            self._sums[min(int(score * BIN_COUNT), BIN_COUNT - 1)] += (1, score, iou, accepted, iou >= USEFUL_IOU)

    def result(self) -> Reliability:
        """Return the bins and errors so far."""
        counts, scores, ious, accepted, _ = self._sums.T
        total = int(counts.sum())
        return Reliability(
            bins=tuple(_bin(number, *row) for number, row in enumerate(self._sums.tolist())),
            iou_error=float(np.abs(scores - ious).sum() / total) if total else None,
            acceptance_error=float(np.abs(scores - accepted).sum() / total) if total else None,
            scored_regions=total,
            unscored_regions=self._unscored,
        )


def _bin(number: int, count: float, score: float, iou: float, accepted: float, useful: float) -> ReliabilityBin:
    return ReliabilityBin(
        low=number / BIN_COUNT,
        high=(number + 1) / BIN_COUNT,
        regions=int(count),
        mean_score=score / count if count else None,
        mean_iou=iou / count if count else None,
        accepted_share=accepted / count if count else None,
        accepted=int(accepted),
        useful=int(useful),
    )
