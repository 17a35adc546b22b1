"""Our thresholds are scikit-image's, to the last bit."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.filters import threshold_multiotsu, threshold_otsu

from ovdiff.proposals.otsu import otsu_threshold, otsu_threshold_pair

T = TypeVar("T")
MAPS = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(0, 1, width=32))
FEW_LEVELS = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5, unique=True).flatmap(
    lambda levels: arrays(np.float32, st.integers(1, 60), elements=st.sampled_from(levels))
)


@st.composite
def smooth_maps(draw: st.DrawFn) -> np.ndarray:
    """Thousands of values in one or two heaps, as attribution maps have them: flat, or skewed towards either end."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(16, 16), (64, 64), (3, 64, 64)]))
    low, high = (random.beta(*draw(st.sampled_from([(1, 1), (0.1, 5), (5, 0.1), (8, 8)])), shape) for _ in range(2))
    chosen = random.random(shape) < draw(st.sampled_from([0, 0.001, 0.1, 0.5]))
    scale = draw(st.sampled_from([1e-6, 1, 1000]))
    return (np.where(chosen, high, low) * scale + draw(st.sampled_from([0, -0.5, 0.9]))).astype(np.float32)


def _or_refused(find: Callable[[np.ndarray], T], values: np.ndarray) -> T | None:
    """Return what a function finds, or None where it says that the values are too few or too close together."""
    try:
        return find(values)
    except ValueError as error:
        assert any(words in str(error) for words in ("different values", "these fill", "Too many bins"))
        return None


def _their_pair(values: np.ndarray) -> tuple[float, float]:
    lower, upper = threshold_multiotsu(values.reshape(1, -1), classes=3)
    return float(lower), float(upper)


def _their_threshold(values: np.ndarray) -> float:
    return float(threshold_otsu(values.reshape(1, -1)))


@settings(max_examples=300)
@given(st.one_of(MAPS, FEW_LEVELS, smooth_maps()).filter(lambda values: values.min() < values.max()))
@example(np.array([0, 1], np.float32))
@example(np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], np.float32))
@example(np.linspace(0, 1, 257, dtype=np.float32) ** 9)
def test_one_threshold(values: np.ndarray) -> None:
    assert _or_refused(otsu_threshold, values) == _or_refused(_their_threshold, values)


@settings(max_examples=300)
@given(st.one_of(MAPS, FEW_LEVELS, smooth_maps()))
@example(np.zeros((4, 4), np.float32))
@example(np.array([0, 1], np.float32))
@example(np.array([0, 0.5, 1], np.float32))
@example(np.array([0, 0.1, 0.9, 1], np.float32))
@example(np.linspace(0, 1, 257, dtype=np.float32) ** 9)
def test_two_thresholds(values: np.ndarray) -> None:
    assert _or_refused(otsu_threshold_pair, values) == _or_refused(_their_pair, values)


def test_sums_run_in_the_same_order() -> None:
    """Another order of the same sum moves one threshold in a few hundred, which random search seldom meets."""
    random = np.random.default_rng(0)
    for _ in range(800):
        share, levels = random.beta(*random.uniform(0.05, 8, 2), random.integers(3, 2000)), random.integers(3, 3000)
        values = (np.round(share * levels) / levels).astype(np.float32)
        assert _or_refused(otsu_threshold_pair, values) == _or_refused(_their_pair, values)


def test_values_in_two_bins_have_no_pair() -> None:
    with pytest.raises(ValueError, match="and these fill 2"):
        otsu_threshold_pair(np.array([0, 0.001, 1], np.float32))


@pytest.mark.parametrize("find", [otsu_threshold, otsu_threshold_pair])
def test_values_closer_than_float32_can_part_are_refused(find: Callable[[np.ndarray], object]) -> None:
    with pytest.raises(ValueError, match="Too many bins"):
        find(np.array([0.9, np.nextafter(np.float32(0.9), np.float32(1))], np.float32))


def test_classes_without_values_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert otsu_threshold_pair(np.array([0, 0, 1, 1e-3, 0.01, 0.7], np.float32))[1] > 0.3
