"""Label maps against label maps: the IoU of each category and the mean IoU, over any number of images.

Intersections and unions are summed over all images before they are divided (as PASCAL VOC, ADE20K and the paper do), so
every pixel weighs the same, in whatever image it lies. Intersections and unions follow from one matrix:

    confusion[t, p] = pixels of true label t that were given the label p          labels 0 (background) to n
    IoU[c] = confusion[c, c] / (confusion[c, :].sum() + confusion[:, c].sum() - confusion[c, c])
"""

import numpy as np
import numpy.typing as npt

from converters.errors import EvaluationError

LabelMap = npt.NDArray[np.integer]
"""(H, W) integers: 0 background, i the i-th category (from 1)."""

ConfusionMatrix = npt.NDArray[np.int64]
"""(n + 1, n + 1) pixel counts, rows true labels, columns predicted ones."""

IGNORE = 255
"""A true label whose pixels do not count, as in PASCAL VOC."""


def confusion_matrix(
    truth: LabelMap, predicted: LabelMap, category_count: int, lengths: npt.NDArray[np.int64] | None = None
) -> ConfusionMatrix:
    """Count the pixels of each pair of labels; add up the matrices of several images.

    Args:
        truth: (H, W) integers 0..n; pixels of 255 (`IGNORE`) do not count unless there are that many categories.
        predicted: (H, W) integers 0..n.
        category_count: n, the number of categories without background.
        lengths: how many pixels each label stands for, if the labels are those of runs, (N,) (None: of one pixel).

    Raises:
        EvaluationError: the maps differ in shape, or hold a label beyond n.
    """
    if truth.shape != predicted.shape:
        raise EvaluationError(f"expected label maps of one shape, got {truth.shape} and {predicted.shape}")
    size = category_count + 1
    counted = truth != IGNORE if category_count < IGNORE else np.ones(truth.shape, dtype=np.bool_)
    true_labels, given_labels = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    weights = None if lengths is None else lengths[counted]
    for name, labels in (("true", true_labels), ("predicted", given_labels)):
        strange = labels[(labels < 0) | (labels >= size)]
        if strange.size:
            raise EvaluationError(f"expected {name} labels from 0 to {category_count}, got {strange[0]}")
    pixels = np.bincount(true_labels * size + given_labels, weights, minlength=size * size)  # exact up to 2**53
    return pixels.astype(np.int64).reshape(size, size)


def category_ious(confusion: ConfusionMatrix) -> npt.NDArray[np.float64]:
    """Return the IoU of background and of each category, (n + 1,) float64; NaN if neither map has a pixel of it."""
    intersections = np.diag(confusion)
    unions = confusion.sum(axis=0) + confusion.sum(axis=1) - intersections
    ious = np.full(len(unions), np.nan)
    np.divide(intersections, unions, out=ious, where=unions > 0)
    return ious


def mean_iou(confusion: ConfusionMatrix, *, with_background: bool = True) -> float:
    """Return the mean IoU over the categories that occur; NaN if no category occurs."""
    ious = category_ious(confusion)[0 if with_background else 1 :]
    known = ious[~np.isnan(ious)]
    return float(known.mean()) if known.size else float("nan")
