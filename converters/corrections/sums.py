"""The running sums behind a report on corrections: regions by outcome, model versions, the worst corrections."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from statistics import mean, median

import numpy as np

from converters.corrections.confusion import ConfusionMatrix
from converters.corrections.pairs import Correction, RegionPair
from converters.corrections.result import Number, PixelCounts, RegionCounts, VersionReport


@dataclass
class RegionSums:
    """How many regions had each outcome, and how many pixels were painted and erased."""

    outcomes: Counter[str] = field(default_factory=Counter)
    relabelled: int = 0
    painted_px: int = 0
    erased_px: int = 0
    annotated_px: int = 0

    def add(self, pair: RegionPair) -> None:
        """Count one pair of regions."""
        self.outcomes[pair.outcome] += 1
        self.relabelled += pair.relabelled
        self.painted_px += pair.painted_px
        self.erased_px += pair.erased_px
        self.annotated_px += pair.annotated_px

    def regions(self) -> RegionCounts:
        """Return how many regions were accepted, changed, added and removed."""
        accepted, changed, added, removed = (
            self.outcomes[outcome] for outcome in ("accepted", "changed", "added", "removed")
        )
        predicted = accepted + changed + removed
        share = accepted / predicted if predicted else None
        return RegionCounts(accepted, changed, self.relabelled, added, removed, share)

    def pixels(self) -> PixelCounts:
        """Return how many pixels were painted and erased."""
        share = (self.painted_px + self.erased_px) / self.annotated_px if self.annotated_px else None
        return PixelCounts(self.painted_px, self.erased_px, self.annotated_px, share)


class VersionSums:
    """Sums over the corrections of one model version's predictions.

    Of the confusion matrix only the diagonal and the sums of rows and columns are kept, because a project may see
    hundreds of versions.
    """

    def __init__(self, category_count: int) -> None:
        """Start without corrections."""
        self.sums = RegionSums()
        self._confusion = np.zeros((3, category_count + 1), dtype=np.int64)
        self.seconds: list[float] = []
        self._corrections = 0
        self._first_seen = ""

    def add(self, item: Correction, seconds: list[float]) -> None:
        """Count one correction, and the seconds that it took ([] if unknown)."""
        self._corrections += 1
        self.seconds += seconds
        seen = item.prediction.created_at
        if seen and (not self._first_seen or seen < self._first_seen):
            self._first_seen = seen

    @property
    def order(self) -> tuple[bool, str]:
        """A sort key: versions by time, then versions without a time."""
        return not self._first_seen, self._first_seen

    def add_pixels(self, confusion: ConfusionMatrix) -> None:
        """Add the confusion matrix of one image."""
        self._confusion += np.stack((np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))

    def report(self, name: str) -> VersionReport:
        """Return the version's point of the learning curve."""
        both, rows, columns = self._confusion
        unions = rows + columns - both
        ious = [float(b / u) for b, u in zip(both.tolist(), unions.tolist(), strict=True) if u]
        return VersionReport(
            model_version=name,
            first_seen=self._first_seen,
            corrections=self._corrections,
            mean_iou=mean(ious) if ious else None,
            regions=self.sums.regions(),
            pixels=self.sums.pixels(),
            median_seconds=median_of(self.seconds),
        )


class WorstCorrections:
    """The corrections with the lowest agreement; all other corrections are forgotten."""

    def __init__(self, size: int) -> None:
        """Start without corrections; at most `size` corrections are kept."""
        self._size = size
        self._heap: list[tuple[float, int, int, Correction]] = []  # the best of the worst on top
        self._number = count()

    def add(self, iou: float, item: Correction) -> None:
        """Keep a correction if it is among the worst so far; an IoU of NaN or 1.0 never is."""
        if self._size and iou < 1:
            heapq.heappush(self._heap, (-iou, item.changed_px, -next(self._number), item))
            if len(self._heap) > self._size:
                heapq.heappop(self._heap)

    def found(self) -> list[tuple[float, Correction]]:
        """Return the IoU and the correction, worst first; of equal IoUs, more changed pixels come first."""
        return [(-entry[0], entry[-1]) for entry in sorted(self._heap, key=lambda e: e[:-1], reverse=True)]


def median_of(values: list[float]) -> Number:
    """Return the median, None if there is no value."""
    return median(values) if values else None
