"""The figures of a dataset: sums over its images first, then everything that is divided.

mIoU, accuracies and boundary IoU divide sums over all images, as PASCAL VOC, ADE20K and the paper do; PQ as Kirillov et
al. do; AP as pycocotools does. The images are added in the dataset's order, so that an evaluation that was interrupted
gives the digits of one that was not.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from converters.metrics.boundary import boundary_ious
from converters.metrics.confusion import category_ious
from converters.metrics.intervals import Interval
from converters.metrics.panoptic_quality import SegmentMatches
from converters.metrics.reliability import Reliability, ReliabilityCounter
from ovdiff.evaluation.asked_words import AskedWord, Figures, word_figures
from ovdiff.evaluation.average_precision import AveragePrecision, average_precision
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.ranges import ALL, FigureBootstrap, Ranges, ranges_of
from ovdiff.evaluation.ranking import image_miou
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
        intervals: the 95 % intervals of those figures above that follow from sums over images, by their names.
        word_intervals: those of the rates of words, for each size of vocabulary.
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
    intervals: Ranges = field(default_factory=dict)
    word_intervals: dict[str, Ranges] = field(default_factory=dict)


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
        intervals: the 95 % intervals of ``accuracy``, ``precision``, ``boundary_iou`` and ``pq``.
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
    intervals: Ranges = field(default_factory=dict)


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
        image_mious: the mean IoU of each image by its name, ``None`` where nothing is known; in the images' order.
        replicates: the figures in each bootstrap replicate, for differences between evaluations of the same images;
            their intervals are among the measures, by which two totals are compared.
    """

    images: int
    measures: Measures
    categories: tuple[CategoryMeasures, ...]
    confusion: NDArray[np.int64]
    reliability: Reliability
    seconds: dict[str, float]
    image_mious: dict[str, Number]
    replicates: FigureBootstrap = field(compare=False, repr=False)


def totals_of(
    images: Iterable[ImageFigures], categories: Sequence[Category], *, counts_background: bool = True
) -> Totals:
    """Return what follows from the figures of images, in their order.

    Args:
        images: the figures.
        categories: the vocabulary's categories.
        counts_background: whether background is a class of the dataset.
    """
    sums = _Sums(categories, counts_background)
    for image in images:
        sums.add(image)
    return sums.totals(categories)


class _Sums:
    """Sums over images."""

    def __init__(self, categories: Sequence[Category], counts_background: bool) -> None:
        self._count = count = len(categories)
        self._counts_background = counts_background
        self._mious: dict[str, Number] = {}
        self._confusion = np.zeros((count + 1, count + 1), dtype=np.int64)
        self._boundaries = np.zeros((2, count), dtype=np.int64)
        self._bootstrap = FigureBootstrap(categories, counts_background=counts_background)
        self._reliability = ReliabilityCounter()
        self._segments: SegmentMatches | None = None
        self._masks: list[ImageFigures] = []
        self._words: dict[str, list[AskedWord]] = {}  # by size; of those absent and not painted the number is enough
        self._quiet: Counter[str] = Counter()
        self._seconds: dict[str, list[float]] = {}

    def add(self, image: ImageFigures) -> None:
        confusion = image.confusion(self._count)
        self._confusion += confusion
        self._bootstrap.add(image, confusion)
        self._mious[image.image] = image_miou(confusion, counts_background=self._counts_background)
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
        self._note_words(ALL, words, self._count)
        for word in words:
            if word.is_painted:
                self._reliability.add(word.score, word.iou, word.iou >= RIGHT_IOU)
        for small in image.small:
            self._note_words(str(small.size), [word for _, word in small.words], small.size)

    def _note_words(self, size: str, words: Sequence[AskedWord], asked: int) -> None:
        kept = [word for word in words if word.truth or word.painted]
        self._words.setdefault(size, []).extend(kept)
        self._quiet[size] += asked - len(kept)

    def totals(self, categories: Sequence[Category]) -> Totals:
        precision = average_precision((i.size_hw, i.true or (), i.found or ()) for i in self._masks)
        rows = self._rows(categories, precision)
        shown = rows if self._counts_background else rows[1:]
        reliability = self._reliability.result()
        return Totals(
            images=len(self._mious),
            measures=self._measures(categories, shown, rows[1:], precision, reliability),
            categories=tuple(shown),
            confusion=self._confusion,
            reliability=reliability,
            seconds={step: float(np.mean(values)) for step, values in sorted(self._seconds.items())},
            image_mious=self._mious,
            replicates=self._bootstrap,
        )

    def _rows(self, categories: Sequence[Category], precision: AveragePrecision) -> list[CategoryMeasures]:
        names = ["background", *(category.name for category in categories)]
        true_px, given_px, right_px = (
            self._confusion.sum(axis=1),
            self._confusion.sum(axis=0),
            self._confusion.diagonal(),
        )
        ious, intervals = category_ious(self._confusion), self._bootstrap.labels.intervals()
        ranges = self._bootstrap.category_ranges()
        boundaries = [np.nan, *boundary_ious(self._boundaries)]
        quality = [np.nan] * len(names)
        if self._segments is not None:
            quality = [np.nan, *self._segments.panoptic_quality]
        return [
            CategoryMeasures(
                name=name,
                pixels=int(true_px[label]),
                images=int(self._bootstrap.labels.images[label]),
                iou=_number(ious[label]),
                iou_interval=intervals[label],
                accuracy=_share(right_px[label], true_px[label]),
                precision=_share(right_px[label], given_px[label]),
                boundary_iou=_number(boundaries[label]),
                pq=_number(quality[label]),
                ap=precision.by_label.get(label),
                confused_with=self._confused(label, names),
                intervals=ranges[label],
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
        intervals = ranges_of(self._bootstrap.measures())
        word_intervals = {size: ranges_of(rates) for size, rates in self._bootstrap.words().items()}
        return Measures(
            miou=_mean([row.iou for row in shown]),
            miou_interval=intervals.get("miou"),
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
            intervals=intervals,
            word_intervals=word_intervals,
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
