"""The worst, median and best images of an evaluation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.metrics.confusion import ConfusionMatrix
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.ranking import image_miou, ranked_images


def confusion(*pixels: tuple[int, int, int]) -> ConfusionMatrix:
    return ImageFigures("a", (2, 2), pixels, (), ()).confusion(2)


def test_an_image_has_the_mean_over_the_classes_that_occur() -> None:
    # background 8 of 10, category 1: 4 of 6; category 2 occurs nowhere
    image = confusion((0, 0, 8), (0, 1, 2), (1, 1, 4))
    assert image_miou(image, counts_background=True) == pytest.approx((0.8 + 4 / 6) / 2)
    assert image_miou(image, counts_background=False) == pytest.approx(4 / 6)
    assert image_miou(confusion((0, 0, 8)), counts_background=False) is None
    assert image_miou(confusion(), counts_background=True) is None


def test_the_worst_the_middle_and_the_best_of_nine() -> None:
    found = ranked_images({str(number): number / 10 for number in reversed(range(9))}, 2)
    assert (found.worst, found.median, found.best) == (("0", "1"), ("3", "4"), ("8", "7"))


def test_images_of_which_nothing_is_known_are_left_out_and_the_first_of_equals_comes_first() -> None:
    found = ranked_images({"none": None, "a": 0.5, "b": 0.5, "c": 0.5}, 1)
    assert (found.worst, found.median, found.best) == (("a",), ("b",), ("c",))


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 5))
def test_no_image_is_named_twice_and_few_are_shared_out(mious: list[float], count: int) -> None:
    by_name = {str(number): miou for number, miou in enumerate(mious)}
    found = ranked_images(by_name, count)
    named = [*found.worst, *found.median, *found.best]
    assert len(named) == len(set(named)) == min(len(mious), 3 * count)
    assert sorted(by_name[name] for name in found.worst) == sorted(mious)[: len(found.worst)]
    assert [by_name[name] for name in found.best] == sorted(mious, reverse=True)[: len(found.best)]
