from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import pairwise_distances_argmin

from ovdiff.bank.prototypes import KINDS, Prototypes
from ovdiff.building.prototypes import build_prototypes, build_side, cell_mask, cluster
from ovdiff.presets.building_settings import PrototypeSettings

SETTINGS = PrototypeSettings(parts=2)
both_libraries = pytest.mark.parametrize("clustering", ["scikit-learn", "torch"])


def _cells(*sizes: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(size, 3)).astype(np.float32) for size in sizes]


def _of_kind(prototypes: Prototypes, kind: str) -> np.ndarray:
    return prototypes.vectors[prototypes.kinds == KINDS.index(kind)]  # type: ignore[arg-type]


def test_class_prototype_is_the_size_weighted_mean_of_instances() -> None:
    cells = _cells(5, 1, 9)
    found = build_prototypes(cells, _cells(2, 2, 2), SETTINGS).foreground
    instances = _of_kind(found, "instance")
    np.testing.assert_allclose(instances[0], cells[0].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(_of_kind(found, "class")[0], np.average(instances, axis=0, weights=[5, 1, 9]), rtol=1e-5)
    assert list(found.images[found.kinds == 1]) == [0, 1, 2]
    assert (found.images[found.kinds != 1] == -1).all()


def test_image_without_foreground_is_skipped_with_its_background() -> None:
    found = build_prototypes(_cells(3, 0, 2), _cells(4, 7, 4), SETTINGS)
    assert list(found.foreground.images[found.foreground.kinds == 1]) == [0, 2]
    assert list(found.background.images[found.background.kinds == 1]) == [0, 2]
    both = np.concatenate([_cells(4, 7, 4)[0], _cells(4, 7, 4)[2]])
    np.testing.assert_allclose(_of_kind(found.background, "class")[0], both.mean(axis=0), rtol=1e-5)


@both_libraries
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_features_on_a_device_give_the_prototypes_that_they_give_in_memory(
    clustering: Literal["scikit-learn", "torch"], dtype: type
) -> None:
    settings = PrototypeSettings(parts=4, clustering=clustering)
    sides = [[rows.astype(dtype) for rows in _cells(*sizes)] for sizes in ((30, 0, 9, 40), (25, 7, 0, 30))]
    sides[0][2][3] = np.inf  # as half precision makes by overflow
    resident = [[torch.from_numpy(rows) for rows in side] for side in sides]
    expected, found = build_prototypes(*sides, settings), build_prototypes(*resident, settings)
    for ours, theirs in ((found.foreground, expected.foreground), (found.background, expected.background)):
        assert ours.vectors.dtype == np.float32 and len(ours.vectors) > 4
        np.testing.assert_array_equal(ours.kinds, theirs.kinds)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-5)


def test_no_features_on_a_device_give_no_prototypes() -> None:
    none = build_side({0: torch.zeros(0, 3), 1: torch.full((2, 3), torch.nan)}, SETTINGS)
    assert none.vectors.shape == (0, 3) and none.vectors.dtype == np.float32


def test_empty_backgrounds_give_no_instance_and_at_last_no_prototypes() -> None:
    found = build_prototypes(_cells(3, 3), _cells(0, 4), SETTINGS)
    assert list(found.background.images[found.background.kinds == 1]) == [1]
    none = build_prototypes(_cells(3), _cells(0), SETTINGS).background
    assert none.vectors.shape == (0, 3) and len(none.kinds) == len(none.images) == 0


def test_rows_that_are_not_finite_are_dropped() -> None:
    cells = _cells(4)[0]
    spoilt = np.vstack([cells, [[np.inf, 0, 0], [np.nan, 0, 0]]]).astype(np.float32)
    found = build_side({0: spoilt, 1: spoilt[4:]}, SETTINGS)
    assert np.isfinite(found.vectors).all() and list(found.images[found.kinds == 1]) == [0]
    np.testing.assert_allclose(_of_kind(found, "class")[0], cells.mean(axis=0), rtol=1e-5)


def _slow_k_means(features: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Lloyd's iterations, one point after the other."""
    for _ in range(100):
        members: list[list[np.ndarray]] = [[] for _ in centroids]
        for row in features:
            members[int(((row - centroids) ** 2).sum(axis=1).argmin())].append(row)
        moved = np.array([np.mean(rows, axis=0) for rows in members])
        if np.allclose(moved, centroids, atol=1e-7):
            return moved
        centroids = moved
    return centroids


@both_libraries
def test_centroids_are_a_fixed_point_of_slow_k_means(clustering: Literal["scikit-learn", "torch"]) -> None:
    features = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    centroids = cluster(features, PrototypeSettings(parts=6, clustering=clustering))
    np.testing.assert_allclose(_slow_k_means(features, centroids), centroids, atol=2e-2)
    assert len(set(pairwise_distances_argmin(features, centroids))) == 6


@both_libraries
def test_k_means_finds_separate_clumps_and_repeats_itself(clustering: Literal["scikit-learn", "torch"]) -> None:
    clumps = np.repeat(np.eye(4, dtype=np.float32) * 10, 20, axis=0)
    features = clumps + np.random.default_rng(0).normal(scale=0.1, size=clumps.shape).astype(np.float32)
    settings = PrototypeSettings(parts=4, clustering=clustering)
    centroids = cluster(features, settings)
    np.testing.assert_allclose(np.sort(centroids.max(axis=1)), np.full(4, 10), atol=0.2)
    np.testing.assert_array_equal(centroids, cluster(features, settings))


@both_libraries
def test_fewer_cells_than_parts_give_as_many_parts(clustering: Literal["scikit-learn", "torch"]) -> None:
    assert len(cluster(_cells(3)[0], PrototypeSettings(parts=32, clustering=clustering))) == 3


def test_the_library_of_k_means_changes_only_the_parts() -> None:
    cells = _cells(30, 40)
    first, second = (
        build_side(dict(enumerate(cells)), PrototypeSettings(parts=5, clustering=clustering))
        for clustering in ("scikit-learn", "torch")
    )
    np.testing.assert_array_equal(first.kinds, second.kinds)
    np.testing.assert_array_equal(first.vectors[first.kinds < 2], second.vectors[second.kinds < 2])


@both_libraries
def test_half_precision_features_give_the_prototypes_of_their_values(
    clustering: Literal["scikit-learn", "torch"],
) -> None:
    settings = PrototypeSettings(parts=3, clustering=clustering)
    halves = {number: rows.astype(np.float16) for number, rows in enumerate(_cells(20, 30))}
    found = build_side(halves, settings)
    same = build_side({number: rows.astype(np.float32) for number, rows in halves.items()}, settings)
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, same.vectors)


@given(mask=npst.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), rows=st.integers(1, 12))
def test_cells_are_those_of_torch_s_bilinear_resize(mask: np.ndarray, rows: int) -> None:
    resized = F.interpolate(torch.from_numpy(mask)[None, None].double(), (rows, 7), mode="bilinear")[0, 0].numpy()
    near = np.abs(resized - 0.5) < 1e-9
    np.testing.assert_array_equal(cell_mask(mask, (rows, 7), 0.5) | near, (resized > 0.5) | near)
    np.testing.assert_array_equal(cell_mask(mask, (rows, 7), 0.0) | (resized < 1e-9), (resized > 0) | (resized < 1e-9))


def test_coverage_0_dilates_and_one_half_does_not() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    assert cell_mask(mask, (4, 4), 0.5).sum() == 4
    shifted = np.roll(mask, 1, axis=1)
    assert cell_mask(shifted, (4, 4), 0.0).sum() > cell_mask(shifted, (4, 4), 0.5).sum()


@pytest.mark.parametrize("parts", [1, 2])
def test_order_is_class_instances_parts(parts: int) -> None:
    found = build_side({4: _cells(5)[0], 7: _cells(6)[0]}, PrototypeSettings(parts=parts))
    assert list(found.kinds) == [0, 1, 1, *[2] * parts]
    assert list(found.images) == [-1, 4, 7, *[-1] * parts]
