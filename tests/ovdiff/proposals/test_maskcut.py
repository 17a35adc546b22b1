from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from ovdiff.models import Models
from ovdiff.presets import Preset
from ovdiff.presets.schema import MaskCutSettings
from ovdiff.proposals import PROPOSERS
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


def test_sparse_eigenvector_gives_the_dense_solver_s_cut() -> None:
    keys = _blobs().reshape(-1, 3)
    graph = affinity(keys, 0.4)
    degrees = np.diag(graph.sum(axis=1))
    _, dense = scipy.linalg.eigh(degrees - graph, degrees, subset_by_index=[1, 1])
    sparse = second_eigenvector(graph)
    same = (sparse > sparse.mean()) == (dense[:, 0] > dense[:, 0].mean())
    assert same.all() or not same.any()  # the sign is free


def test_affinity_of_taken_patches_is_almost_nothing() -> None:
    graph = affinity(np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 0.1]], np.float32), 0.15)
    np.testing.assert_allclose(graph, [[1, 1e-5, 1], [1e-5, 1e-5, 1e-5], [1, 1e-5, 1]], rtol=1e-6)


def test_refining_follows_the_edge_and_drops_what_it_would_change_too_much() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = 250
    truth = image[..., 0] > 0
    rough = np.zeros((40, 40), bool)
    rough[9:31, 9:30] = True
    refined = refine_mask(image, rough, 0.5)
    assert refined is not None
    assert (refined ^ truth).sum() < (rough ^ truth).sum()
    assert refine_mask(image, rough, 1.0) is None


def test_the_proposer_returns_masks_of_the_image_s_size(preset: Preset, models: Models, image: np.ndarray) -> None:
    small = replace(preset.proposals.maskcut, input_px=64, refine=False)
    chosen = replace(preset, proposals=replace(preset.proposals, source="maskcut", maskcut=small))
    proposer = PROPOSERS["maskcut"](chosen, models)
    masks = proposer.propose(image)
    assert masks.dtype == np.bool_ and masks.shape[1:] == image.shape[:2]
    np.testing.assert_array_equal(masks, proposer.propose(image))


@pytest.mark.parametrize("tau", [-1.0, 1.0])
def test_extreme_thresholds_do_not_fail(tau: float) -> None:
    cut_masks(_blobs(), MaskCutSettings(tau=tau))
