"""Eq. 4: from features and prototypes to class scores, and from scores to a segmentation (A.8, A.12).

::

    score_c(p) = mean over extractors and windows of  max over P in P(c) of  cos(features(p), P)
    label(p)   = argmax over c of max(0, score_c(p)),   c = 0 is background

The prefilter's gate comes first: prototypes of categories that it removed, background ones included, are
never compared. Averaging comes after the maximum, so extractors need not share prototypes. All in float32.

Features and a vocabulary's table lie in the machine's memory; what is matched, gated rows and one window at a
time, is on the device.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.presets.schema import PrototypeKind
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.stuff import keep_background
from ovdiff.segmenting.windows import Window

BACKGROUND = -1
"""Stands for the background class among category indices."""

_CHUNK_BYTES = 64 << 20
_DECIDE_ON_DEVICE_PX = 32 << 20  # about 25 bytes a pixel: below 1 GiB


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
        return self._only(np.isin(self.owners, list(candidates)))

    def without_stuff_in_background(
        self, stuff: Collection[int], max_similarity: float, device: torch.device
    ) -> "PrototypeTable":
        """Return the table less the background rows that look like a stuff category (A.9)."""
        keep = np.ones(len(self.classes), dtype=np.bool_)
        background = self.classes == BACKGROUND
        of_stuff = self._only(np.isin(self.classes, list(stuff)))
        kept = keep_background(self._only(background).vectors.to(device), of_stuff.vectors.to(device), max_similarity)
        keep[background] = kept.cpu().numpy()
        return self._only(keep)

    def to(self, device: torch.device) -> "PrototypeTable":
        """Return the table with its vectors on a device."""
        return replace(self, vectors=self.vectors.to(device))

    def _only(self, keep: NDArray[np.bool_]) -> "PrototypeTable":
        if keep.all():  # nothing to copy: of 171 categories in SD's space it would be half a gigabyte an image
            return self
        rows = torch.from_numpy(keep).to(self.vectors.device)
        return PrototypeTable(self.vectors[rows], self.classes[keep], self.owners[keep])


def make_table(
    sets: Sequence[FeatureSpacePrototypes],
    stuff: Collection[int],
    *,
    kinds: tuple[PrototypeKind, ...],
    background: bool = True,
) -> PrototypeTable:
    """Assemble a vocabulary's table for one extractor.

    Args:
        sets: prototypes of each category, in vocabulary order.
        stuff: indices of stuff categories, which give no background prototypes.
        kinds: which prototypes to use.
        background: whether background prototypes are used at all.
    """
    foregrounds = [_rows(space.foreground.of_kinds(kinds).vectors) for space in sets]
    givers = [index for index in range(len(sets)) if background and index not in stuff]
    backgrounds = [_rows(sets[index].background.of_kinds(kinds).vectors) for index in givers]
    parts = [*backgrounds, *foregrounds]
    counts = [len(rows) for rows in parts]
    classes = [*([BACKGROUND] * len(givers)), *range(len(sets))]
    owners = [*givers, *range(len(sets))]
    return PrototypeTable(torch.cat(parts), np.repeat(classes, counts), np.repeat(owners, counts))


def _rows(vectors: NDArray[np.float32]) -> Tensor:
    """Return stored vectors (P, D) as unit vectors."""
    return F.normalize(torch.from_numpy(vectors), dim=1)


@torch.inference_mode()
def class_scores(features: Tensor, table: PrototypeTable, classes: Sequence[int]) -> Tensor:
    """Return each class's largest cosine at each place.

    Args:
        features: (B, D, h, w) float16 or float32, raw, on any device.
        table: gated prototypes, on the device that computes.
        classes: C class ids; one without prototypes scores -1.

    Returns:
        (B, C, h, w) float32 in [-1, 1], on the table's device. Memory beside it: the features of one window, and a few
        times 64 MiB, however many windows and prototypes there are.
    """
    count, depth, height, width = features.shape
    scores = torch.full((count, len(classes), height * width), -1.0, device=table.vectors.device)
    step = max(1, _CHUNK_BYTES // (4 * max(depth, len(table.vectors))))
    spans = [np.searchsorted(table.classes, [wanted, wanted + 1]).tolist() for wanted in classes]
    for window in range(count):
        window_features = features[window].flatten(1).to(scores.device)  # whole and as stored: half the bytes to send
        for first in range(0, height * width, step):
            places = window_features[:, first : first + step].float()
            cosines = table.vectors @ F.normalize(places, dim=0)
            for column, (start, end) in enumerate(spans):
                if end > start:
                    scores[window, column, first : first + step] = cosines[start:end].amax(dim=0)
    return scores.clamp_(-1, 1).reshape(count, len(classes), height, width)


class ScoreMerger:
    """Averages score maps of windows over a working image, an equal vote for each extractor and window."""

    def __init__(self, classes: int, size_hw: tuple[int, int], device: torch.device | None = None) -> None:
        """Start from nothing, for ``classes`` maps of a working image, on a device (default: the CPU)."""
        self._total = torch.zeros(classes, *size_hw, device=device)
        self._count = torch.zeros(size_hw, device=device)

    @torch.inference_mode()
    def add(self, scores: Tensor, windows: Sequence[Window]) -> None:
        """Add score maps (B, C, h, w) of B windows of one size, enlarged bilinearly to it."""
        for window, score in zip(windows, scores, strict=True):
            size = window.height, window.width
            enlarged = F.interpolate(score[None], size=size, mode="bilinear", align_corners=False)[0].clamp_(-1, 1)
            rows = slice(window.top, window.top + window.height)
            columns = slice(window.left, window.left + window.width)
            self._total[:, rows, columns] += window.weight * enlarged
            self._count[rows, columns] += window.weight

    def mean(self) -> Tensor:
        """Return the mean scores (C, H, W) float32; every pixel must lie in some window."""
        return self._total / self._count


@torch.inference_mode()
def decide(scores: Tensor, labels: Sequence[int], size_hw: tuple[int, int]) -> Segmentation:
    """Enlarge scores to the image and let the best class win.

    Where there is a background, negative scores count as 0, so a pixel that resembles nothing is background,
    which wins ties. Without one every pixel gets a category. Classes are enlarged one after another, so that a
    large image never holds all their maps at once.

    Args:
        scores: (C, h, w) float32; the first is background where its label is 0.
        labels: label id of each class.
        size_hw: (H, W) of the image.
    """
    lowest = 0.0 if labels[0] == 0 else -1.0
    scores = scores if size_hw[0] * size_hw[1] <= _DECIDE_ON_DEVICE_PX else scores.cpu()
    best = torch.full(size_hw, -torch.inf, device=scores.device)
    second = torch.full_like(best, -1.0)  # what nothing at all scores
    label_map = torch.zeros_like(best, dtype=torch.int32)
    for label, score in zip(labels, scores, strict=True):
        enlarged = F.interpolate(score[None, None], size=size_hw, mode="bilinear", align_corners=False)[0, 0]
        enlarged.clamp_(min=lowest)
        label_map.masked_fill_(enlarged > best, label)
        torch.maximum(second, torch.minimum(best, enlarged), out=second)
        torch.maximum(best, enlarged, out=best)
    margins = best - second
    return Segmentation(label_map.numpy(force=True), best.clamp(min=0).numpy(force=True), margins.numpy(force=True))
