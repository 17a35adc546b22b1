"""Boundary IoU: how well outlines agree, which the IoU of a large object hardly shows (Cheng et al., CVPR 2021).

    boundary(M) = pixels of M within d of its outline:  M minus M eroded d times by a 3x3 square
    boundary IoU(G, P) = |boundary(G) & boundary(P)| / |boundary(G) | boundary(P)|
    d = 2 % of the image's diagonal in pixels, rounded, at least 1 (their `dilation_ratio` of 0.02)

The surroundings of the image count as outside the mask, as in their code: a mask that the border cuts off has an
outline there. Eroding d times by a 3x3 square equals eroding once by a square of 2d + 1 pixels, along rows and then
along columns; stretches of True are joined to stretches twice as long, until they are that long.
"""

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from converters.encodings.masks import Mask, mask_box
from converters.errors import EvaluationError

DILATION_RATIO = 0.02
"""The width of the boundary as a share of the image's diagonal, as in the paper."""


def boundary_width_px(size_hw: tuple[int, int], dilation_ratio: float = DILATION_RATIO) -> int:
    """Return the width d of the boundary for an image of (height, width) pixels; at least 1."""
    return max(1, round(dilation_ratio * math.hypot(*size_hw)))


def mask_to_boundary(mask: Mask, width_px: int) -> Mask:
    """Return the pixels of a (H, W) mask that are at most `width_px` from its outline (chessboard distance)."""
    box = mask_box(mask)  # around it nothing is True, so its box is as good as the whole image
    boundary = np.zeros_like(mask)
    boundary[box] = mask[box] & ~_eroded(mask[box], width_px)
    return boundary


def boundary_iou(truth: Mask, predicted: Mask, dilation_ratio: float = DILATION_RATIO) -> float:
    """Return the boundary IoU of two masks of one image; 1.0 if both are empty."""
    width_px = boundary_width_px((truth.shape[0], truth.shape[1]), dilation_ratio)
    counts = boundary_counts(truth.astype(np.uint8), predicted.astype(np.uint8), 1, width_px)
    intersection, union = counts[:, 0]
    return float(intersection / union) if union else 1.0


def boundary_counts(
    truth: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    category_count: int,
    width_px: int,
    labels: Collection[int] | None = None,
) -> npt.NDArray[np.int64]:
    """Count where the boundaries of each category meet in two label maps; add up the counts of several images.

    Args:
        truth: (H, W) integers 0..n, 0 background.
        predicted: (H, W) integers 0..n, of the same shape.
        category_count: n, the number of categories without background.
        width_px: the width of the boundary (`boundary_width_px`) of the whole image, even if the maps are only a part
            of the image.
        labels: the labels from 1 to n that occur in either map, where they are known (None: they are looked for).

    Returns:
        (2, n) int64: for each category, the pixels in both boundaries, and the pixels in at least one of them.
        Background has no outline of its own.

    Raises:
        EvaluationError: the maps differ in shape.
    """
    if truth.shape != predicted.shape:
        raise EvaluationError(f"expected label maps of one shape, got {truth.shape} and {predicted.shape}")
    counts = np.zeros((2, category_count), dtype=np.int64)
    if labels is None:
        labels = _labels_in(truth, category_count) | _labels_in(predicted, category_count)
    for label in sorted(labels):
        ours, theirs = (mask_to_boundary(label_map == label, width_px) for label_map in (truth, predicted))
        counts[:, label - 1] = np.count_nonzero(ours & theirs), np.count_nonzero(ours | theirs)
    return counts


def boundary_ious(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the boundary IoU of each category from counts, (n,) float64; NaN for a category without a boundary."""
    ious = np.full(counts.shape[1], np.nan)
    np.divide(counts[0], counts[1], out=ious, where=counts[1] > 0)
    return ious


def _labels_in(label_map: npt.NDArray[np.integer], category_count: int) -> set[int]:
    """Return the labels from 1 to n that occur in a label map."""
    pixels = np.bincount(label_map.clip(0, category_count + 1).ravel(), minlength=category_count + 2)
    return set((np.flatnonzero(pixels[1:-1]) + 1).tolist())


def _eroded(mask: Mask, width_px: int) -> Mask:
    """Keep the pixels whose square of 2 * width_px + 1 pixels is all True; outside the mask all is False."""
    return _eroded_along_rows(_eroded_along_rows(mask, width_px).T, width_px).T


def _eroded_along_rows(mask: Mask, width_px: int) -> Mask:
    """Keep the pixels that have `width_px` True pixels on either side in their row."""
    window = 2 * width_px + 1
    kept = np.zeros_like(mask)
    if mask.shape[1] >= window:
        runs, reach = mask, 1  # runs[:, i] tells whether the `reach` pixels from i on are all True
        while reach < window:
            step = min(reach, window - reach)
            runs = runs[:, :-step] & runs[:, step:]
            reach += step
        kept[:, width_px : mask.shape[1] - width_px] = runs
    return kept
