"""Polygons, held against a point-by-point winding number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from converters.encodings.masks import fill_holes, label_parts, mask_iou
from converters.encodings.polygons import (
    crossed_px,
    fills_one_way,
    mask_to_polygons,
    outline_length_px,
    polygons_to_mask,
)
from converters.errors import PolygonError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24))


def disc(radius_px: float, size: int = 64) -> np.ndarray:
    rows, columns = np.indices((size, size)) + 0.5
    return np.hypot(rows - size / 2, columns - size / 2) < radius_px


@given(masks)
def test_outlines_with_all_corners_rasterise_back_exactly(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask, tolerance_px=0)
    assert len(polygons) == label_parts(mask)[1]
    assert np.array_equal(polygons_to_mask(polygons, mask.shape), fill_holes(mask))


@given(masks, st.sampled_from([0.3, 1.0, 3.0]), st.integers(3, 9))
def test_every_part_keeps_a_polygon_within_the_vertex_cap(
    mask: np.ndarray, tolerance_px: float, max_vertices: int
) -> None:
    polygons = mask_to_polygons(mask, tolerance_px, max_vertices)
    assert len(polygons) == label_parts(mask)[1]
    assert all(3 <= len(polygon) <= max_vertices for polygon in polygons)


def test_one_pixel_has_the_corners_of_its_square() -> None:
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[1, 3] = True
    assert [polygon.tolist() for polygon in mask_to_polygons(mask, 0)] == [[[3, 1], [4, 1], [4, 2], [3, 2]]]


def test_tolerance_and_cap_thin_a_disc_out_without_losing_it() -> None:
    mask = disc(25)
    (all_corners,), (tolerant,), (capped,) = (
        mask_to_polygons(mask, 0),
        mask_to_polygons(mask, 1.0),
        mask_to_polygons(mask, 0.5, max_vertices=12),
    )
    assert len(all_corners) > 2 * len(tolerant)
    assert len(capped) == 12
    assert mask_iou(polygons_to_mask([tolerant], mask.shape), mask) > 0.96
    assert mask_iou(polygons_to_mask([capped], mask.shape), mask) > 0.93


points = st.tuples(st.floats(-5, 30, width=32), st.floats(-5, 30, width=32))


@given(st.lists(points, min_size=3, max_size=9), st.integers(1, 24), st.integers(1, 24))
def test_a_pixel_is_inside_if_the_polygon_winds_around_its_centre(
    polygon: list[tuple[float, float]], height: int, width: int
) -> None:
    y, x = np.mgrid[:height, :width] + 0.5
    winding = np.zeros((height, width), dtype=int)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if y0 == y1:
            continue
        crosses = (min(y0, y1) <= y) & (y < max(y0, y1)) & (x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x)
        winding += np.where(crosses, 1 if y1 > y0 else -1, 0)
    difference = (winding != 0) != polygons_to_mask([polygon], (height, width))
    assert difference.sum() <= 1  # a centre on an edge may fall to either side by rounding


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=8))
def test_a_polygon_fills_one_way_unless_it_winds_twice_around_a_pixel(corners: list[tuple[int, int]]) -> None:
    size_hw = (8, 10)
    polygon = np.array(corners, dtype=np.float64) + 0.25  # no edge through a pixel's centre, but for some diagonals
    ray = np.array([[(x + 0.5, y + 0.5) for x in range(size_hw[1])] for y in range(size_hw[0])])
    even_odd = np.zeros(size_hw, dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (min(y0, y1) <= ray[..., 1]) & (ray[..., 1] < max(y0, y1))
            even_odd ^= crosses & (x0 + (ray[..., 1] - y0) * ((x1 - x0) / (y1 - y0)) <= ray[..., 0])
    different = int((even_odd != polygons_to_mask([polygon], size_hw)).sum())
    if different == 0 or different > 4:  # a centre on an edge may fall to either side by rounding
        assert fills_one_way(polygon, size_hw) == (different == 0)


@pytest.mark.parametrize(
    ("corners", "crossed"),
    [
        ([(0, 0), (8, 0), (8, 8), (0, 8)], 0),
        ([(0, 0), (0, 8), (8, 8), (8, 0)], 0),
        ([(0, 0), (8, 8), (8, 0), (0, 8)], 12),  # a bow tie: two triangles, drawn one this way and one that way
        ([(0, 0), (8, 0), (8, 8), (0, 8)] * 2, 64),
    ],
)
def test_crossed_pixels_are_counted(corners: list[tuple[int, int]], crossed: int) -> None:
    assert crossed_px(np.array(corners, dtype=np.float64), (9, 9)) == crossed


@given(masks)
def test_the_outline_of_a_mask_crosses_nothing(mask: np.ndarray) -> None:
    assert all(crossed_px(polygon, mask.shape) == 0 for polygon in mask_to_polygons(mask))


def test_overlapping_polygons_add_up_whatever_their_direction() -> None:
    square = np.array([[1, 1], [5, 1], [5, 5], [1, 5]])
    mask = polygons_to_mask([square, square[::-1] + 2], (9, 9))
    assert mask.sum() == 16 + 16 - 4


def test_a_large_polygon_is_filled_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    polygon = np.array([(1.2, 0.3), (19.8, 4.1), (11.5, 17.9), (3.3, 9.0)])
    expected = polygons_to_mask([polygon], (20, 22))
    monkeypatch.setattr("converters.encodings.polygons._PIXELS_AT_ONCE", 40)
    assert np.array_equal(polygons_to_mask([polygon], (20, 22)), expected)


def test_a_polygon_that_goes_up_and_down_for_ever_is_refused() -> None:
    zigzag = np.stack((np.linspace(0, 9, 10_000), np.arange(10_000) % 2 * 9000), axis=1)
    with pytest.raises(PolygonError, match=r"cross at most 33554432 rows of pixels in all, got 900\d+"):
        polygons_to_mask([zigzag], (9000, 10))
    assert outline_length_px(zigzag) == 10_000 * 9000


def test_closed_polygons_are_read_as_open_ones() -> None:
    square = [[1, 1], [5, 1], [5, 5], [1, 5]]
    assert np.array_equal(polygons_to_mask([[*square, square[0]]], (9, 9)), polygons_to_mask([square], (9, 9)))


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([[0, 0], [1, 1]], r"expected a polygon of at least 3 \(x, y\) pairs, got shape \(2, 2\)"),
        ([[0, 0, 1]] * 4, r"got shape \(4, 3\)"),
        ([[0, 0], [1, 1], [float("nan"), 2]], "expected finite polygon coordinates in pixels"),
        ([[0, 0], [1, 1], [1e12, 2]], "expected finite polygon coordinates in pixels"),
        ([[0, 0], [1, 1], [10**400, 2]], r"expected a polygon as \(x, y\) pairs of numbers"),
        ([[0, 0], [1, 1], ["a", 2]], r"expected a polygon as \(x, y\) pairs of numbers"),
        ([[0, 0], [1, 1], [2]], r"expected a polygon as \(x, y\) pairs of numbers"),
    ],
)
def test_what_is_no_polygon_is_refused(polygon: list[list[float]], message: str) -> None:
    with pytest.raises(PolygonError, match=message):
        polygons_to_mask([polygon], (9, 9))


@pytest.mark.parametrize(("tolerance_px", "max_vertices"), [(-1, None), (1, 2)])
def test_impossible_wishes_are_refused(tolerance_px: float, max_vertices: int | None) -> None:
    with pytest.raises(PolygonError, match="expected tolerance_px of 0 or more and max_vertices of 3 or more"):
        mask_to_polygons(np.ones((4, 4), dtype=np.bool_), tolerance_px, max_vertices)
