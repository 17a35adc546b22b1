"""Which cells of an image's features lie under which word, and which of these cells become rows.

A cell belongs to the word that covers at least ``purity`` of it; at borders, where features mix two things, a cell
belongs to none. Cells with the same word by the person and the same word by the prediction form a group, of which some
are kept as they are: means of them would hide how much the features of a word differ.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.lessons import LessonRows
from ovdiff.presets.segmenting_settings import LearningSettings
from ovdiff.segmenting.encoding import WindowFeatures
from ovdiff.segmenting.windows import Window

UNKNOWN = -1
"""The word of pixels and cells that nobody speaks about."""

_Labels = NDArray[np.int32]


def resize_labels(labels: NDArray[np.integer], size_hw: tuple[int, int]) -> _Labels:
    """Return a label map (H, W) at another size, each pixel with the label at its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size_hw, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns].astype(np.int32)


def cell_labels(labels: _Labels, window: Window, grid_hw: tuple[int, int], purity: float) -> _Labels:
    """Return the word (h, w) of each cell of a window.

    Args:
        labels: the label map of the working image.
        window: the window.
        grid_hw: the number of cells (h, w) of the window's features.
        purity: the least share of a cell that its word covers; cells without such a word are :data:`UNKNOWN`.
    """
    crop = labels[window.top : window.top + window.height, window.left : window.left + window.width]
    present, codes = np.unique(crop, return_inverse=True)
    one_hot = F.one_hot(torch.from_numpy(codes.reshape(crop.shape)), len(present)).permute(2, 0, 1)
    shares, best = F.adaptive_avg_pool2d(one_hot.float(), grid_hw).max(dim=0)
    return np.where(shares.numpy() >= purity - 1e-6, present[best.numpy()], UNKNOWN).astype(np.int32)


def rows_of(
    batches: Sequence[WindowFeatures], taught: _Labels, predicted: _Labels, settings: LearningSettings
) -> LessonRows:
    """Return the rows of one extractor's features.

    Args:
        batches: the features of all windows.
        taught: (h, w), the person's label map at working size, with :data:`UNKNOWN` where they say nothing.
        predicted: (h, w), the predicted one.
        settings: how cells become rows.
    """
    places = [_Places.of(batch, taught, predicted, settings.cell_purity) for batch in batches]
    words = np.concatenate([place.words for place in places])
    groups = [pair for pair in np.unique(words, axis=0) if pair[0] != UNKNOWN]
    depth = batches[0].features.shape[1]
    weights = np.concatenate([place.weights for place in places])
    found: list[tuple[NDArray[np.float32], NDArray[np.float32], _Labels]] = []
    for pair in groups:
        members = np.flatnonzero((words == pair).all(axis=1))
        chosen = members[_evenly(len(members), settings.rows_per_group)]
        vectors = F.normalize(_gather(batches, chosen), dim=1).numpy()
        counts = (weights[chosen] * (weights[members].sum() / weights[chosen].sum())).astype(np.float32)
        found.append((vectors, counts, np.tile(pair, (len(chosen), 1)).astype(np.int32)))
    if not found:
        empty = np.empty(0, np.int32)
        return LessonRows(np.empty((0, depth), np.float32), empty, empty, np.empty(0, np.float32))
    rows, counts, pairs = (np.concatenate(column) for column in zip(*found, strict=True))
    return LessonRows(rows, pairs[:, 0], pairs[:, 1], counts)


class _Places:
    """The words and weights of the cells of a batch of windows, in the order of its features' cells."""

    def __init__(self, words: _Labels, weights: NDArray[np.float32]) -> None:
        """Keep the words (n, 2), taught and predicted, and the weights (n,)."""
        self.words, self.weights = words, weights

    @staticmethod
    def of(batch: WindowFeatures, taught: _Labels, predicted: _Labels, purity: float) -> "_Places":
        """Return those of a batch."""
        grid = (int(batch.features.shape[2]), int(batch.features.shape[3]))
        words = [
            np.stack([cell_labels(taught, window, grid, purity), cell_labels(predicted, window, grid, 0.0)], axis=-1)
            for window in batch.windows
        ]
        weights = np.repeat([float(window.weight) for window in batch.windows], grid[0] * grid[1])
        return _Places(np.concatenate(words).reshape(-1, 2), weights.astype(np.float32))


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    """Return at most ``most`` of the positions 0 to count - 1, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def _gather(batches: Sequence[WindowFeatures], cells: NDArray[np.intp]) -> Tensor:
    """Return the features (n, D) float32 of cells that are numbered through all batches, ascending."""
    found, first = [], 0
    for batch in batches:
        count, _, height, width = batch.features.shape
        own = cells[(cells >= first) & (cells < first + count * height * width)] - first
        window, place = np.divmod(own, height * width)
        row, column = np.divmod(place, width)
        found.append(batch.features[torch.from_numpy(window), :, torch.from_numpy(row), torch.from_numpy(column)])
        first += count * height * width
    return torch.cat(found).float()
