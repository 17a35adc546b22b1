"""Whether scores mean what they say: of regions scored 0.8, is the agreement with people 0.8?

    expected calibration error = sum over bins of (regions in it / all) * |mean score - mean outcome|

A region's outcome is its IoU with what a person made of it (0 if it was removed or given another label), or
whether it was accepted untouched (Guo et al., ICML 2017, with equally wide bins).
"""

from dataclasses import dataclass

import numpy as np

BIN_COUNT = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The regions whose scores lie in [low, high), the last bin with 1.0; means are None where there are none."""

    low: float
    high: float
    regions: int
    mean_score: float | None
    mean_iou: float | None
    accepted_share: float | None


@dataclass(frozen=True)
class Reliability:
    """Scores against outcomes.

    Attributes:
        bins: ten, from 0 to 1.
        iou_error: expected calibration error of scores as a forecast of IoU; None without scores.
        acceptance_error: the same as a forecast of being accepted untouched.
        scored_regions: predicted regions with a score.
        unscored_regions: those without one, or with one that is not between 0 and 1.
    """

    bins: tuple[ReliabilityBin, ...]
    iou_error: float | None
    acceptance_error: float | None
    scored_regions: int
    unscored_regions: int


class ReliabilityCounter:
    """Sums over scored regions, a few numbers a bin however many there are."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._sums = np.zeros((BIN_COUNT, 4))  # regions, score, IoU, accepted
        self._unscored = 0

    def add(self, score: float | None, iou: float, accepted: bool) -> None:
        """Count one predicted region: its score, its outcome as IoU (0..1) and as a yes or no."""
        if score is None or not 0 <= score <= 1:
            self._unscored += 1
        else:
            self._sums[min(int(score * BIN_COUNT), BIN_COUNT - 1)] += (1, score, iou, accepted)

    def result(self) -> Reliability:
        """Return the bins and errors so far."""
        counts, scores, ious, accepted = self._sums.T
        total = int(counts.sum())
        return Reliability(
            bins=tuple(_bin(number, *row) for number, row in enumerate(self._sums.tolist())),
            iou_error=float(np.abs(scores - ious).sum() / total) if total else None,
            acceptance_error=float(np.abs(scores - accepted).sum() / total) if total else None,
            scored_regions=total,
            unscored_regions=self._unscored,
        )


def _bin(number: int, count: float, score: float, iou: float, accepted: float) -> ReliabilityBin:
    means = (score / count, iou / count, accepted / count) if count else (None, None, None)
    return ReliabilityBin(number / BIN_COUNT, (number + 1) / BIN_COUNT, int(count), *means)
