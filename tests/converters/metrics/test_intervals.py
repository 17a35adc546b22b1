"""Wilson's interval against statsmodels' published values, and against its own definition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.metrics.intervals import are_apart, wilson_interval


@pytest.mark.parametrize(
    ("successes", "cases", "low", "high"),
    # Newcombe (1998), table I, method 3: Wilson's score without continuity correction
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_it_is_the_interval_of_the_literature(successes: int, cases: int, low: float, high: float) -> None:
    assert wilson_interval(successes, cases) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_its_ends_are_where_the_score_test_rejects(cases: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, cases))
    for end in wilson_interval(successes, cases) or ():
        assert 0 <= end <= 1
        if 1e-9 < end < 1 - 1e-9:
            distance = abs(successes / cases - end) / math.sqrt(end * (1 - end) / cases)
            assert distance == pytest.approx(1.959964, abs=1e-4)


def test_nothing_counted_has_no_interval_and_differs_from_nothing() -> None:
    assert wilson_interval(0, 0) is None
    assert not are_apart(None, (0.1, 0.2))


def test_intervals_are_apart_if_they_share_nothing() -> None:
    assert are_apart((0.1, 0.2), (0.3, 0.4)) and are_apart((0.3, 0.4), (0.1, 0.2))
    assert not are_apart((0.1, 0.3), (0.3, 0.4))
