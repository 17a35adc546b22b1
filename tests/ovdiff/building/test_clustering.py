"""K-means in torch against a slow numpy one and against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import pairwise_distances_argmin

from ovdiff.building import clustering
from ovdiff.building.clustering import LibraryDraws, Points, TorchDraws, k_means, k_means_plus_plus, lloyd

CPU = torch.device("cpu")


def _blobs(count: int, clusters: int, depth: int, spread: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(scale=8, size=(clusters, depth))
    return (centres[random.integers(clusters, size=count)] + random.normal(scale=spread, size=(count, depth))).astype(
        np.float32
    )


def _inertia(features: np.ndarray, centres: np.ndarray) -> float:
    return float(((features[:, None].astype(np.float64) - centres[None]) ** 2).sum(axis=2).min(axis=1).sum())


def _slow_lloyd(features: np.ndarray, centres: np.ndarray, iterations: int) -> np.ndarray:
    """Point after point, with scikit-learn's stopping rule; no cluster may become empty."""
    features, centres = features.astype(np.float64), centres.astype(np.float64)
    tolerance, before = 1e-4 * features.var(axis=0).mean(), None
    for _ in range(iterations):
        labels = [int(((row - centres) ** 2).sum(axis=1).argmin()) for row in features]
        if labels == before:
            break
        moved = np.array([features[np.array(labels) == k].mean(axis=0) for k in range(len(centres))])
        shift, centres, before = ((moved - centres) ** 2).sum(), moved, labels
        if shift <= tolerance:
            break
    return centres


def _k_means(features: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    return k_means(torch.from_numpy(features), clusters, seed=seed, iterations=300, device=CPU).numpy()


@pytest.mark.parametrize("chunk_bytes", [64 << 20, 4 * 5 * 7])  # all at once, and 7 rows of 5 at a time
@pytest.mark.parametrize("iterations", [1, 3, 300])
def test_lloyd_is_the_slow_one_from_the_same_centres(
    iterations: int, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "_CHUNK_BYTES", chunk_bytes)
    features = np.random.default_rng(1).normal(loc=50, size=(150, 5)).astype(np.float32)
    points = Points(torch.from_numpy(features), CPU)
    first = k_means_plus_plus(points, 6, TorchDraws(0))
    found = points.uncentred(lloyd(points, first, iterations).centres).numpy()
    np.testing.assert_allclose(found, _slow_lloyd(features, points.uncentred(first).numpy(), iterations), atol=1e-4)


@settings(deadline=None)
@given(
    features=npst.arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(-9, 9)),
    clusters=st.integers(1, 8),
    seed=st.integers(0, 3),
)
def test_inertia_never_rises_and_every_centre_is_finite(features: np.ndarray, clusters: int, seed: int) -> None:
    points = Points(torch.from_numpy(features), CPU)
    first = k_means_plus_plus(points, min(clusters, len(features)), TorchDraws(seed))
    found = lloyd(points, first, 50)
    assert found.centres.isfinite().all()
    for before, after in zip(found.inertias, found.inertias[1:], strict=False):
        assert after <= before * (1 + 1e-5) + 1e-3
    assert _inertia(features, points.uncentred(found.centres).numpy()) <= found.inertias[-1] * (1 + 1e-5) + 1e-3


def test_lloyd_is_scikit_learn_s_from_the_same_centres() -> None:
    features = _blobs(400, 8, 6, spread=3.0)
    points = Points(torch.from_numpy(features), CPU)
    first = k_means_plus_plus(points, 8, TorchDraws(0))
    theirs = KMeans(8, init=points.uncentred(first).numpy(), n_init=1).fit(features).cluster_centers_
    np.testing.assert_allclose(points.uncentred(lloyd(points, first, 300).centres).numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clusters", [1, 8, 32])
def test_by_scikit_learn_s_draws_every_point_has_the_centre_that_scikit_learn_gives_it(
    clusters: int, seed: int
) -> None:
    features = _blobs(600, 9, 12, spread=4.0) + 3
    theirs = KMeans(clusters, n_init="auto", random_state=seed).fit(features)
    ours = k_means(
        torch.from_numpy(features), clusters, seed=seed, iterations=300, device=CPU, draws="scikit-learn"
    ).numpy()
    np.testing.assert_allclose(ours, theirs.cluster_centers_, atol=1e-4)
    np.testing.assert_array_equal(pairwise_distances_argmin(features, ours), theirs.labels_)


def test_by_scikit_learn_s_draws_equal_points_are_drawn_too() -> None:
    features = np.ones((20, 3), np.float32)
    drawn = k_means_plus_plus(Points(torch.from_numpy(features), CPU), 3, LibraryDraws(0))
    assert torch.equal(drawn, torch.zeros(3, 3))


def test_first_centres_are_as_good_as_scikit_learn_s() -> None:
    features, seeds = _blobs(400, 8, 6, spread=3.0), range(40)
    points = Points(torch.from_numpy(features), CPU)
    theirs = [_inertia(features, kmeans_plusplus(features, 8, random_state=seed)[0]) for seed in seeds]
    ours = [lloyd(points, k_means_plus_plus(points, 8, TorchDraws(s)), 1).inertias[0] for s in seeds]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.05)


def test_separate_blobs_are_found_wherever_they_lie() -> None:
    features = _blobs(300, 5, 4, spread=0.05) + 1000
    assert _inertia(features, _k_means(features, 5)) < 300 * 4 * 0.05**2 * 1.2


def test_equal_seeds_give_equal_centres_and_others_do_not() -> None:
    features = np.random.default_rng(2).normal(size=(200, 8)).astype(np.float32)
    np.testing.assert_array_equal(_k_means(features, 9), _k_means(features, 9))
    assert not np.array_equal(_k_means(features, 9), _k_means(features, 9, seed=1))


def test_features_may_be_half_precision_and_are_left_alone() -> None:
    features = torch.from_numpy(_blobs(100, 3, 4)).half()
    before = features.clone()
    found = k_means(features, 3, seed=0, iterations=50, device=CPU)
    assert found.dtype == torch.float32 and torch.equal(features, before)
    np.testing.assert_array_equal(found.numpy(), _k_means(features.float().numpy(), 3))


def test_features_that_do_not_fit_are_sent_over_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(2).normal(size=(200, 8)).astype(np.float16)
    resident = _k_means(features, 9)
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _device: Full())
    monkeypatch.setattr(clustering, "_CHUNK_BYTES", 4 * 8 * 200)
    np.testing.assert_array_equal(_k_means(features, 9), resident)


class Full:
    """A device without free memory."""

    def free_mib(self) -> float:
        return 0.0

    def used_mib(self) -> float:
        return 1000.0


def test_an_empty_cluster_takes_the_farthest_point() -> None:
    features = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    points = Points(features, CPU)
    far = torch.tensor([[1.0], [1000.0]]) - features.mean()  # nothing is nearest to the second
    found = points.uncentred(lloyd(points, far, 10).centres)
    torch.testing.assert_close(found, torch.tensor([[1.0], [30.0]]))


def test_more_clusters_than_distinct_points_repeat_points() -> None:
    features = np.repeat(np.array([[0, 0], [3, 4]], np.float32), 5, axis=0)
    found = _k_means(features, 4)
    assert found.shape == (4, 2)
    assert {tuple(row) for row in found.round(4).tolist()} == {(0.0, 0.0), (3.0, 4.0)}


def test_one_point_is_its_own_centre() -> None:
    np.testing.assert_array_equal(_k_means(np.array([[2, 5]], np.float32), 1), [[2, 5]])
