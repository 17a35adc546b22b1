"""The running sums behind a report on corrections: regions by outcome, versions, annotators, sizes, the worst."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from statistics import mean, median

import numpy as np

from converters.corrections.pairs import Correction, RegionPair
from converters.corrections.result import (
    AnnotatorReport,
    Number,
    PixelCounts,
    RegionCounts,
    SizeReport,
    VersionReport,
)
from converters.corrections.splits import Regrouping
from converters.metrics.confusion import ConfusionMatrix

COCO_SIZES = (("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, None))
"""COCO's classes of objects by area in pixels: the name, the lower edge, and the upper edge, which is not included."""


@dataclass
class RegionSums:
    """How many regions had each outcome, and how many pixels were painted and erased."""

    outcomes: Counter[str] = field(default_factory=Counter)
    relabelled: int = 0
    painted_px: int = 0
    erased_px: int = 0
    annotated_px: int = 0
    splits: int = 0
    merges: int = 0
    iou_sum: float = 0.0

    def add(self, pair: RegionPair) -> None:
        """Count one pair of regions."""
        self.outcomes[pair.outcome] += 1
        self.relabelled += pair.relabelled
        self.painted_px += pair.painted_px
        self.erased_px += pair.erased_px
        self.annotated_px += pair.annotated_px
        if pair.predicted is not None and not pair.relabelled:
            self.iou_sum += pair.iou

    def add_regrouping(self, found: Regrouping) -> None:
        """Count a split or a merge."""
        self.splits += found.is_split
        self.merges += not found.is_split

    def regions(self) -> RegionCounts:
        """Return how many regions were accepted, changed, added and removed."""
        accepted, changed, added, removed = (
            self.outcomes[outcome] for outcome in ("accepted", "changed", "added", "removed")
        )
        predicted = accepted + changed + removed
        share = accepted / predicted if predicted else None
        return RegionCounts(accepted, changed, self.relabelled, added, removed, share, self.splits, self.merges)

    def mean_iou(self) -> Number:
        """Return the mean IoU of the predicted regions, 0 for those that were removed or relabelled."""
        predicted = sum(self.outcomes[outcome] for outcome in ("accepted", "changed", "removed"))
        return self.iou_sum / predicted if predicted else None

    def pixels(self) -> PixelCounts:
        """Return how many pixels were painted and erased."""
        share = (self.painted_px + self.erased_px) / self.annotated_px if self.annotated_px else None
        return PixelCounts(self.painted_px, self.erased_px, self.annotated_px, share)


class SizeSums:
    """Sums over the regions of each of COCO's sizes of objects."""

    def __init__(self) -> None:
        """Start without regions."""
        self._sums = tuple(RegionSums() for _ in COCO_SIZES)

    def add(self, pair: RegionPair) -> None:
        """Count one pair of regions by the size of the annotated region, or of the predicted one if that is gone."""
        area_px = pair.annotated_px if pair.annotated is not None else pair.predicted_px
        place = next(i for i, (_, _, high) in enumerate(COCO_SIZES) if high is None or area_px < high)
        self._sums[place].add(pair)

    def report(self) -> tuple[SizeReport, ...]:
        """Return the regions of each size, also of sizes that do not occur."""
        return tuple(
            SizeReport(name, low, high, sums.regions(), sums.mean_iou())
            for (name, low, high), sums in zip(COCO_SIZES, self._sums, strict=True)
        )


@dataclass
class AnnotatorSums:
    """Sums over the corrections of one person."""

    sums: RegionSums = field(default_factory=RegionSums)
    seconds: list[float] = field(default_factory=list)
    corrections: int = 0

    def report(self, name: str) -> AnnotatorReport:
        """Return the row of a person."""
        return AnnotatorReport(name, self.corrections, self.sums.regions(), self.sums.pixels(), median_of(self.seconds))


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
