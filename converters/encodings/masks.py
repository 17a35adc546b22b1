"""Masks: the type all converters share, connected parts, holes, and polygons there and back.

A mask is (H, W) bool. Polygons are (n, 2) float64 arrays of (x, y) in pixels, x to the right and y down, with
(0, 0) the outer corner of the first pixel: pixel (row, column) covers [column, column + 1] x [row, row + 1],
so the outline of a single pixel has the corners (0, 0), (1, 0), (1, 1), (0, 1). A pixel belongs to a polygon
if its centre does.

Parts are 8-connected (pixels touch at corners too) and, to match, holes are 4-connected.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from converters.errors import MaskError, PolygonError

Mask: TypeAlias = npt.NDArray[np.bool_]
"""(H, W) bool, True inside."""

Polygon: TypeAlias = npt.NDArray[np.float64]
"""(n, 2) float64, (x, y) in pixels, not closed: the last point is not the first again."""

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
        MaskError: they are not, or height x width exceeds `max_pixels`.
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
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


# ---------------------------------------------------------------- parts and holes


def label_parts(mask: Mask, *, connectivity: Literal[4, 8] = 8) -> tuple[PartNumbers, int]:
    """Number the connected parts of a mask.

    Args:
        mask: (H, W) bool.
        connectivity: 8 if pixels that touch at a corner belong together, else 4.

    Returns:
        (H, W) int32 with 0 outside and 1..n inside, numbered by each part's first pixel in reading order; n.
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
    """Yield each connected part as a mask of the same size, in reading order; one at a time, for there may be many."""
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
    """Tell whether some background is enclosed: outer outlines alone would then lose it."""
    return bool((fill_holes(mask) != mask).any())


def _row_runs(mask: Mask) -> tuple[_Indices, _Indices]:
    """Return starts and ends (exclusive) of the runs inside, as flat indices of rows of width + 1."""
    padded = np.pad(mask, ((0, 0), (0, 1))).ravel()
    changes = np.flatnonzero(np.diff(padded, prepend=False))
    return changes[::2], changes[1::2]


def _join_runs(starts: _Indices, ends: _Indices, *, stride: int, reach: int) -> _Indices:
    """Return for each run the index of the first run of its part.

    Runs of neighbouring rows meet if one, moved down by a row and widened by `reach`, overlaps the other.
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


# ---------------------------------------------------------------- masks to polygons


def mask_to_polygons(mask: Mask, tolerance_px: float = 1.0, max_vertices: int | None = None) -> list[Polygon]:
    """Outline each 8-connected part by one polygon; holes are filled (ask `has_holes`, use RLE to keep them).

    Args:
        mask: (H, W) bool.
        tolerance_px: how far a dropped outline point may lie from the polygon (Douglas-Peucker), in pixels;
            0 keeps every corner, and rasterises back to exactly the mask if it has no holes.
        max_vertices: at most so many points a polygon (3 or more); the least important go first.

    Returns:
        One (n, 2) float64 array of (x, y) in pixels for each part, in reading order of their first pixels.
    """
    require_mask(mask)
    if tolerance_px < 0 or (max_vertices is not None and max_vertices < 3):
        raise PolygonError(
            f"expected tolerance_px of 0 or more and max_vertices of 3 or more, got {tolerance_px} and {max_vertices}"
        )
    return [_simplify(ring, tolerance_px, max_vertices) for ring in _outer_rings(mask)]


def _outer_rings(mask: Mask) -> Iterator[Polygon]:
    """Yield the outer outline of each part along pixel edges, clockwise from its topmost left corner.

    Only corners are kept. On each line between pixel rows they pair up into horizontal edges (first with
    second, third with fourth, ...), on each line between columns into vertical ones; alternating between the
    two pairings walks along an outline. Where pixels touch at a corner there are two corners in one place.
    """
    rows, columns, swapped, inside = _corners(mask)
    order = np.lexsort((swapped, rows, columns))
    vertical_partner = np.empty_like(order)
    vertical_partner[order] = order.reshape(-1, 2)[:, ::-1].ravel()
    partner = vertical_partner.tolist()
    points = np.stack((columns, rows), axis=1).astype(np.float64)
    visited = bytearray(len(partner))
    for start in range(0, len(partner), 2):
        ring: list[int] = []
        corner = start
        while not visited[corner]:
            visited[corner] = visited[corner ^ 1] = 1
            ring += (corner, corner ^ 1)
            corner = partner[corner ^ 1]
        if ring and inside[start]:  # below and right of its first corner a hole's outline has background
            yield points[ring]


def _corners(mask: Mask) -> tuple[_Indices, _Indices, _Indices, Mask]:
    """Return row, column, order along the vertical line and "pixel below right is inside" of each corner.

    Corners come in reading order, so that neighbours (0 and 1, 2 and 3, ...) are joined horizontally.
    """
    padded = np.pad(mask, 1)
    above_left, above_right = padded[:-1, :-1], padded[:-1, 1:]
    below_left, below_right = padded[1:, :-1], padded[1:, 1:]
    touching = (above_left == below_right) & (above_right == below_left) & (above_left != above_right)
    single = above_left ^ above_right ^ below_left ^ below_right
    rows, columns = np.nonzero(single | touching)
    doubled = touching[rows, columns]
    index = np.repeat(np.arange(rows.size), 1 + doubled)
    is_second = np.diff(index, prepend=-1) == 0
    rows, columns = rows[index], columns[index]
    inside = below_right[rows, columns]
    # 8-connected: of two touching pixels the outline runs round the background beside them. So where the
    # pixels above left and below right are inside, the edge from the left turns down: it comes second.
    swapped = np.where(doubled[index], is_second ^ inside, False)
    return rows, columns, swapped.astype(np.int64), inside


def _simplify(ring: Polygon, tolerance_px: float, max_vertices: int | None) -> Polygon:
    """Drop corners that matter least; always leave a polygon."""
    if tolerance_px == 0 and (max_vertices is None or len(ring) <= max_vertices):
        return ring
    significance = _significance(ring, tolerance_px)
    kept = np.flatnonzero(significance > tolerance_px)
    if kept.size < 3:  # smaller than the tolerance: be finer rather than lose the part
        return _simplify(ring, tolerance_px / 2 if tolerance_px > 0.1 else 0.0, max_vertices)
    if max_vertices is not None and kept.size > max_vertices:
        kept = np.sort(kept[np.argsort(-significance[kept], kind="stable")[:max_vertices]])
    return ring[kept]


def _significance(ring: Polygon, tolerance_px: float) -> npt.NDArray[np.float64]:
    """Return for each point the tolerance up to which Douglas-Peucker keeps it; 0 if under `tolerance_px`."""
    closed = np.concatenate((ring, ring[:1]))
    farthest = int(np.argmax(_lengths(ring - ring[0])))
    significance = np.zeros(len(closed))
    significance[[0, farthest]] = np.inf
    pending = [(0, farthest, np.inf), (farthest, len(ring), np.inf)]
    while pending:
        first, last, limit = pending.pop()
        if last - first < 2:
            continue
        distances = _distances_to_segment(closed[first + 1 : last], closed[first], closed[last])
        nearest_to_keep = int(np.argmax(distances))
        distance = min(float(distances[nearest_to_keep]), limit)
        if distance > tolerance_px:
            middle = first + 1 + nearest_to_keep
            significance[middle] = distance
            pending += ((first, middle, distance), (middle, last, distance))
    return significance[:-1]


def _distances_to_segment(points: Polygon, start: Polygon, end: Polygon) -> npt.NDArray[np.float64]:
    """Return each point's distance to the segment from start to end, in pixels."""
    along = end - start
    length_squared = float(along @ along)
    if length_squared == 0:
        return _lengths(points - start)
    share = np.clip((points - start) @ along / length_squared, 0.0, 1.0)
    return _lengths(points - start - share[:, None] * along)


def _lengths(vectors: Polygon) -> npt.NDArray[np.float64]:
    return np.hypot(vectors[:, 0], vectors[:, 1])


# ---------------------------------------------------------------- polygons to masks


def outline_length_px(polygon: Polygon) -> float:
    """Return how many pixels a walk along the edges of a polygon (n, 2) takes, diagonal steps counted as one."""
    steps = np.abs(polygon - np.roll(polygon, -1, axis=0))
    return float(steps.max(axis=1).sum())


_CROSSINGS_AT_ONCE = 1 << 20
_MAX_CROSSINGS = 1 << 25  # seconds; an outline of 100 million pixels that touches them all has fewer
_PIXELS_AT_ONCE = 1 << 22  # winding numbers take four bytes each, twice: a mask takes one


def polygons_to_mask(
    polygons: Sequence[npt.ArrayLike], size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS
) -> Mask:
    """Rasterise polygons: the pixels whose centre lies in at least one of them.

    A polygon that crosses itself is filled where its winding number is not 0, as a canvas does. Parts outside
    the image are cut off.

    Args:
        polygons: each (n, 2) with n >= 3, (x, y) in pixels, open or closed.
        size_hw: height and width of the image.
        max_pixels: refuse larger images.

    Returns:
        (H, W) bool.
    """
    height, width = require_size(size_hw, max_pixels=max_pixels)
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        _fill(mask, _require_polygon(polygon))
    return mask


def _require_polygon(points: npt.ArrayLike) -> Polygon:
    try:
        polygon = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PolygonError(f"expected a polygon as (x, y) pairs of numbers: {error}") from error
    if polygon.ndim != 2 or polygon.shape[0] < 3 or polygon.shape[1] != 2:
        raise PolygonError(f"expected a polygon of at least 3 (x, y) pairs, got shape {polygon.shape}")
    if not (np.abs(polygon) < 1e9).all():
        raise PolygonError("expected finite polygon coordinates in pixels, got infinite, huge or NaN ones")
    return polygon


def fills_one_way(polygon: Polygon, size_hw: tuple[int, int]) -> bool:
    """Tell whether a polygon covers the same pixels by even-odd filling (pycocotools, OpenCV) as by winding.

    One that crosses itself may not.
    """
    return all(((winding != 0) == ((winding & 1) != 0)).all() for _, winding in _windings(polygon, size_hw))


def _fill(mask: Mask, polygon: Polygon) -> None:
    """Set the pixels of `mask` (freshly made by the caller) whose centres the polygon winds around."""
    for box, winding in _windings(polygon, (mask.shape[0], mask.shape[1])):
        mask[box] |= winding != 0


def _windings(
    polygon: Polygon, size_hw: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.int32]]]:
    """Yield the polygon's box in the image, in bands, and how often it winds around each pixel's centre there."""
    height, width = size_hw
    top, bottom = (int(y) for y in np.clip(_rows_below([polygon[:, 1].min(), polygon[:, 1].max()]), 0, height))
    left, right = (int(x) for x in np.clip(_rows_below([polygon[:, 0].min(), polygon[:, 0].max()]), 0, width))
    if top >= bottom or left >= right:
        return
    rows = np.clip(_rows_below(polygon[:, 1]), top, bottom)
    crossings = int(np.abs(rows - np.roll(rows, -1)).sum())
    if crossings > _MAX_CROSSINGS:
        raise PolygonError(
            f"expected a polygon whose edges cross at most {_MAX_CROSSINGS} rows of pixels in all, got {crossings}"
        )
    rows_at_once = max(1, _PIXELS_AT_ONCE // (right - left))
    for first in range(top, bottom, rows_at_once):
        last = min(first + rows_at_once, bottom)
        steps = np.zeros((last - first, right - left + 1), dtype=np.int32)
        for rows, crossings_x, directions in _crossings(polygon, first, last):
            columns = np.clip(_rows_below(crossings_x), left, right) - left
            np.add.at(steps, (rows - first, columns), directions)
        yield (slice(first, last), slice(left, right)), np.cumsum(steps, axis=1, dtype=np.int32)[:, :-1]


def _rows_below(coordinate: npt.ArrayLike) -> _Indices:
    """Return the first pixel whose centre is at or beyond each coordinate."""
    return np.ceil(np.asarray(coordinate) - 0.5).astype(np.int64)


def _crossings(polygon: Polygon, top: int, bottom: int) -> Iterator[tuple[_Indices, Polygon, _Indices]]:
    """Yield (pixel rows, x where an edge crosses their centre line, +1 down or -1 up), batch by batch."""
    ends = np.roll(polygon, -1, axis=0)
    down = ends[:, 1] > polygon[:, 1]
    upper, lower = np.where(down[:, None], polygon, ends), np.where(down[:, None], ends, polygon)
    first = np.clip(_rows_below(upper[:, 1]), top, bottom)
    counts = np.clip(_rows_below(lower[:, 1]), top, bottom) - first
    batch = np.cumsum(counts) // _CROSSINGS_AT_ONCE
    for edges in np.split(np.arange(len(polygon)), np.flatnonzero(np.diff(batch)) + 1):
        edge = np.repeat(edges, counts[edges])
        within = np.arange(edge.size) - np.repeat(np.cumsum(counts[edges]) - counts[edges], counts[edges])
        rows = first[edge] + within
        slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
        yield rows, upper[edge, 0] + (rows + 0.5 - upper[edge, 1]) * slope, np.where(down[edge], 1, -1)
