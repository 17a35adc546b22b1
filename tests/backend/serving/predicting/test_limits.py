import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.serving.predicting.limits import least_score, shown_score, without_small_parts
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
