"""How sure the figures of a dataset are: every figure that follows from sums over images, in each bootstrap replicate.

Figures that rank all detections or all words of the dataset (AP, AUROC) have none: each draw of the images would be
ranked anew. The calibration error has none either: it is a sum of absolute values, which a draw can only make larger.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from converters.metrics.bootstrap import FEWEST_IMAGES, IoUBootstrap, ReplicateSums, interval_of, mean_of_known, ratio
from converters.metrics.confusion import ConfusionMatrix
from converters.metrics.intervals import Interval
from converters.metrics.panoptic_quality import SegmentMatches
from ovdiff.evaluation.asked_words import RATES, SUMS, AskedWord, word_sums
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.vocabulary import Category

ALL = "all"
"""The size of the whole vocabulary, as the figures of words name it."""

Replicates = NDArray[np.float64]
Ranges = dict[str, Interval | None]


class FigureBootstrap:
    """Sums over the images of each replicate, and the figures that follow from them."""

    def __init__(self, categories: Sequence[Category], *, counts_background: bool = True) -> None:
        """Start without images.

        Args:
            categories: the vocabulary's categories.
            counts_background: whether background is a class of the dataset.
        """
        self._count = len(categories)
        self._is_stuff = np.array([category.kind == "stuff" for category in categories], dtype=np.bool_)
        self._shown = slice(0 if counts_background else 1, None)
        self.labels = IoUBootstrap(self._count)
        self._boundaries = ReplicateSums(2, self._count)
        self._segments = ReplicateSums(4, self._count)
        self._words: dict[str, ReplicateSums] = {}
        self._images, self._with_segments = 0, 0

    def add(self, image: ImageFigures, confusion: ConfusionMatrix) -> None:
        """Add an image, of which the confusion matrix is known already."""
        number = self._images
        self._images += 1
        self.labels.add(confusion)
        if image.boundaries:
            rows = np.array(image.boundaries).T
            self._boundaries.add(number, rows[0] - 1, rows[1:])
        if image.segments is not None:
            self._with_segments += 1
            if image.segments:
                segments = np.array(image.segments).T
                self._segments.add(number, segments[0].astype(np.int64) - 1, segments[1:])
        self._add_words(number, ALL, [word for _, word in image.words()], self._count)
        small: dict[int, list[AskedWord]] = {}
        for each in image.small:
            small.setdefault(each.size, []).extend(word for _, word in each.words)
        for size, words in small.items():
            self._add_words(number, str(size), words, len(words))

    def _add_words(self, number: int, size: str, words: Sequence[AskedWord], asked: int) -> None:
        sums = self._words.setdefault(size, ReplicateSums(SUMS, 1))
        values = np.array(word_sums(words, asked - len(words)))
        sums.add(number, np.zeros(1, dtype=np.int64), values[:, None])

    def measures(self) -> dict[str, Replicates]:
        """Return the replicates of each figure of the dataset, named as :class:`ovdiff.evaluation.sums.Measures`.

        Figures of few images are left out.
        """
        if self._images < FEWEST_IMAGES:
            return {}
        right, true, given = self.labels.pixels
        ious = ratio(right, true + given - right)
        both, either = self._boundaries.sums
        found = {
            "miou": mean_of_known(ious[:, self._shown]),
            "miou_without_background": mean_of_known(ious[:, 1:]),
            "pixel_accuracy": ratio(right.sum(axis=1), true.sum(axis=1)),
            "mean_accuracy": mean_of_known(ratio(right, true)[:, self._shown]),
            "boundary_iou": mean_of_known(ratio(both, either)),
        }
        if self._with_segments >= FEWEST_IMAGES:
            quality = self._quality()
            found["pq"] = mean_of_known(quality.panoptic_quality)
            found["sq"] = mean_of_known(quality.segmentation_quality)
            found["rq"] = mean_of_known(quality.recognition_quality)
            found["pq_things"] = mean_of_known(quality.panoptic_quality[:, ~self._is_stuff])
            found["pq_stuff"] = mean_of_known(quality.panoptic_quality[:, self._is_stuff])
        return found

    def words(self) -> dict[str, dict[str, Replicates]]:
        """Return the replicates of the rates of words, for each size of vocabulary."""
        if self._images < FEWEST_IMAGES:
            return {}
        return {
            size: {name: ratio(sums.sums[over, :, 0], sums.sums[under, :, 0]) for name, (over, under) in RATES.items()}
            for size, sums in self._words.items()
        }

    def category_ranges(self) -> list[Ranges]:
        """Return the 95 % intervals of background and of each category.

        Of each its recall ("accuracy"), precision, boundary IoU and PQ; none where it occurs in few images.
        """
        right, true, given = self.labels.pixels
        nothing = np.full((len(right), 1), np.nan)
        both, either = self._boundaries.sums
        replicates = {
            "accuracy": ratio(right, true),
            "precision": ratio(right, given),
            "boundary_iou": np.concatenate((nothing, ratio(both, either)), axis=1),
            "pq": np.concatenate((nothing, self._quality().panoptic_quality), axis=1),
        }
        return [
            {
                name: interval_of(values[:, label]) if self.labels.images[label] >= FEWEST_IMAGES else None
                for name, values in replicates.items()
            }
            for label in range(self._count + 1)
        ]

    def _quality(self) -> SegmentMatches:
        true, false, missed, iou_sums = self._segments.sums
        return SegmentMatches(
            cast("NDArray[np.int64]", true),
            cast("NDArray[np.int64]", false),
            cast("NDArray[np.int64]", missed),
            iou_sums,
        )


def ranges_of(replicates: Mapping[str, Replicates]) -> Ranges:
    """Return the 95 % interval of each figure."""
    return {name: interval_of(values) for name, values in replicates.items()}


def difference_ranges(first: Mapping[str, Replicates], second: Mapping[str, Replicates]) -> Ranges:
    """Return the 95 % interval of each figure of the second less the first's, on the same images in the same order."""
    return {name: interval_of(second[name] - values) for name, values in first.items() if name in second}
