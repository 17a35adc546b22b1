import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovdiff.learning.cells import UNKNOWN, cell_labels, resize_labels, rows_of
from ovdiff.presets.segmenting_settings import LearningSettings
from ovdiff.segmenting.encoding import WindowFeatures
from ovdiff.segmenting.windows import Window

SETTINGS = LearningSettings()


def _halves(size: int = 8) -> np.ndarray:
    """A label map whose left half is 1 and whose right half is 2."""
    return np.repeat([[1] * (size // 2) + [2] * (size // 2)], size, axis=0).astype(np.int32)


def test_a_label_map_is_resized_by_the_label_at_each_centre() -> None:
    np.testing.assert_array_equal(resize_labels(_halves(8), (2, 4)), [[1, 1, 2, 2]] * 2)
    np.testing.assert_array_equal(resize_labels(_halves(2), (4, 4)), [[1, 1, 2, 2]] * 4)
    assert resize_labels(np.ones((3, 5), np.uint8), (3, 5)).dtype == np.int32


def test_a_cell_has_the_word_that_covers_enough_of_it() -> None:
    labels = _halves()
    labels[0, 0] = 0  # 1 of 16 pixels of the first cell
    whole = Window(0, 0, 8, 8, 1)
    np.testing.assert_array_equal(cell_labels(labels, whole, (2, 2), 0.75), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(cell_labels(labels, whole, (2, 2), 1.0), [[UNKNOWN, 2], [1, 2]])
    np.testing.assert_array_equal(cell_labels(labels, whole, (1, 1), 0.75), [[UNKNOWN]])  # half and half
    np.testing.assert_array_equal(cell_labels(labels, Window(4, 2, 4, 4, 1), (1, 2), 0.75), [[1, 2]])


def _batch(grid: np.ndarray, *windows: Window) -> WindowFeatures:
    """Features of windows that all have the same cells: grid (D, h, w)."""
    return WindowFeatures(windows, torch.from_numpy(np.stack([grid.astype(np.float32)] * len(windows))))


def test_rows_are_unit_vectors_of_cells_with_one_word_said_and_one_foretold() -> None:
    axes = np.zeros((3, 2, 2))
    axes[0, :, 0], axes[1, 0, 1], axes[2, 1, 1] = 5, 2, 9  # left cells, upper right, lower right
    foretold = _halves()
    foretold[4:, 4:] = 1  # the lower right is wrong
    found = rows_of([_batch(axes, Window(0, 0, 8, 8, 2))], _halves(), foretold, LearningSettings(rows_per_group=1))
    order = np.lexsort((found.predicted, found.labels))
    np.testing.assert_allclose(found.vectors[order], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], atol=1e-6)
    assert found.labels[order].tolist() == [1, 2, 2] and found.predicted[order].tolist() == [1, 1, 2]
    assert found.weights[order].tolist() == [4, 2, 2]  # the window counts twice


def test_the_cells_that_are_kept_are_spread_over_all_of_a_group() -> None:
    grid = np.arange(16, dtype=float).reshape(1, 4, 4) + 1
    grid = np.concatenate([grid, np.ones((1, 4, 4))])  # each cell has a direction of its own
    labels = np.ones((8, 8), np.int32)
    found = rows_of([_batch(grid, Window(0, 0, 8, 8, 1))], labels, labels, LearningSettings(rows_per_group=4))
    np.testing.assert_allclose(found.vectors[:, 0] / found.vectors[:, 1], [1, 6, 11, 16], rtol=1e-5)
    assert found.weights.tolist() == [4, 4, 4, 4]


def test_cells_of_several_windows_and_batches_keep_their_own_features() -> None:
    one, two = np.zeros((2, 1, 2)), np.zeros((2, 2, 4))
    one[0], two[1] = 1, 1
    batches = [_batch(one, Window(0, 0, 4, 8, 1), Window(4, 0, 4, 8, 1)), _batch(two, Window(0, 0, 8, 8, 1))]
    found = rows_of(batches, _halves(), _halves(), SETTINGS)
    for word in (1, 2):
        own = found.labels == word
        sums = (found.vectors[own] * found.weights[own, None]).sum(axis=0)
        np.testing.assert_allclose(sums, [2, 4])


def test_nothing_is_learned_where_nobody_speaks() -> None:
    grid = np.ones((3, 2, 2))
    unknown = np.full((8, 8), UNKNOWN, np.int32)
    found = rows_of([_batch(grid, Window(0, 0, 8, 8, 1))], unknown, _halves(), SETTINGS)
    assert found.vectors.shape == (0, 3) and found.labels.shape == found.predicted.shape == found.weights.shape == (0,)
    unknown[:, :4] = 0
    found = rows_of([_batch(grid, Window(0, 0, 8, 8, 1))], unknown, _halves(), SETTINGS)
    assert set(found.labels.tolist()) == {0} and set(found.predicted.tolist()) == {1}


@given(most=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_group_has_few_rows_and_the_weight_of_all_its_cells(most: int, seed: int) -> None:
    grid = np.random.default_rng(seed).normal(size=(4, 4, 4))
    labels = np.ones((8, 8), np.int32)
    settings = LearningSettings(rows_per_group=most)
    found = rows_of([_batch(grid, Window(0, 0, 8, 8, 1))], labels, labels, settings)
    assert len(found.vectors) == min(most, 16)
    np.testing.assert_allclose(found.weights.sum(), 16, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    again = rows_of([_batch(grid, Window(0, 0, 8, 8, 1))], labels, labels, settings)
    np.testing.assert_array_equal(found.vectors, again.vectors)
