"""Thresholds on scores whose outcomes are made up, so that the right answer is known."""

import pytest

from converters.corrections.threshold import ThresholdAdvice, threshold_advice
from converters.metrics.reliability import ReliabilityCounter


def advice(*groups: tuple[int, float, float, bool]) -> ThresholdAdvice:
    """Return the advice for groups of (regions, score, IoU, whether accepted)."""
    counter = ReliabilityCounter()
    for regions, score, iou, accepted in groups:
        for _ in range(regions):
            counter.add(score, iou, accepted)
    return threshold_advice(counter.result())


def test_bad_regions_of_low_scores_are_hidden_and_good_ones_of_high_scores_trusted() -> None:
    found = advice((30, 0.15, 0.1, False), (10, 0.35, 0.2, False), (20, 0.6, 0.8, False), (60, 0.95, 1.0, True))
    assert (found.hide_below, found.hidden, found.hidden_useful) == (0.4, 40, 0)
    assert (found.trust_from, found.trusted, found.trusted_accepted) == (0.9, 60, 60)
    assert found.is_enough


def test_the_edge_spares_most_work_not_most_regions() -> None:
    found = advice((30, 0.05, 0.0, False), (20, 0.15, 0.9, False), (5, 0.25, 0.0, False), (50, 0.8, 0.9, False))
    assert found.hide_below == pytest.approx(0.1)  # one bin more spares 10, two bins more 15, this bin alone 30


def test_a_share_that_chance_may_explain_is_no_threshold() -> None:
    mixed = ((11, 0.15, 0.1, False), (9, 0.15, 0.9, False), (40, 0.8, 0.9, False))
    assert advice(*mixed).hide_below is None
    often = [(100 * regions, score, iou, accepted) for regions, score, iou, accepted in mixed]
    assert advice(*often).hide_below == pytest.approx(0.2)


def test_nine_of_ten_accepted_is_not_yet_trusted() -> None:
    assert advice((10, 0.95, 1.0, True), (30, 0.5, 0.9, False)).trust_from is None
    assert advice((19, 0.95, 1.0, True), (1, 0.95, 0.9, False), (30, 0.5, 0.9, False)).trust_from is None
    assert advice((99, 0.95, 1.0, True), (1, 0.95, 0.9, False)).trust_from == 0.9


def test_an_empty_bin_is_no_edge() -> None:
    assert advice((60, 0.95, 1.0, True), (60, 0.15, 0.0, False)).trust_from == 0.9


def test_few_regions_say_nothing() -> None:
    found = advice((29, 0.1, 0.0, False))
    assert found == ThresholdAdvice(None, 0, 0, None, 0, 0, is_enough=False)
