import numpy as np
from PIL import Image

from benchmarks.reliability_picture import Panel, draw_reliability
from converters.metrics.reliability import Reliability, ReliabilityCounter


def regions(score: float, right: int, wrong: int) -> Reliability:
    counter = ReliabilityCounter()
    for number in range(right + wrong):
        counter.add(score, 0.5, number < right)
    return counter.result()


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=int)


def bar_height(picture: Image.Image) -> int:
    """Return how many pixels of the blue of a full bin the middle of the last bin's column has."""
    column = pixels(picture)[:, 44 + round(0.97 * 240)]
    return int((np.abs(column - (0x5B, 0x8F, 0xC7)).sum(axis=1) < 12).sum())


def test_a_bar_is_as_high_as_the_share_of_right_regions() -> None:
    half, all_right = (draw_reliability([Panel("x", regions(0.95, right, 4 - right))]) for right in (2, 4))
    assert abs(bar_height(half) - 120) < 8
    assert abs(bar_height(all_right) - 240) < 12


def test_the_red_stroke_is_the_mean_score() -> None:
    drawn = pixels(draw_reliability([Panel("x", regions(0.55, 1, 3))]))
    rows = np.flatnonzero((np.abs(drawn - (0xC0, 0x39, 0x2B)).sum(axis=2) < 12).any(axis=1))
    assert abs(rows.mean() - (44 + 0.45 * 240)) < 2


def test_panels_stand_side_by_side_and_an_empty_one_is_drawn() -> None:
    one = draw_reliability([Panel("crowded", regions(0.5, 1, 1))])
    two = draw_reliability([Panel("crowded", regions(0.5, 1, 1)), Panel("usual", ReliabilityCounter().result())])
    assert two.size == (2 * one.width, one.height)
    assert np.array_equal(pixels(two)[:, : one.width], pixels(one))
