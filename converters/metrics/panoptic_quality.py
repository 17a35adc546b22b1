"""Panoptic quality: which segments were found, and how well they fit (Kirillov et al., CVPR 2019).

    PQ = sum of IoU(p, g) over matches / (TP + FP / 2 + FN / 2)  =  SQ * RQ
    SQ = mean IoU of the matches          RQ = TP / (TP + FP / 2 + FN / 2)          for each category

A predicted and a true segment of one category match if their IoU exceeds 0.5. Segments do not overlap, so no segment
can match twice. Pixels that are void in the truth do not count, and a predicted segment that lies in void by more than
half is no false positive. A crowd is many true objects under one mask: it can neither be matched nor missed, and to a
predicted segment of its category it is void. The counts of several images are added up before anything is divided.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converters.errors import EvaluationError

CategoryCounts = npt.NDArray[np.int64]
"""(n,) int64: a count of segments for each category."""

CategoryScores = npt.NDArray[np.float64]
"""(n,) float64: a measure of each category."""


@dataclass(frozen=True)
class SegmentMap:
    """One image cut into segments that do not overlap.

    Attributes:
        ids: (H, W) integers: 0 where there is no segment, else the number of the segment, from 1. Runs of pixels of one
            segment may stand for the pixels: then it is (N,).
        categories: categories[i] is the category, from 1, of segment i + 1.
    """

    ids: npt.NDArray[np.integer]
    categories: tuple[int, ...]

    def label_map(self) -> npt.NDArray[np.int32]:
        """Return the category of each pixel or run, int32, of the shape of `ids`; 0 where there is no segment."""
        by_id: npt.NDArray[np.int32] = np.array((0, *self.categories), dtype=np.int32)
        return by_id[self.ids]


@dataclass(frozen=True)
class SegmentMatches:
    """The matched and missed segments of each category, (n,) each; `+` adds the counts of several images."""

    true_positives: CategoryCounts
    false_positives: CategoryCounts
    false_negatives: CategoryCounts
    iou_sum: CategoryScores

    @classmethod
    def none(cls, category_count: int) -> "SegmentMatches":
        """Return counts that are all 0."""
        zeros = np.zeros(category_count, dtype=np.int64)
        return cls(zeros, zeros, zeros, np.zeros(category_count))

    def __add__(self, other: "SegmentMatches") -> "SegmentMatches":
        """Return the sums of two counts."""
        return SegmentMatches(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.iou_sum + other.iou_sum,
        )

    @property
    def recognition_quality(self) -> CategoryScores:
        """RQ of each category, (n,) float64; NaN for a category without a true or predicted segment."""
        return _ratio(self.true_positives, self._weight)

    @property
    def segmentation_quality(self) -> CategoryScores:
        """SQ of each category, (n,) float64; 0 if no segment matched, NaN for a category without a segment."""
        fit = _ratio(self.iou_sum, self.true_positives)
        return np.where(np.isnan(fit) & (self._weight > 0), 0.0, fit)

    @property
    def panoptic_quality(self) -> CategoryScores:
        """PQ of each category, (n,) float64; NaN for a category without a true or predicted segment."""
        return _ratio(self.iou_sum, self._weight)

    @property
    def _weight(self) -> CategoryScores:
        return self.true_positives + (self.false_positives + self.false_negatives) / 2


def match_segments(
    truth: SegmentMap,
    predicted: SegmentMap,
    category_count: int,
    void: npt.NDArray[np.bool_] | None = None,
    lengths: npt.NDArray[np.int64] | None = None,
    crowds: Collection[int] = (),
) -> SegmentMatches:
    """Match the segments of one image.

    Args:
        truth: the true segments of the image.
        predicted: the predicted segments of the image.
        category_count: n; categories are 1..n.
        void: (H, W) bool, the pixels whose true category is not known (None: every pixel's is known).
        lengths: how many pixels each id stands for, if the ids are those of runs, (N,) (None: each for one pixel).
        crowds: the ids of the true segments that are crowds.

    Raises:
        EvaluationError: the maps differ in shape, or hold ids or categories that do not exist.
    """
    _require(truth, category_count)
    _require(predicted, category_count)
    if truth.ids.shape != predicted.ids.shape or (void is not None and void.shape != truth.ids.shape):
        shapes = [truth.ids.shape, predicted.ids.shape, *([] if void is None else [void.shape])]
        raise EvaluationError(f"expected segments (and void) of one shape, got {shapes}")
    true_categories, given_categories = np.array((0, *truth.categories)), np.array((0, *predicted.categories))
    all_given_px = _pixels(predicted.ids.ravel(), None if lengths is None else lengths.ravel(), given_categories.size)
    known = np.ones(truth.ids.shape, dtype=np.bool_) if void is None else ~void
    true_ids, given_ids = truth.ids[known], predicted.ids[known]
    known_px = None if lengths is None else lengths[known]
    true_px = _pixels(true_ids, known_px, true_categories.size)
    given_px = _pixels(given_ids, known_px, given_categories.size)

    t, g, shared_px = _overlaps(true_ids, given_ids, known_px, given_categories.size)
    union_px = true_px[t] + given_px[g] - shared_px
    alike = (t > 0) & (g > 0) & (true_categories[t] == given_categories[g])
    is_crowd = np.zeros(true_categories.size, dtype=np.bool_)
    is_crowd[list(crowds)] = True
    in_crowd = alike & is_crowd[t]
    in_crowd_px = _pixels(g[in_crowd], shared_px[in_crowd], given_categories.size)
    matched = alike & ~is_crowd[t] & (2 * shared_px > union_px)
    t, g, ious = t[matched], g[matched], shared_px[matched] / union_px[matched]

    missed = (true_px > 0) & ~is_crowd
    missed[t] = False
    wrong = (all_given_px > 0) & (2 * (given_px - in_crowd_px) >= all_given_px)  # not by more than half in void
    wrong[g] = False

    size = category_count + 1
    return SegmentMatches(
        np.bincount(true_categories[t], minlength=size)[1:],
        np.bincount(given_categories[wrong], minlength=size)[1:],
        np.bincount(true_categories[missed], minlength=size)[1:],
        np.bincount(true_categories[t], ious, minlength=size)[1:].astype(np.float64),
    )


def _pixels(ids: npt.NDArray[np.integer], lengths: npt.NDArray[np.int64] | None, count: int) -> npt.NDArray[np.int64]:
    """Return how many pixels each id from 0 to `count` - 1 has; exact up to 2**53."""
    return np.bincount(ids, lengths, minlength=count).astype(np.int64)


def _overlaps(
    true_ids: npt.NDArray[np.integer],
    given_ids: npt.NDArray[np.integer],
    lengths: npt.NDArray[np.int64] | None,
    given_count: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pairs of ids that share pixels, as three arrays: true ids, given ids, numbers of shared pixels."""
    codes = true_ids.astype(np.int64) * given_count + given_ids
    pairs: npt.NDArray[np.int64]
    if codes.size and codes.max() <= codes.size:  # counting is quicker than sorting, but room for all pairs may not be
        pixels = _pixels(codes, lengths, 0)
        pairs = np.flatnonzero(pixels)
        pixels = pixels[pairs]
    else:
        pairs, which = np.unique(codes, return_inverse=True)
        pixels = _pixels(which, lengths, pairs.size)
    return pairs // given_count, pairs % given_count, pixels


def _require(segments: SegmentMap, category_count: int) -> None:
    ids, categories = segments.ids, segments.categories
    if ids.size and not 0 <= ids.min() <= ids.max() <= len(categories):
        raise EvaluationError(
            f"expected segment ids from 0 to {len(categories)}, one category each, got {ids.min()} to {ids.max()}"
        )
    strange = [category for category in categories if not 1 <= category <= category_count]
    if strange:
        raise EvaluationError(f"expected categories from 1 to {category_count}, got {strange[0]}")


def _ratio(over: npt.NDArray[np.number], under: npt.NDArray[np.number]) -> CategoryScores:
    ratio = np.full(over.shape, np.nan)
    np.divide(over, under, out=ratio, where=under > 0)
    return ratio
