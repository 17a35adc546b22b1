"""The cuts that a device computes are those of the sparse solver.

Seed 0 has no object: its solution is noise in all but two patches of equal weight, so that its masks say nothing.
"""

import numpy as np
import pytest
import torch

from ovdiff.proposals import maskcut
from ovdiff.proposals.device_cuts import second_eigenvector


def keys(seed: int, side: int = 12) -> np.ndarray:
    """Return keys (h, w, 8) of a square of one kind on a ground of another, with noise."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((side, side, 8)) * 0.4 + random.standard_normal(8)
    found[3:8, 2 + seed : 7 + seed] += 3 * random.standard_normal(8)
    return found.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_the_vector_is_the_sparse_solver_s(seed: int) -> None:
    flat = keys(seed).reshape(-1, 8)
    graph = maskcut.affinity(flat, 0.3)
    expected = maskcut.second_eigenvector(graph)
    found = second_eigenvector(torch.from_numpy(graph)).numpy()
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), atol=2e-4)


def test_it_solves_the_normalised_cut() -> None:
    graph = torch.from_numpy(maskcut.affinity(keys(1).reshape(-1, 8), 0.3)).double()
    found, degrees = second_eigenvector(graph), graph.sum(dim=1)
    product = degrees * found - graph @ found
    eigenvalue = (found @ product) / (found @ (degrees * found))
    torch.testing.assert_close(product, eigenvalue * degrees * found, rtol=0, atol=1e-6 * float(product.abs().max()))
    assert float((degrees * found).sum().abs()) < 1e-6 * float((degrees * found).abs().sum())  # beside the first


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_graphs_are_solved(size: int) -> None:
    vectors = np.eye(3, 8, dtype=np.float32)[:size]
    graph = maskcut.affinity(vectors, 0.3)
    found = second_eigenvector(torch.from_numpy(graph))
    assert found.shape == (size,) and bool(found.isfinite().all())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masks_are_the_sparse_solver_s_round_after_round(seed: int) -> None:
    settings = maskcut.MaskCutSettings(tau=0.3)
    expected = maskcut.cut_masks(keys(seed), settings)
    found = maskcut.cut_masks_on_the_device(torch.from_numpy(keys(seed)), settings)
    assert len(found) == len(expected) >= 1
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
