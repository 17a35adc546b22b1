import numpy as np
import pytest

from ovdiff.tinyworld.shapes import SHAPES, shade

RED = (200, 40, 40)


@pytest.mark.parametrize("name", SHAPES)
def test_a_thing_fills_its_frame_and_shows_its_colour(name: str) -> None:
    for seed in range(5):
        polygons = SHAPES[name](RED, np.random.default_rng(seed))
        points = np.vstack([polygon.points for polygon in polygons])
        assert np.abs(points).max() <= 0.6
        assert 0.85 <= np.ptp(points, axis=0).max() <= 1.1
        assert RED in {polygon.rgb for polygon in polygons}


@pytest.mark.parametrize("name", SHAPES)
def test_equal_seeds_draw_equal_things(name: str) -> None:
    first, second = (SHAPES[name](RED, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_shading_goes_to_black_and_to_white() -> None:
    assert shade(RED, 0.5) == (100, 20, 20)
    assert shade(RED, 1.0) == RED
    assert shade(RED, 1.5) == (228, 148, 148)
    assert shade(RED, 2.0) == (255, 255, 255)
