import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.serving.predicting.limits import (
    least_score,
    shown_score,
    within_limits,
    without_small_parts,
    without_unsure_pixels,
)
from backend.serving.vocabulary import Output
from backend.settings import OutputSettings
from converters.encodings.masks import label_parts, split_parts
from converters.label_studio.label_config import ImageTag
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category


@pytest.mark.parametrize(
    ("of_label", "of_service", "expected"),
    [
        (None, 0.0, (0.0, "OVDIFF_MIN_SCORE")),
        (None, 0.3, (0.3, "OVDIFF_MIN_SCORE")),
        (0.5, 0.3, (0.5, "threshold")),
        (0.1, 0.3, (0.1, "threshold")),
        (0.0, 0.3, (0.0, "threshold")),
    ],
)
def test_the_threshold_of_a_label_counts_more_than_the_services(
    of_label: float | None, of_service: float, expected: tuple[float, str]
) -> None:
    output = Output(Category("a"), ImageTag("image", "$image"), "b", "brushlabels", "a", of_label)
    assert least_score(output, OutputSettings(min_score=of_service)) == expected


def test_thresholds_are_held_against_the_score_that_a_person_sees() -> None:
    assert shown_score(0.49996) == 0.5


@given(st.integers(0, 2**32 - 1), st.dictionaries(st.integers(0, 3), st.integers(0, 6)))
def test_what_is_left_are_the_parts_that_are_large_enough(seed: int, least: dict[int, int]) -> None:
    label_map = np.random.default_rng(seed).integers(0, 3, (7, 9)).astype(np.int32)
    scores = np.ones(label_map.shape, dtype=np.float32)
    before = Segmentation(label_map.copy(), scores, scores)
    after, dropped = without_small_parts(before, least)
    for index in range(2):
        parts = list(split_parts(before.mask(index)))
        large = [part for part in parts if np.count_nonzero(part) >= least.get(index, 0)]
        expected = np.logical_or.reduce(large) if large else np.zeros((7, 9), dtype=np.bool_)
        assert np.array_equal(after.mask(index), expected)
        assert dropped.get(index, 0) == len(parts) - label_parts(after.mask(index))[1]
    assert np.array_equal(before.label_map, label_map)  # the argument stays as it was


def unsure() -> Segmentation:
    """Return red left of blue, surer from left to right."""
    label_map = np.repeat(np.array([[1, 1, 1, 2, 2, 2]], dtype=np.int32), 2, axis=0)
    margins = np.repeat(np.array([[0.0, 0.01, 0.02, 0.0, 0.01, 0.02]], dtype=np.float32), 2, axis=0)
    return Segmentation(label_map, np.ones_like(margins), margins)


def test_pixels_below_the_margin_of_their_label_are_background() -> None:
    before = unsure()
    after, dropped = without_unsure_pixels(before, {0: 0.015, 1: 0.0})
    assert after.label_map[0].tolist() == [0, 0, 1, 2, 2, 2]
    assert dropped == {0: 4}
    assert before.label_map[0].tolist() == [1, 1, 1, 2, 2, 2]  # the argument stays as it was
    assert without_unsure_pixels(before, {0: 0.0}) == (before, {})
    after, _ = without_unsure_pixels(before, {0: 0.02})
    assert after.label_map[0].tolist() == [0, 0, 1, 2, 2, 2], "a margin of just min_margin is not below it"


def test_an_object_loses_its_unsure_pixels_too() -> None:
    whole = unsure()
    objects = Segmentation(whole.label_map, whole.scores, whole.margins, instance_map=whole.label_map)
    after, _ = without_unsure_pixels(objects, {1: 0.015})
    assert [int(each.mask.sum()) for each in after.objects()] == [6, 2]


def test_parts_are_measured_without_their_unsure_pixels() -> None:
    red = Output(Category("red"), ImageTag("i", "$i"), "b", "brushlabels", "red", min_area_px=3, min_margin=0.015)
    blue = Output(Category("blue"), ImageTag("i", "$i"), "b", "brushlabels", "blue", min_area_px=3)
    after, hidden = within_limits(unsure(), [red, blue])
    assert after.label_map[0].tolist() == [0, 0, 0, 2, 2, 2]
    assert hidden == ["red: 4 pixels with a margin below min_margin=0.015", "red: 1 parts smaller than min_area_px=3"]
