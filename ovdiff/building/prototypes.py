"""The features of support images become the prototypes of a category (Eq. 2-3). Only torch's k-means imports torch.

Features are averaged and clustered without normalising them. Prototypes are normalised when they are matched (A.5).
Features that are torch's tensors are averaged and clustered on their device, and prototypes alone leave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes
from ovdiff.presets.building_settings import PrototypeSettings

if TYPE_CHECKING:
    from torch import Tensor

Features: TypeAlias = "NDArray[np.floating[Any]] | Tensor"
"""(n, D) float16 or float32, in the machine's memory or on a device. All results that are computed from them are
float32."""


def cell_mask(mask: NDArray[np.bool_], grid_hw: tuple[int, int], coverage: float) -> NDArray[np.bool_]:
    """Say which cells of a feature grid a mask covers (A.5).

    The mask (H, W) is resized bilinearly, from two samples for each axis of a cell and without averaging. A cell counts
    if its value exceeds ``coverage``. With a coverage of 0 this dilates the mask slightly, as the released code does.
    """
    rows, columns = (_bilinear(size, length) for size, length in zip(grid_hw, mask.shape, strict=True))
    covered: NDArray[np.bool_] = rows @ mask.astype(np.float64) @ columns.T > coverage
    return covered


def build_prototypes(
    foreground: Sequence[Features],
    background: Sequence[Features],
    settings: PrototypeSettings,
    device: str = "cpu",
) -> FeatureSpacePrototypes:
    """Make a category's prototypes in one feature space: class, instance and part (Eq. 2-3).

    An image without foreground is skipped, and its background too (A.5).

    Args:
        foreground: for each support image the features (n, D) under its foreground, n >= 0.
        background: for each support image the features (n, D) under its background.
        settings: the number of parts and the settings of k-means.
        device: the device of torch's k-means. Scikit-learn's runs on the CPU; features that are on a device get its
            centres there, apart from rounding.
    """
    kept = [number for number, cells in enumerate(foreground) if len(cells)]
    return FeatureSpacePrototypes(
        build_side({number: foreground[number] for number in kept}, settings, device),
        build_side({number: background[number] for number in kept}, settings, device),
    )


def build_side(cells: Mapping[int, Features], settings: PrototypeSettings, device: str = "cpu") -> Prototypes:
    """Make the prototypes of one side from the features (n, D) of each image number.

    The class prototype is the mean of all features, so large instances weigh more. An image without features gives no
    instance prototype. Without any features there are no prototypes.
    """
    present = {number: finite for number, rows in cells.items() if len(finite := _finite(rows))}
    if not present:
        depth = next((rows.shape[1] for rows in cells.values()), 0)
        return _stack(np.zeros((0, depth), dtype=np.float32), 0, [])
    pooled = _pooled(list(present.values()))
    vectors = np.vstack([_means([pooled, *present.values()]), cluster(pooled, settings, device)])
    return _stack(vectors.astype(np.float32), 1, list(present))


def cluster(features: Features, settings: PrototypeSettings, device: str = "cpu") -> NDArray[np.float32]:
    """Return the k-means centroids (K, D) of features (n, D), by Euclidean distance (A.6); K <= n."""
    parts = min(settings.parts, len(features))
    if settings.clustering == "scikit-learn" and isinstance(features, np.ndarray):
        return _cluster_by_scikit_learn(features, parts, settings)
    return _cluster_by_torch(features, parts, settings, device)


def _cluster_by_scikit_learn(
    features: NDArray[np.floating[Any]], parts: int, settings: PrototypeSettings
) -> NDArray[np.float32]:
    from sklearn.cluster import KMeans

    means = KMeans(
        n_clusters=parts,
        init="k-means++",
        n_init="auto",
        random_state=settings.kmeans_seed,
        max_iter=settings.kmeans_iterations,
    )
    centroids: NDArray[np.float32] = means.fit(features.astype(np.float32, copy=False)).cluster_centers_.astype(
        np.float32
    )
    return centroids


def _cluster_by_torch(features: Features, parts: int, settings: PrototypeSettings, device: str) -> NDArray[np.float32]:
    import torch

    from ovdiff.building.clustering import k_means

    rows = torch.from_numpy(features) if isinstance(features, np.ndarray) else features
    centroids: NDArray[np.float32] = k_means(
        rows,
        parts,
        seed=settings.kmeans_seed,
        iterations=settings.kmeans_iterations,
        device=torch.device(device),
        draws=settings.clustering,
    ).numpy()
    return centroids


def _finite(rows: Features) -> Features:
    """Drop rows with values that are not finite, as half precision makes by overflow: one would spoil every mean."""
    if isinstance(rows, np.ndarray):
        return rows[np.isfinite(rows).all(axis=1)]
    return rows[rows.isfinite().all(dim=1)]


def _pooled(sets: Sequence[Features]) -> Features:
    """Return all rows of sets that are all in one place, below each other."""
    if isinstance(sets[0], np.ndarray):
        return np.concatenate(cast("Sequence[NDArray[np.floating[Any]]]", sets))
    import torch

    return torch.cat(cast("list[Tensor]", sets))


def _means(sets: Sequence[Features]) -> NDArray[np.float64]:
    """Return the mean (m, D) of each of m sets of rows, which are all in one place."""
    if isinstance(sets[0], np.ndarray):
        return np.stack([rows.mean(axis=0, dtype=np.float64) for rows in cast("Sequence[NDArray[Any]]", sets)])
    import torch

    from ovdiff.building.clustering import mean

    found: NDArray[np.float64] = torch.stack([mean(rows, rows.device) for rows in cast("list[Tensor]", sets)]).numpy(
        force=True
    )
    return found


def _stack(vectors: NDArray[np.float32], classes: int, images: list[int]) -> Prototypes:
    """Label the stacked rows: class prototypes come first, then one instance prototype for each image, then parts."""
    parts = len(vectors) - classes - len(images)
    kinds = np.repeat(np.arange(3, dtype=np.uint8), [classes, len(images), parts])
    numbers = np.array([-1] * classes + images + [-1] * parts, dtype=np.int32)
    return Prototypes(vectors, kinds, numbers)


def _bilinear(size: int, length: int) -> NDArray[np.float64]:
    """Return the (size, length) matrix of bilinear resizing along one axis, corners not aligned."""
    centres = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    low = np.floor(centres).astype(np.intp)
    high = np.minimum(low + 1, length - 1)
    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size), low), 1 - (centres - low))
    np.add.at(matrix, (np.arange(size), high), centres - low)
    return matrix
