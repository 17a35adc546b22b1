"""Polygons: outlines of masks, and the pixels inside polygons.

A polygon is an (n, 2) float64 array of (x, y) in pixels, x to the right and y down, with (0, 0) the outer corner of
the first pixel. Pixel (row, column) covers [column, column + 1] x [row, row + 1], so the outline of a single pixel
has the corners (0, 0), (1, 0), (1, 1), (0, 1). A pixel belongs to a polygon if the pixel's centre lies inside.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from converters.encodings.masks import MAX_PIXELS, Mask, mask_box, require_size
from converters.errors import PolygonError

Polygon: TypeAlias = npt.NDArray[np.float64]
"""(n, 2) float64, (x, y) in pixels, not closed: the last point is not the first again."""

_Indices: TypeAlias = npt.NDArray[np.int64]

_CROSSINGS_AT_ONCE = 1 << 20
_MAX_CROSSINGS = 1 << 25  # seconds; an outline of 100 million pixels that touches them all has fewer
_PIXELS_AT_ONCE = 1 << 22  # winding numbers take four bytes each, twice: a mask takes one


# ---------------------------------------------------------------- masks to polygons


def mask_to_polygons(mask: Mask, tolerance_px: float = 1.0, max_vertices: int | None = None) -> list[Polygon]:
    """Outline each 8-connected part of a mask by one polygon. Holes are filled; use RLE to keep them.

    Args:
        mask: (H, W) bool.
        tolerance_px: how far a dropped outline point may lie from the polygon (Douglas-Peucker), in pixels;
            0 keeps every corner, and rasterises back to exactly the mask if it has no holes.
        max_vertices: the largest number of points in a polygon (3 or more); the least important points are dropped.

    Returns:
        One (n, 2) float64 array of (x, y) in pixels for each part, in reading order of the parts' first pixels.

    Raises:
        MaskError: `mask` is no (H, W) bool array.
        PolygonError: `tolerance_px` is negative, or `max_vertices` is less than 3.
    """
    rows, columns = mask_box(mask)
    if tolerance_px < 0 or (max_vertices is not None and max_vertices < 3):
        raise PolygonError(
            f"expected tolerance_px of 0 or more and max_vertices of 3 or more, got {tolerance_px} and {max_vertices}"
        )
    corner = np.array((columns.start, rows.start), dtype=np.float64)
    return [_simplify(ring + corner, tolerance_px, max_vertices) for ring in _outer_rings(mask[rows, columns])]


def _outer_rings(mask: Mask) -> Iterator[Polygon]:
    """Yield the outer outline of each part along pixel edges, clockwise from its topmost left corner.

    Only corners are kept. On each line between two pixel rows, the corners pair up into horizontal edges (first with
    second, third with fourth, ...). On each line between two columns, they pair up into vertical edges. Going from
    corner to corner by these pairs, in turn horizontal and vertical, walks along an outline. Where two pixels touch
    only at a corner, there are two corners in one place.
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
    """Drop the corners that matter least, and always leave a polygon."""
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
    """Return for each point the largest tolerance at which Douglas-Peucker keeps the point; 0 below `tolerance_px`."""
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
    """Return the length of a polygon's outline in pixels; a diagonal step counts as one."""
    steps = np.abs(polygon - np.roll(polygon, -1, axis=0))
    return float(steps.max(axis=1).sum())


def polygons_to_mask(
    polygons: Sequence[npt.ArrayLike], size_hw: tuple[int, int], *, max_pixels: int = MAX_PIXELS
) -> Mask:
    """Rasterise polygons: a pixel is inside if its centre lies in at least one polygon.

    A polygon that crosses itself is filled where its winding number is not 0, as a browser's canvas does. Parts
    outside the image are cut off.

    Args:
        polygons: each (n, 2) with n >= 3, (x, y) in pixels, open or closed.
        size_hw: height and width of the image.
        max_pixels: refuse larger images.

    Returns:
        The mask, (H, W) bool.

    Raises:
        PolygonError: an array is no polygon, or a polygon's edges cross too many rows.
        MaskError: `size_hw` is no size, or has more than `max_pixels`.
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

    A polygon that crosses itself may not.
    """
    return all(((winding != 0) == ((winding & 1) != 0)).all() for _, winding in _windings(polygon, size_hw))


def crossed_px(polygon: Polygon, size_hw: tuple[int, int]) -> int:
    """Return how many pixels a polygon goes around twice, or the other way round than most; 0 unless it crosses itself.

    A crossing that is too small to matter to any pixel does not count.
    """
    right = left = twice = 0
    for _, winding in _windings(polygon, size_hw):
        right += int(np.count_nonzero(winding > 0))
        left += int(np.count_nonzero(winding < 0))
        twice += int(np.count_nonzero(np.abs(winding) > 1))
    return twice + min(right, left)


def _fill(mask: Mask, polygon: Polygon) -> None:
    """Set the pixels of `mask` (freshly made by the caller) whose centres the polygon winds around."""
    for box, winding in _windings(polygon, (mask.shape[0], mask.shape[1])):
        mask[box] |= winding != 0


def _windings(
    polygon: Polygon, size_hw: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.int32]]]:
    """Yield the polygon's box in the image, band by band, with the winding number of each pixel's centre."""
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
    """Return, for each coordinate, the first pixel whose centre is at or beyond the coordinate."""
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
