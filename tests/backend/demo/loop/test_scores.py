import numpy as np
import pytest

from backend.demo.loop.scores import Figures, figures, regions_to_touch
from converters.metrics.panoptic_quality import SegmentMap

TRUTH = SegmentMap(np.array([[1, 1, 2, 2, 3, 3]]), (1, 1, 2))


def shown(ids: list[int], categories: tuple[int, ...]) -> SegmentMap:
    return SegmentMap(np.array([ids]), categories)


@pytest.mark.parametrize(
    ("found", "touched"),
    [
        (TRUTH, 0),
        (shown([1, 1, 2, 2, 0, 0], (1, 1)), 1),  # one was missed
        (shown([1, 1, 1, 1, 2, 2], (1, 2)), 1),  # two objects are one region: it fits one of them by half
        (shown([1, 1, 1, 1, 1, 1], (1,)), 3),  # it fits none, the other is missed, and so is the last
        (shown([1, 1, 2, 2, 3, 3], (1, 1, 1)), 2),  # another label: one is superfluous, one is missed
        (shown([0, 1, 2, 2, 3, 3], (1, 1, 2)), 0),  # half of an object is not below .5
        (shown([0, 0, 0, 0, 0, 0], ()), 3),
    ],
)
def test_a_region_that_is_missed_superfluous_or_bad_is_touched(found: SegmentMap, touched: int) -> None:
    assert regions_to_touch(TRUTH, found) == touched


def test_the_best_pairs_are_made_first() -> None:
    truth, found = shown([1, 1, 1, 1, 2, 2], (1, 1)), shown([1, 2, 2, 2, 2, 2], (1, 1))
    assert regions_to_touch(truth, found) == 2  # the large ones are a pair; what is left meets in no pixel


def test_figures_are_those_of_all_tasks() -> None:
    nothing = shown([0, 0, 0, 0, 0, 0], ())
    assert figures([TRUTH], [TRUTH], 2) == Figures(1.0, 1.0, 0.0)
    half = figures([TRUTH, TRUTH], [TRUTH, nothing], 2)
    assert half.touched == 1.5 and half.pq == pytest.approx(2 / 3) and 0.3 < half.miou < 0.5
    with pytest.raises(ValueError, match="at least one task"):
        figures([], [], 2)
