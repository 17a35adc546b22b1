"""The figures of a dataset: sums over its images first, then everything that is divided.

mIoU, accuracies and boundary IoU divide sums over all images, as PASCAL VOC, ADE20K and the paper do; PQ as Kirillov et
al. do; AP as pycocotools does. The images are added in the dataset's order, so that an evaluation that was interrupted
gives the digits of one that was not.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.metrics.bootstrap import IoUBootstrap
from converters.metrics.boundary import boundary_ious
from converters.metrics.confusion import category_ious
from converters.metrics.intervals import Interval
from converters.metrics.panoptic_quality import SegmentMatches
from converters.metrics.reliability import Reliability, ReliabilityCounter
from ovdiff.evaluation.asked_words import AskedWord, Figures, word_figures
from ovdiff.evaluation.average_precision import AveragePrecision, average_precision
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.vocabulary import Category

Number = float | None
"""A share from 0 to 1; ``None`` where nothing says anything about it."""

RIGHT_IOU = 0.5
"""A painted word of which less is right is sooner drawn anew than corrected."""


@dataclass(frozen=True)
class Measures:
    """What an engine is worth on a dataset; shares from 0 to 1.

    Attributes:
        miou: the mean IoU of the classes that occur in the truth or in what was found; with background, if that counts.
        miou_interval: its 95 % interval, by a bootstrap over images; ``None`` with fewer than ten images.
        miou_without_background: the mean of the same IoUs without background's.
        pixel_accuracy: the share of known pixels with the right label.
        mean_accuracy: the mean over the classes of the truth of the share of their pixels that is right.
        boundary_iou: the mean boundary IoU of the categories.
        pq, sq, rq: panoptic, segmentation and recognition quality, means over categories; ``pq_things`` and
            ``pq_stuff`` over some of them.
        ap, ap50, ap75: COCO's average precision of masks, over things.
        score_error: the expected calibration error of the scores of painted words, as a forecast of an IoU of .5 or
            more. It says something only if scores are probabilities.
        words: present and absent words, for each size of vocabulary: "all" is the whole one.
    """

    miou: Number
    miou_interval: Interval | None
    miou_without_background: Number
    pixel_accuracy: Number
    mean_accuracy: Number
    boundary_iou: Number
    pq: Number = None
    sq: Number = None
    rq: Number = None
    pq_things: Number = None
    pq_stuff: Number = None
    ap: Number = None
    ap50: Number = None
    ap75: Number = None
    score_error: Number = None
    words: dict[str, Figures] | None = None


@dataclass(frozen=True)
class CategoryMeasures:
    """What an engine is worth on one category, or on background.

    Attributes:
        name: the category's name; "background" for background.
        pixels: how many known pixels of the truth show it.
        images: in how many images it occurs, in the truth or in what was found.
        iou: intersection over union, over all images.
        iou_interval: its 95 % interval; ``None`` with fewer than ten images.
        accuracy: the share of its true pixels that were found.
        precision: the share of the pixels given to it that are right.
        boundary_iou, pq, ap: see :class:`Measures`.
        confused_with: the class to which most of its other true pixels went, and their share of its true pixels.
    """

    name: str
    pixels: int
    images: int
    iou: Number
    iou_interval: Interval | None
    accuracy: Number
    precision: Number
    boundary_iou: Number = None
    pq: Number = None
    ap: Number = None
    confused_with: tuple[str, float] | None = None


@dataclass(frozen=True)
class Totals:
    """Everything that follows from the images of an evaluation.

    Attributes:
        images: how many there are.
        measures: of the whole dataset.
        categories: background first, if it counts, and each category in the vocabulary's order.
        confusion: (n + 1, n + 1) pixels: rows true labels, columns given ones.
        reliability: scores of painted words against their IoU.
        seconds: the mean of each step, by its name.
    """

    images: int
    measures: Measures
    categories: tuple[CategoryMeasures, ...]
    confusion: NDArray[np.int64]
    reliability: Reliability
    seconds: dict[str, float]


def totals_of(
    images: Iterable[ImageFigures], categories: Sequence[Category], *, counts_background: bool = True
) -> Totals:
    """Return what follows from the figures of images, in their order.

    Args:
        images: the figures.
        categories: the vocabulary's categories.
        counts_background: whether background is a class of the dataset.
    """
    sums = _Sums(len(categories))
    for image in images:
        sums.add(image)
    return sums.totals(categories, counts_background)


class _Sums:
    """Sums over images."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._images = 0
        self._confusion = np.zeros((count + 1, count + 1), dtype=np.int64)
        self._boundaries = np.zeros((2, count), dtype=np.int64)
        self._bootstrap = IoUBootstrap(count)
        self._reliability = ReliabilityCounter()
        self._segments: SegmentMatches | None = None
        self._masks: list[ImageFigures] = []
        self._words: dict[str, list[AskedWord]] = {}  # by size; of those absent and not painted the number is enough
        self._quiet: Counter[str] = Counter()
        self._seconds: dict[str, list[float]] = {}

    def add(self, image: ImageFigures) -> None:
        self._images += 1
        confusion = image.confusion(self._count)
        self._confusion += confusion
        self._bootstrap.add(confusion)
        for label, both, either in image.boundaries:
            self._boundaries[:, label - 1] += both, either
        self._add_words(image)
        if image.segments is not None:
            self._segments = _added(self._segments or SegmentMatches.none(self._count), image.segments)
        if image.true is not None:
            self._masks.append(image)
        for step, seconds in image.seconds.items():
            self._seconds.setdefault(step, []).append(seconds)

    def _add_words(self, image: ImageFigures) -> None:
        words = [word for _, word in image.words()]
        self._note_words("all", words, self._count)
        for word in words:
            if word.is_painted:
                self._reliability.add(word.score, word.iou, word.iou >= RIGHT_IOU)
        for small in image.small:
            self._note_words(str(small.size), [word for _, word in small.words], small.size)

    def _note_words(self, size: str, words: Sequence[AskedWord], asked: int) -> None:
        kept = [word for word in words if word.truth or word.painted]
        self._words.setdefault(size, []).extend(kept)
        self._quiet[size] += asked - len(kept)

    def totals(self, categories: Sequence[Category], counts_background: bool) -> Totals:
        precision = average_precision((i.size_hw, i.true or (), i.found or ()) for i in self._masks)
        rows = self._rows(categories, precision)
        shown = rows if counts_background else rows[1:]
        reliability = self._reliability.result()
        return Totals(
            images=self._images,
            measures=self._measures(categories, shown, rows[1:], precision, reliability, counts_background),
            categories=tuple(shown),
            confusion=self._confusion,
            reliability=reliability,
            seconds={step: float(np.mean(values)) for step, values in sorted(self._seconds.items())},
        )

    def _rows(self, categories: Sequence[Category], precision: AveragePrecision) -> list[CategoryMeasures]:
        names = ["background", *(category.name for category in categories)]
        true_px, given_px, right_px = (
            self._confusion.sum(axis=1),
            self._confusion.sum(axis=0),
            self._confusion.diagonal(),
        )
        ious, intervals = category_ious(self._confusion), self._bootstrap.intervals()
        boundaries = [np.nan, *boundary_ious(self._boundaries)]
        quality = [np.nan] * len(names)
        if self._segments is not None:
            quality = [np.nan, *self._segments.panoptic_quality]
        return [
            CategoryMeasures(
                name=name,
                pixels=int(true_px[label]),
                images=int(self._bootstrap.images[label]),
                iou=_number(ious[label]),
                iou_interval=intervals[label],
                accuracy=_share(right_px[label], true_px[label]),
                precision=_share(right_px[label], given_px[label]),
                boundary_iou=_number(boundaries[label]),
                pq=_number(quality[label]),
                ap=precision.by_label.get(label),
                confused_with=self._confused(label, names),
            )
            for label, name in enumerate(names)
        ]

    def _confused(self, label: int, names: Sequence[str]) -> tuple[str, float] | None:
        row = self._confusion[label].copy()
        total, row[label] = int(row.sum()), 0
        worst = int(row.argmax())
        return (names[worst], int(row[worst]) / total) if row[worst] else None

    def _measures(
        self,
        categories: Sequence[Category],
        shown: Sequence[CategoryMeasures],
        named: Sequence[CategoryMeasures],
        precision: AveragePrecision,
        reliability: Reliability,
        counts_background: bool,
    ) -> Measures:
        stuff = np.array([category.kind == "stuff" for category in categories], dtype=np.bool_)
        quality = {}
        if self._segments is not None:
            pq = self._segments.panoptic_quality
            quality = {
                "pq": _mean(pq),
                "sq": _mean(self._segments.segmentation_quality),
                "rq": _mean(self._segments.recognition_quality),
                "pq_things": _mean(pq[~stuff]),
                "pq_stuff": _mean(pq[stuff]),
            }
        scored = reliability.scored_regions
        return Measures(
            miou=_mean([row.iou for row in shown]),
            miou_interval=self._bootstrap.mean_interval(with_background=counts_background),
            miou_without_background=_mean([row.iou for row in named]),
            pixel_accuracy=_share(int(self._confusion.trace()), int(self._confusion.sum())),
            mean_accuracy=_mean([row.accuracy for row in shown]),
            boundary_iou=_mean([row.boundary_iou for row in named]),
            **quality,
            ap=precision.ap,
            ap50=precision.ap50,
            ap75=precision.ap75,
            score_error=reliability.acceptance_error if scored else None,
            words={size: word_figures(words, self._quiet[size]) for size, words in self._words.items()},
        )


def _added(sums: SegmentMatches, rows: Iterable[tuple[int, int, int, int, float]]) -> SegmentMatches:
    counts = np.zeros((3, len(sums.iou_sum)), dtype=np.int64)
    ious = np.zeros(len(sums.iou_sum))
    for label, *of_label, iou_sum in rows:
        counts[:, label - 1], ious[label - 1] = of_label, iou_sum
    return sums + SegmentMatches(counts[0], counts[1], counts[2], ious)


def _share(part: int, whole: int) -> Number:
    return float(part / whole) if whole else None


def _number(value: float) -> Number:
    return None if np.isnan(value) else float(value)


def _mean(values: Iterable[Number] | NDArray[np.float64]) -> Number:
    known = [float(value) for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(known)) if known else None
