"""Eq. 4: from features and prototypes to class scores, and from scores to a segmentation (A.8, A.12).

::

    score_c(p) = mean over extractors and windows of  max over P in P(c) of  cos(features(p), P)
    label(p)   = argmax over c of max(0, score_c(p)),   c = 0 is background

The prefilter's gate comes first: prototypes of categories that it removed, background ones included, are
never compared. Averaging comes after the maximum, so extractors need not share prototypes. All in float32.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.presets.schema import PrototypeKind
from ovdiff.prototypes import FeatureSpacePrototypes
from ovdiff.segmentation import Segmentation
from ovdiff.stuff import keep_background
from ovdiff.windows import Window

BACKGROUND = -1
"""Stands for the background class among category indices."""


@dataclass(frozen=True)
class PrototypeTable:
    """The prototypes of a vocabulary in one feature space, ready for matching.

    Attributes:
        vectors: (P, D) float32 unit vectors.
        classes: (P,) the category index that a row votes for, or :data:`BACKGROUND`; ascending.
        owners: (P,) the category index that the row came from.
    """

    vectors: Tensor
    classes: NDArray[np.intp]
    owners: NDArray[np.intp]

    def gated(self, candidates: Collection[int]) -> "PrototypeTable":
        """Return only the rows of candidate categories."""
        keep = np.isin(self.owners, list(candidates))
        return PrototypeTable(self.vectors[torch.from_numpy(keep)], self.classes[keep], self.owners[keep])


def make_table(
    sets: Sequence[FeatureSpacePrototypes],
    stuff: Collection[int],
    *,
    kinds: tuple[PrototypeKind, ...],
    stuff_similarity: float | None,
) -> PrototypeTable:
    """Assemble a vocabulary's table for one extractor.

    Args:
        sets: prototypes of each category, in vocabulary order.
        stuff: indices of stuff categories, which give no background prototypes.
        kinds: which prototypes to use.
        stuff_similarity: the stuff filter's threshold; ``None`` turns the filter off.
    """
    foregrounds = [_rows(space.foreground.of_kinds(kinds).vectors) for space in sets]
    backgrounds = {
        index: _rows(space.background.of_kinds(kinds).vectors) for index, space in enumerate(sets) if index not in stuff
    }
    if stuff_similarity is not None:
        present = [foregrounds[index] for index in sorted(stuff)]
        backgrounds = {
            index: rows[keep_background(rows, present, stuff_similarity)] for index, rows in backgrounds.items()
        }
    owners = [*backgrounds, *range(len(sets))]
    classes = [*([BACKGROUND] * len(backgrounds)), *range(len(sets))]
    parts = [*backgrounds.values(), *foregrounds]
    counts = [len(rows) for rows in parts]
    return PrototypeTable(torch.cat(parts), np.repeat(classes, counts), np.repeat(owners, counts))


def _rows(vectors: NDArray[np.float32]) -> Tensor:
    """Return stored vectors (P, D) as unit vectors."""
    return F.normalize(torch.from_numpy(vectors), dim=1)


@torch.inference_mode()
def class_scores(features: Tensor, table: PrototypeTable, classes: Sequence[int]) -> Tensor:
    """Return each class's largest cosine at each place.

    Args:
        features: (B, D, h, w) float32, raw.
        table: gated prototypes.
        classes: C class ids; one without prototypes scores -1.

    Returns:
        (B, C, h, w) float32 in [-1, 1].
    """
    count, _, height, width = features.shape
    places = F.normalize(features, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    cosines = places @ table.vectors.T
    scores = cosines.new_full((len(places), len(classes)), -1.0)
    for column, wanted in enumerate(classes):
        first, last = np.searchsorted(table.classes, [wanted, wanted + 1])
        if last > first:
            scores[:, column] = cosines[:, first:last].amax(dim=1)
    return scores.clamp(-1, 1).reshape(count, height, width, -1).permute(0, 3, 1, 2)


class ScoreMerger:
    """Averages score maps of windows over a working image, an equal vote for each extractor and window."""

    def __init__(self, classes: int, size_hw: tuple[int, int]) -> None:
        """Start from nothing, for ``classes`` maps of a working image."""
        self._total = torch.zeros(classes, *size_hw)
        self._count = torch.zeros(size_hw)

    @torch.inference_mode()
    def add(self, scores: Tensor, windows: Sequence[Window]) -> None:
        """Add score maps (B, C, h, w) of B windows of one size, enlarged bilinearly to it."""
        size = windows[0].height, windows[0].width
        enlarged = F.interpolate(scores, size=size, mode="bilinear", align_corners=False).clamp(-1, 1).cpu()
        for window, score in zip(windows, enlarged, strict=True):
            rows = slice(window.top, window.top + window.height)
            columns = slice(window.left, window.left + window.width)
            self._total[:, rows, columns] += window.weight * score
            self._count[rows, columns] += window.weight

    def mean(self) -> Tensor:
        """Return the mean scores (C, H, W) float32; every pixel must lie in some window."""
        return self._total / self._count


@torch.inference_mode()
def decide(scores: Tensor, labels: Sequence[int], size_hw: tuple[int, int]) -> Segmentation:
    """Enlarge scores to the image and let the best class win.

    Negative scores count as 0, so a pixel that resembles nothing is background, which wins ties. Classes are
    enlarged one after another, so that a large image never holds all their maps at once.

    Args:
        scores: (C, h, w) float32; the first is background.
        labels: label id of each class; the first is 0.
        size_hw: (H, W) of the image.
    """
    best = torch.full(size_hw, -torch.inf)
    second = torch.full(size_hw, -torch.inf)
    label_map = torch.zeros(size_hw, dtype=torch.int32)
    for label, score in zip(labels, scores, strict=True):
        enlarged = F.interpolate(score[None, None], size=size_hw, mode="bilinear", align_corners=False)
        enlarged = enlarged[0, 0].clamp(min=0)
        wins = enlarged > best
        second = torch.where(wins, best, torch.maximum(second, enlarged))
        best = torch.where(wins, enlarged, best)
        label_map.masked_fill_(wins, label)
    return Segmentation(label_map.numpy(), best.numpy(), (best - second).numpy())
