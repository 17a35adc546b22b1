"""Shapes of every tool as masks, against areas known from geometry, and values that are no shape."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import mask_to_brush_rle
from converters.errors import ConverterError
from converters.label_studio.shapes import shape_reader, upright_box

SIZE_HW = (60, 80)
DISC = np.hypot(*(np.indices(SIZE_HW) - np.array([30, 40])[:, None, None])) < 20


def read(value: dict[str, Any], size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    reader = shape_reader({"value": value})
    assert reader is not None
    return reader(value, size_hw)[0]


def box(value: dict[str, Any]) -> list[int]:
    rows, columns = np.nonzero(read(value))
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


@pytest.mark.parametrize(
    "value",
    [
        {"format": "rle", "rle": mask_to_brush_rle(DISC), "brushlabels": ["x"]},
        {"imageDataURL": mask_to_data_url(DISC), "bitmasklabels": ["x"]},
        {"format": "rle", "maskDataURL": mask_to_data_url(DISC), "brushlabels": ["x"]},
    ],
)
def test_painted_shapes_are_their_pixels(value: dict[str, Any]) -> None:
    assert np.array_equal(read(value), DISC)


def test_a_rectangle_is_percent_of_width_and_height() -> None:
    assert box({"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}) == [20, 30, 60, 45]


def test_a_rectangle_turns_clockwise_about_its_top_left_corner() -> None:
    # 40 x 15 pixels at (40, 15), turned by 90 degrees: 15 wide to the left of x = 40, 40 down from y = 15.
    assert box({"x": 50, "y": 25, "width": 50, "height": 25, "rotation": 90}) == [25, 15, 40, 55]
    assert box({"x": 50, "y": 25, "width": 25, "height": 25, "rotation": 180}) == [20, 0, 40, 15]


@given(st.floats(0, 360))
def test_turning_keeps_the_area(rotation: float) -> None:
    value = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": rotation}
    assert read(value).sum() == pytest.approx(20 * 15, rel=0.12)


def test_the_box_of_a_rectangle_stays_in_its_image_and_has_no_negative_side() -> None:
    inside = {"x": 12.5, "y": 50, "width": 50, "height": 25, "rotation": 0}
    assert upright_box(inside, SIZE_HW) == (10, 30, 40, 15)
    assert upright_box({**inside, "x": -10, "width": 200}, SIZE_HW) == (0, 30, 80, 15)
    assert upright_box({**inside, "x": 62.5, "width": -50}, SIZE_HW) == (10, 30, 40, 15)
    assert upright_box({**inside, "rotation": 1}, SIZE_HW) is None


def test_rotation_may_be_missing() -> None:
    assert box({"x": 25, "y": 50, "width": 50, "height": 25}) == [20, 30, 60, 45]


def test_a_polygon_is_percent_and_keeps_its_points_in_pixels() -> None:
    value = {"points": [[25, 50], [75, 50], [75, 75], [25, 75]], "closed": True}
    reader = shape_reader({"value": value})
    assert reader is not None
    mask, points = reader(value, SIZE_HW)
    assert mask.sum() == 40 * 15
    assert points is not None
    assert points.tolist() == [[20, 30], [60, 30], [60, 45], [20, 45]]


def test_an_ellipse_has_its_area_and_turns_about_its_centre() -> None:
    upright = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 10}
    assert read(upright).sum() == pytest.approx(np.pi * 20 * 6, rel=0.02)
    assert box(upright) == [20, 24, 60, 36]
    assert box({**upright, "rotation": 90}) == [34, 10, 46, 50]


def test_parts_outside_the_image_are_cut_off() -> None:
    assert read({"x": -50, "y": -50, "width": 200, "height": 200}).all()
    assert not read({"x": 120, "y": 0, "width": 10, "height": 10}).any()


@pytest.mark.parametrize(
    "result",
    [
        {"type": "relation"},
        {"value": None},
        {"value": {"choices": ["good"]}},
        {"value": {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["x"]}},
    ],
)
def test_what_has_no_area_has_no_reader(result: dict[str, Any]) -> None:
    assert shape_reader(result) is None


BROKEN = [
    ({"rle": None}, r"expected a list of bytes \(0..255\), got NoneType"),
    ({"imageDataURL": 5}, "expected a data URL that begins with"),
    ({"points": [[1, 2], [3, 4]]}, "expected a polygon of at least 3"),
    ({"points": [[1, 2], [3, "x"], [5, 6]]}, "expected polygon points as pairs of percent"),
    ({"points": None}, "expected a polygon of at least 3|expected polygon points"),
    ({"points": 7}, "expected a polygon of at least 3|expected polygon points"),
    ({"x": "1", "y": 2, "width": 3, "height": 4}, r"expected numbers for .*, got \['1', 2, 3, 4\]"),
    ({"x": 10**400, "y": 2, "width": 3, "height": 4}, "expected numbers for"),
    ({"x": 1, "y": None, "radiusX": 3, "radiusY": 4}, "expected numbers for"),
    ({"x": 1, "y": 2, "width": 3, "height": 4, "rotation": "left"}, "expected 'rotation' in degrees, got 'left'"),
    ({"x": 1e300, "y": 2, "width": 3, "height": 4}, "expected finite polygon coordinates"),
]


@pytest.mark.parametrize(("value", "message"), BROKEN)
def test_a_broken_value_says_what_is_wrong(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConverterError, match=message):
        read(value)
