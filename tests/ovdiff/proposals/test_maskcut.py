from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
from scipy.sparse.linalg import ArpackNoConvergence

from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.part_settings import MaskCutSettings
from ovdiff.proposals import make_source, maskcut
from ovdiff.proposals.maskcut import affinity, bipartition, cut_masks, refine_mask, second_eigenvector


def _blobs() -> np.ndarray:
    """Features 12 x 12: background, a large blob and a small one, each pointing its own way."""
    keys = np.random.default_rng(0).normal(scale=0.05, size=(12, 12, 3)).astype(np.float32)
    keys[..., 0] += 1
    keys[1:6, 1:6] = keys[1:6, 1:6, [1, 0, 2]]
    keys[8:11, 7:10] = keys[8:11, 7:10, [2, 1, 0]]
    return keys


def test_two_blobs_are_cut_out_one_after_the_other() -> None:
    masks = cut_masks(_blobs(), MaskCutSettings(masks=2, tau=0.4))
    expected = np.zeros((2, 12, 12), dtype=bool)
    expected[0, 1:6, 1:6] = True
    expected[1, 8:11, 7:10] = True
    assert {mask.tobytes() for mask in masks} == {mask.tobytes() for mask in expected}


def test_masks_are_disjoint_and_large_enough() -> None:
    keys = np.random.default_rng(1).normal(size=(10, 10, 8)).astype(np.float32)
    masks = np.array(cut_masks(keys, MaskCutSettings(masks=5)))
    assert masks.sum(axis=0).max() <= 1
    assert (masks.mean(axis=(1, 2)) > 0).all()


def test_foreground_is_flipped_when_it_holds_three_corners() -> None:
    mask = bipartition(_blobs(), tau=0.4)
    assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_the_side_of_the_largest_entry_wins_without_corners() -> None:
    """Two halves of unequal size, two corners each: the smaller one has the larger entries."""
    keys = np.zeros((12, 12, 2), np.float32)
    keys[:, :8, 0] = keys[:, 8:, 1] = 1
    np.testing.assert_array_equal(bipartition(keys, tau=0.5), keys[..., 1] > 0)


def _dense_bipartition(keys: np.ndarray, tau: float) -> np.ndarray:
    """D.1.2 to D.1.5, word by word, with the dense generalised solver."""
    height, width, _ = keys.shape
    unit = keys.reshape(height * width, -1).astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    graph = np.where(unit @ unit.T > tau, 1.0, 1e-5)
    degrees = np.diag(graph.sum(axis=1))
    _, vectors = scipy.linalg.eigh(degrees - graph, degrees, subset_by_index=[1, 1])
    x = vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0])
    side = (x > x.mean()).reshape(height, width)
    corners = [side[0, 0], side[0, -1], side[-1, 0], side[-1, -1]]
    seed = int(np.abs(x).argmax())
    if sum(corners) >= 3 or not side.flat[seed]:
        side, x = ~side, -x
    seed = int(x.argmax())
    reached, border = {divmod(seed, width)}, [divmod(seed, width)]
    while border:
        row, column = border.pop()
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= place[0] < height and 0 <= place[1] < width and side[place] and place not in reached:
                reached.add(place)
                border.append(place)
    mask = np.zeros((height, width), dtype=bool)
    mask[tuple(zip(*reached, strict=True))] = True
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_a_bipartition_is_the_dense_solver_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(4, 5, 6))
    keys = coarse.repeat(4, axis=0).repeat(3, axis=1) + random.normal(scale=0.3, size=(16, 15, 6))
    np.testing.assert_array_equal(bipartition(keys.astype(np.float32), 0.2), _dense_bipartition(keys, 0.2))


def test_sparse_eigenvector_gives_the_dense_solver_s_cut() -> None:
    keys = _blobs().reshape(-1, 3)
    graph = affinity(keys, 0.4)
    degrees = np.diag(graph.sum(axis=1))
    _, dense = scipy.linalg.eigh(degrees - graph, degrees, subset_by_index=[1, 1])
    sparse = second_eigenvector(graph)
    assert sparse[np.abs(sparse).argmax()] > 0
    dense = dense[:, 0] * np.sign(dense[np.abs(dense).argmax(), 0])
    np.testing.assert_array_equal(sparse > sparse.mean(), dense > dense.mean())


def test_where_the_sparse_solver_fails_the_dense_one_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    graph = affinity(_blobs().reshape(-1, 3), 0.4)
    expected = second_eigenvector(graph)

    def fails(*_: object, **__: object) -> None:
        raise ArpackNoConvergence("no convergence", np.array([]), np.array([]))

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", fails)
    np.testing.assert_allclose(second_eigenvector(graph), expected, atol=1e-2 * np.abs(expected).max())
    assert "solving densely" in caplog.text


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 2)])
def test_an_image_of_a_patch_or_two_has_masks(size_hw: tuple[int, int]) -> None:
    masks = cut_masks(np.ones((*size_hw, 3), np.float32), MaskCutSettings())
    assert masks and masks[0].any()


def _corner(rows: int, columns: int) -> np.ndarray:
    mask = np.zeros((10, 10), dtype=bool)
    mask[:rows, :columns] = True
    return mask


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[np.ndarray], list[int]]]:
    """Run the rounds on cuts as given; return the masks, and how many patches were taken before each cut."""

    def run(*cuts: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
        taken: list[int] = []

        def cut(keys: np.ndarray, tau: float) -> np.ndarray:
            taken.append(int((keys == 0).all(axis=2).sum()))
            return cuts[len(taken) - 1]

        monkeypatch.setattr(maskcut, "bipartition", cut)
        masks = cut_masks(np.ones((10, 10, 2), np.float32), MaskCutSettings(masks=len(cuts)))
        return masks, taken

    return run


Rounds = Callable[..., tuple[list[np.ndarray], list[int]]]


def test_the_first_round_counts_however_small(rounds: Rounds) -> None:
    masks, taken = rounds(_corner(1, 1), ~_corner(5, 5))
    np.testing.assert_array_equal(masks, [_corner(1, 1), ~_corner(5, 5)])
    assert taken == [0, 1]


def test_a_later_round_of_a_hundredth_of_the_image_is_dropped_and_takes_nothing(rounds: Rounds) -> None:
    masks, taken = rounds(_corner(3, 3), ~_corner(10, 9) & _corner(1, 10), ~_corner(5, 5))
    np.testing.assert_array_equal(masks, [_corner(3, 3), ~_corner(5, 5)])
    assert taken == [0, 9, 9]


def test_a_round_like_the_one_before_is_dropped_but_counts_against_the_empty_one(rounds: Rounds) -> None:
    masks, taken = rounds(_corner(3, 3), _corner(3, 4), _corner(3, 4))
    np.testing.assert_array_equal(masks, [_corner(3, 3), _corner(3, 4) & ~_corner(3, 3)])
    assert taken == [0, 9, 9]


def test_a_round_is_compared_with_the_one_before_it_alone(rounds: Rounds) -> None:
    masks, taken = rounds(_corner(3, 3), ~_corner(5, 10), _corner(3, 4))
    np.testing.assert_array_equal(masks, [_corner(3, 3), ~_corner(5, 10), _corner(3, 4) & ~_corner(3, 3)])
    assert taken == [0, 9, 59]


def test_nothing_is_cut_when_all_is_taken(rounds: Rounds) -> None:
    masks, taken = rounds(_corner(10, 10), _corner(3, 3))
    assert len(masks) == len(taken) == 1


def test_affinity_of_taken_patches_is_almost_nothing() -> None:
    graph = affinity(np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 0.1]], np.float32), 0.15)
    np.testing.assert_allclose(graph, [[1, 1e-5, 1], [1e-5, 1e-5, 1e-5], [1, 1e-5, 1]], rtol=1e-6)


def test_refining_follows_the_edge_and_drops_what_it_would_change_too_much() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = 250
    truth = image[..., 0] > 0
    rough = np.zeros((40, 40), bool)
    rough[9:31, 9:30] = True
    refined = refine_mask(image, rough, MaskCutSettings())
    assert refined is not None
    assert (refined ^ truth).sum() < (rough ^ truth).sum()
    assert refine_mask(image, rough, MaskCutSettings(min_agreement=1.0)) is None


def test_the_proposer_returns_masks_of_the_image_s_size(
    preset: Preset, models: LoadedModels, image: np.ndarray
) -> None:
    small = replace(preset.proposals.maskcut, input_px=64, refine=False)
    chosen = replace(preset, proposals=replace(preset.proposals, source="maskcut", maskcut=small))
    proposer = make_source(chosen, models)
    masks = proposer.propose(image)
    assert masks.dtype == np.bool_ and masks.shape[1:] == image.shape[:2]
    np.testing.assert_array_equal(masks, proposer.propose(image))


@pytest.mark.parametrize("tau", [-1.0, 1.0])
def test_extreme_thresholds_do_not_fail(tau: float) -> None:
    cut_masks(_blobs(), MaskCutSettings(tau=tau))
