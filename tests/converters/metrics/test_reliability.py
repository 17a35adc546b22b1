"""Reliability of scores: bins and calibration error, by hand and against the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.metrics.reliability import ReliabilityCounter

shares = st.floats(0, 1)


def test_bins_and_error_are_counted_by_hand() -> None:
    counter = ReliabilityCounter()
    for score, iou, accepted in [(0.95, 1.0, True), (0.91, 0.8, False), (1.0, 0.9, False), (0.25, 0.5, False)]:
        counter.add(score, iou, accepted)
    found = counter.result()
    top, low = found.bins[9], found.bins[2]
    assert (top.low, top.high, top.regions) == (0.9, 1.0, 3)
    assert top.mean_score == pytest.approx(2.86 / 3)
    assert (top.mean_iou, top.accepted_share) == (pytest.approx(0.9), pytest.approx(1 / 3))
    assert (low.regions, low.mean_iou, low.accepted_share) == (1, 0.5, 0.0)
    assert found.iou_error == pytest.approx((3 * abs(2.86 / 3 - 0.9) + abs(0.25 - 0.5)) / 4)
    assert found.acceptance_error == pytest.approx((2.86 - 1 + 0.25) / 4)


@given(st.lists(st.tuples(shares, shares, st.booleans()), min_size=1))
def test_the_error_is_that_of_the_definition(regions: list[tuple[float, float, bool]]) -> None:
    counter = ReliabilityCounter()
    for region in regions:
        counter.add(*region)
    scores, ious, _ = np.array(regions, dtype=float).T
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs(scores[bins == b].mean() - ious[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert counter.result().iou_error == pytest.approx(sum(gaps))


@pytest.mark.parametrize("score", [None, -0.1, 1.1, float("nan")])
def test_what_is_no_score_is_counted_apart(score: float | None) -> None:
    counter = ReliabilityCounter()
    counter.add(score, 1.0, True)
    found = counter.result()
    assert (found.scored_regions, found.unscored_regions, found.iou_error) == (0, 1, None)
    assert found.bins[0].mean_iou is None


def test_a_perfect_forecast_has_no_error() -> None:
    counter = ReliabilityCounter()
    for score in (0.0, 0.3, 0.5, 1.0):
        counter.add(score, score, False)
    assert counter.result().iou_error == 0
