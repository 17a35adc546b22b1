"""K-means in torch (A.6, C.2): the algorithm of scikit-learn's KMeans, on the device of the models.

::

    greedy k-means++  ->  repeat: every point to its nearest centre, every centre to the mean of its points

At n = 45,000, D = 6400 and K = 32 one pass is 2 n K D = 18 GFLOP. Points are read in chunks of bounded size. They are
centred, so that float32 distances are exact enough. They are summed by matrix products, which give the same result
every time, as scattered additions do not.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.models.memory import free_mib

_CHUNK_BYTES = 64 << 20
_TOLERANCE = 1e-4  # scikit-learn's tolerance, relative to the features' variance
_SHARE_OF_FREE_MEMORY = 0.5


class Points:
    """Features (n, D) of any floating dtype, read as centred float32 chunks on a device.

    The centred features are kept on the device if they take less than half of its free memory. Otherwise they stay
    where they are, and every pass sends them to the device chunk by chunk.
    """

    def __init__(self, features: Tensor, device: torch.device) -> None:
        """Use n >= 1 finite rows, on any device."""
        self.device = device
        self._features, self._ready = features, False
        self._mean = mean(features, device).float()
        if _fits(features, device):
            self._features, self._ready = self._centred(), True
        self.norms = torch.cat([chunk.square().sum(dim=1) for chunk in self.chunks()])
        """Squared lengths (n,) of the centred rows."""

    def __len__(self) -> int:
        """Return n."""
        return len(self._features)

    def chunks(self) -> Iterator[Tensor]:
        """Yield all rows in order, in chunks of a bounded number of bytes."""
        for part in _chunks(self._features):
            yield self._sent(part)

    def rows(self, indices: list[int]) -> Tensor:
        """Return the centred rows (m, D) of some indices."""
        return self._sent(self._features[indices])

    def uncentred(self, rows: Tensor) -> Tensor:
        """Return centred rows (m, D) moved back into the features' own space."""
        return rows + self._mean

    def variance(self) -> float:
        """Return the variance of a feature, averaged over features."""
        return float(self.norms.sum(dtype=torch.float64)) / self._features.numel()

    def _sent(self, rows: Tensor) -> Tensor:
        return rows if self._ready else rows.to(self.device, torch.float32) - self._mean

    def _centred(self) -> Tensor:
        centred = torch.empty(self._features.shape, dtype=torch.float32, device=self.device)
        first = 0
        for chunk in self.chunks():
            centred[first : first + len(chunk)] = chunk
            first += len(chunk)
        return centred


def mean(features: Tensor, device: torch.device) -> Tensor:
    """Return the mean (D,) float64 of features (n, D), computed on a device, in chunks of a bounded number of bytes."""
    start = torch.zeros(features.shape[1], dtype=torch.float64, device=device)
    sums = (part.to(device, torch.float32).sum(dim=0, dtype=torch.float64) for part in _chunks(features))
    return sum(sums, start=start) / len(features)


def _chunks(features: Tensor) -> Iterator[Tensor]:
    return iter(torch.split(features, max(1, _CHUNK_BYTES // (4 * features.shape[1]))))


class Draws(Protocol):
    """The random numbers by which greedy k-means++ draws points."""

    def first(self, points: int) -> int:
        """Draw one of so many points, each with the same probability."""
        ...

    def further(self, weights: Tensor, count: int) -> list[int]:
        """Draw points with probabilities in proportion to weights (n,). If all weights are 0, draw any points."""
        ...


class TorchDraws:
    """Draws by torch's generator."""

    def __init__(self, seed: int) -> None:
        """Begin with a seed."""
        self._random = torch.Generator("cpu").manual_seed(seed)

    def first(self, points: int) -> int:
        """Draw the first point."""
        return int(torch.randint(points, (1,), generator=self._random))

    def further(self, weights: Tensor, count: int) -> list[int]:
        """Draw further points; the last one if all weights are 0."""
        cumulative = weights.double().cpu().cumsum(dim=0)
        drawn = torch.rand(count, generator=self._random, dtype=torch.float64) * cumulative[-1]
        chosen: list[int] = torch.searchsorted(cumulative, drawn, right=True).clamp(max=len(weights) - 1).tolist()
        return chosen


class LibraryDraws:
    """Draws the points that scikit-learn's KMeans draws from the same seed, apart from what rounding decides."""

    def __init__(self, seed: int) -> None:
        """Begin with a seed."""
        self._random = np.random.RandomState(seed)

    def first(self, points: int) -> int:
        """Draw the first point, as scikit-learn does: by float32 probabilities."""
        return int(self._random.choice(points, p=np.full(points, np.float32(1) / np.float32(points))))

    def further(self, weights: Tensor, count: int) -> list[int]:
        """Draw further points; the first one if all weights are 0."""
        cumulative = weights.double().cpu().numpy().cumsum()
        drawn = self._random.uniform(size=count) * cumulative[-1]
        chosen: list[int] = np.searchsorted(cumulative, drawn).clip(max=len(cumulative) - 1).tolist()
        return chosen


DRAWS: dict[str, type[TorchDraws | LibraryDraws]] = {"torch": TorchDraws, "scikit-learn": LibraryDraws}
"""By whose random numbers the first centres are drawn."""


class Clustering(NamedTuple):
    """The centres (K, D) float32, in the space of the centred points, and the inertia before each move of the centres.

    The inertia is the sum of squared distances of points to their nearest centre; it never rises.
    """

    centres: Tensor
    inertias: tuple[float, ...]


@torch.inference_mode()
def k_means(
    features: Tensor,
    clusters: int,
    *,
    seed: int,
    iterations: int,
    device: torch.device,
    draws: Literal["torch", "scikit-learn"] = "torch",
) -> Tensor:
    """Return the centres (K, D) float32, on the CPU, of features (n, D). Equal arguments give equal centres.

    Args:
        features: n >= 1 finite rows of any floating dtype, on any device.
        clusters: K, at most n.
        seed: the seed of the first centres.
        iterations: how often the centres are moved, at most.
        device: the device that computes.
        draws: by whose random numbers the first centres are drawn. With scikit-learn's, the points have the same
            centres that its KMeans gives them on a CPU, apart from what rounding decides.
    """
    points = Points(features, device)
    centres = k_means_plus_plus(points, clusters, DRAWS[draws](seed))
    return points.uncentred(lloyd(points, centres, iterations).centres).cpu()


def k_means_plus_plus(points: Points, clusters: int, random: Draws) -> Tensor:
    """Return first centres (K, D): points far from each other, by greedy k-means++.

    For each further centre, 2 + log K points are drawn. A point's probability is proportional to its squared distance
    to the nearest centre so far. The drawn point that leaves the least inertia becomes the centre.
    """
    chosen = [random.first(len(points))]
    nearest = _squared_distances(points, points.rows(chosen))[:, 0]
    for _ in range(1, clusters):
        drawn = random.further(nearest, 2 + int(math.log(clusters)))
        left = torch.minimum(nearest[:, None], _squared_distances(points, points.rows(drawn)))
        best = int(left.sum(dim=0).argmin())
        nearest = left[:, best]
        chosen.append(drawn[best])
    return points.rows(chosen)


def lloyd(points: Points, centres: Tensor, iterations: int) -> Clustering:
    """Move the centres until no point changes its centre, or until the centres hardly move (scikit-learn's rule)."""
    tolerance = _TOLERANCE * points.variance()
    inertias: list[float] = []
    labels: Tensor | None = None
    for _ in range(iterations):
        found = _assign(points, centres)
        inertias.append(float(found.distances.sum(dtype=torch.float64)))
        if labels is not None and torch.equal(found.labels, labels):
            break
        moved = _means(points, _refilled(points, found), centres)
        shift = float((moved - centres).square().sum())
        centres, labels = moved, found.labels
        if shift <= tolerance:
            break
    return Clustering(centres, tuple(inertias))


class _Assignment(NamedTuple):
    """For each point its centre (n,) and squared distance (n,); for each centre its points' sum (K, D), count (K,)."""

    labels: Tensor
    distances: Tensor
    totals: Tensor
    counts: Tensor


def _assign(points: Points, centres: Tensor) -> _Assignment:
    labels, distances = [], []
    totals = torch.zeros_like(centres)
    for chunk, norms in _chunks_with_norms(points):
        nearest = _distances(chunk, norms, centres).min(dim=1)
        labels.append(nearest.indices)
        distances.append(nearest.values)
        totals += F.one_hot(nearest.indices, len(centres)).float().T @ chunk
    counts = torch.bincount(torch.cat(labels).cpu(), minlength=len(centres))
    return _Assignment(torch.cat(labels), torch.cat(distances), totals, counts)


def _refilled(points: Points, found: _Assignment) -> _Assignment:
    """Give each centre without points the point that is farthest from its own centre, as scikit-learn does."""
    empty = (found.counts == 0).nonzero()[:, 0].tolist()
    if not empty:
        return found
    labels, totals, counts = found.labels.cpu().clone(), found.totals.clone(), found.counts.clone()
    distances = found.distances.cpu()
    for point in distances.argsort(descending=True, stable=True).tolist():
        if not empty or not distances[point]:
            break
        if counts[labels[point]] > 1:
            row, old, new = points.rows([point])[0], int(labels[point]), empty.pop(0)
            totals[old] -= row
            totals[new] = row
            counts[old] -= 1
            counts[new] = 1
            labels[point] = new
    return found._replace(totals=totals, counts=counts)


def _means(points: Points, found: _Assignment, centres: Tensor) -> Tensor:
    """Return the mean of each centre's points; a centre without points stays where it is."""
    counts = found.counts.to(points.device)[:, None]
    return torch.where(counts > 0, found.totals / counts.clamp(min=1), centres)


def _squared_distances(points: Points, centres: Tensor) -> Tensor:
    """Return the squared distance (n, K) of every point to every centre."""
    return torch.cat([_distances(chunk, norms, centres) for chunk, norms in _chunks_with_norms(points)])


def _chunks_with_norms(points: Points) -> Iterator[tuple[Tensor, Tensor]]:
    first = 0
    for chunk in points.chunks():
        yield chunk, points.norms[first : first + len(chunk)]
        first += len(chunk)


def _distances(chunk: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """Return |x - c|^2 (m, K) as |x|^2 - 2 x c + |c|^2."""
    products = torch.addmm(centres.square().sum(dim=1), chunk, centres.T, alpha=-2)
    return (products + norms[:, None]).clamp(min=0)


def _fits(features: Tensor, device: torch.device) -> bool:
    return 4 * features.numel() / (1 << 20) < free_mib(device) * _SHARE_OF_FREE_MEMORY
