import pytest

from backend.pages.lessons.curve_view import HEIGHT, MARGIN, WIDTH, curve_view
from ovdiff.learning.curve_points import CurvePoint, RightShares


def point(lessons: int, before: float, after: float) -> CurvePoint:
    return CurvePoint(lessons, {"clip": RightShares(before, after, after > before)})


def test_a_curve_is_drawn_inside_its_picture_with_better_above() -> None:
    view = curve_view([point(1, 0.72, 0.72), point(2, 0.7, 0.85), point(3, 0.74, 0.94)])
    assert view is not None
    assert [tick.text for tick in view.across] == ["1", "2", "3"]
    assert [mark.x for mark in view.after] == [MARGIN, WIDTH / 2, WIDTH - MARGIN]
    assert [tick.text for tick in view.up] == ["70%", "85%", "100%"]
    assert view.after[2].y < view.after[1].y < view.before[1].y == HEIGHT - MARGIN
    assert all(MARGIN <= mark.y <= HEIGHT - MARGIN for mark in (*view.before, *view.after))
    assert view.gain == pytest.approx(0.2)


@pytest.mark.parametrize("value", [0.0, 0.95, 1.0])
def test_odd_values_are_drawn_too(value: float) -> None:
    view = curve_view([point(1, value, value)])
    assert view is not None
    assert MARGIN <= view.after[0].y <= HEIGHT - MARGIN


def test_without_points_nothing_is_drawn() -> None:
    assert curve_view([]) is None
