"""Masks: the type that all converters share, its connected parts and its holes.

A mask is (H, W) bool: True inside, False outside. Parts are 8-connected (pixels touch at corners too) and, to match,
holes are 4-connected. Outlines of masks are in `polygons`.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from converters.errors import MaskError

Mask: TypeAlias = npt.NDArray[np.bool_]
"""(H, W) bool, True inside."""

PartNumbers: TypeAlias = npt.NDArray[np.int32]
"""(H, W) int32: 0 outside, parts numbered from 1."""

_Indices: TypeAlias = npt.NDArray[np.int64]

MAX_PIXELS = 100_000_000
"""Largest image that is decoded unless the caller says otherwise: 100 MB as a mask."""


def require_mask(mask: Mask) -> None:
    """Raise MaskError unless `mask` is a (H, W) bool array with at least one pixel."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        got = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MaskError(
            f"expected a (H, W) bool mask with at least one pixel, got {got}; "
            "compare first, as in `alpha >= 128` or `label_map == 3`"
        )


def require_size(size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) if both are whole numbers of 1 or more and the image is small enough.

    Raises:
        MaskError: one of them is no such number, or height x width exceeds `max_pixels`.
    """
    height, width = size_hw
    for name, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise MaskError(f"expected an image {name} of at least 1 pixel, got {value!r}")
    if int(height) * int(width) > max_pixels:
        raise MaskError(
            f"expected an image of at most {max_pixels} pixels, got {width}x{height} = {height * width}; "
            "raise `max_pixels` if that is meant"
        )
    return int(height), int(width)


def mask_iou(first: Mask, second: Mask) -> float:
    """Return intersection over union of two masks of one size; 1.0 if both are empty."""
    require_mask(first)
    require_mask(second)
    if first.shape != second.shape:
        raise MaskError(f"expected masks of one shape, got {first.shape} and {second.shape}")
    inside = mask_box(first)
    shared = np.count_nonzero(first[inside] & second[inside])
    union = np.count_nonzero(first) + np.count_nonzero(second) - shared
    return float(shared / union) if union else 1.0


def mask_box(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and the columns around a mask's pixels; those of an empty mask are empty.

    An object covers a small part of its image, so whatever is done within its box takes a small part of the time.
    """
    require_mask(mask)
    sides = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(int(side[0]), int(side[-1]) + 1) if side.size else slice(0, 0) for side in sides)
    return rows, columns


# ---------------------------------------------------------------- parts and holes


def label_parts(mask: Mask, *, connectivity: Literal[4, 8] = 8) -> tuple[PartNumbers, int]:
    """Number the connected parts of a mask.

    Args:
        mask: (H, W) bool.
        connectivity: 8 if pixels that touch at a corner belong together, else 4.

    Returns:
        The part numbers, (H, W) int32: 0 outside, 1..n inside, in reading order of each part's first pixel. Second, n.
    """
    require_mask(mask)
    height, width = mask.shape
    starts, ends = _row_runs(mask)
    roots = _join_runs(starts, ends, stride=width + 1, reach=int(connectivity == 8))
    first_runs, numbers = np.unique(roots, return_inverse=True)
    steps = np.zeros(height * (width + 1), dtype=np.int32)
    steps[starts] += numbers.astype(np.int32) + 1
    steps[ends] -= numbers.astype(np.int32) + 1
    labels = np.cumsum(steps, dtype=np.int32).reshape(height, width + 1)[:, :width]
    return np.ascontiguousarray(labels), first_runs.size


def split_parts(mask: Mask, *, connectivity: Literal[4, 8] = 8) -> Iterator[Mask]:
    """Yield each connected part as a mask of the same size, in reading order.

    Only one mask is in memory at a time, because there may be many parts.
    """
    labels, count = label_parts(mask, connectivity=connectivity)
    return (labels == number for number in range(1, count + 1))


def part_boxes_xywh(mask: Mask) -> list[tuple[int, int, int, int]]:
    """Return the bounding box (x, y, width, height) in pixels of each 8-connected part, in reading order."""
    labels, count = label_parts(mask)
    starts, ends = _row_runs(mask)
    rows, left = np.divmod(starts, mask.shape[1] + 1)
    number = labels[rows, left] - 1
    low = np.full((2, count), max(mask.shape), dtype=np.int64)
    high = np.zeros((2, count), dtype=np.int64)
    for side, first, last in ((0, left, left + ends - starts), (1, rows, rows + 1)):
        np.minimum.at(low[side], number, first)
        np.maximum.at(high[side], number, last)
    return [(x, y, width, height) for x, y, width, height in np.concatenate((low, high - low)).T.tolist()]


def remove_small_parts(mask: Mask, min_area_px: int) -> Mask:
    """Return the mask without its 8-connected parts of fewer than `min_area_px` pixels."""
    labels, _ = label_parts(mask)
    keep = np.bincount(labels.ravel()) >= min_area_px
    keep[0] = False
    return np.asarray(keep[labels])


def fill_holes(mask: Mask, max_hole_px: int | None = None) -> Mask:
    """Return the mask with its holes of at most `max_hole_px` pixels filled (None: all of them).

    A hole is a 4-connected part of the background that does not touch the image's border.
    """
    labels, _ = label_parts(~mask, connectivity=4)
    areas = np.bincount(labels.ravel())
    fill = np.ones(areas.size, dtype=np.bool_) if max_hole_px is None else areas <= max_hole_px
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[border] = False
    fill[0] = True  # the mask itself
    return np.asarray(fill[labels])


def has_holes(mask: Mask) -> bool:
    """Tell whether a mask has holes; outer outlines alone would lose them."""
    inside = mask[mask_box(mask)]
    return bool(inside.size) and bool((fill_holes(inside) != inside).any())


def _row_runs(mask: Mask) -> tuple[_Indices, _Indices]:
    """Return starts and ends (exclusive) of the runs of True, as flat indices into rows of width + 1."""
    padded = np.pad(mask, ((0, 0), (0, 1))).ravel()
    changes = np.flatnonzero(np.diff(padded, prepend=False))
    return changes[::2], changes[1::2]


def _join_runs(starts: _Indices, ends: _Indices, *, stride: int, reach: int) -> _Indices:
    """Return for each run the index of the first run of its part.

    Two runs of neighbouring rows meet if the upper run, moved down by a row and widened by `reach`, overlaps the lower.
    """
    first = np.searchsorted(ends, starts + stride - reach, side="right")
    last = np.searchsorted(starts, ends + stride + reach, side="left")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(starts.size), counts)
    lower = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    roots = np.arange(starts.size)
    while True:  # each round hooks every root to the smallest root it meets, then flattens the trees
        left, right = roots[upper], roots[lower]
        apart = left != right
        if not apart.any():
            return roots
        left, right = left[apart], right[apart]
        np.minimum.at(roots, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(roots, flatter := roots[roots]):
            roots = flatter
