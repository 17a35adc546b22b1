"""Eq. 4: features and prototypes give class scores, and the scores give a segmentation (A.8, A.12).

::

    score_c(p) = mean over extractors and windows of  max over P in P(c) of  cos(features(p), P)
    label(p)   = argmax over c of max(0, score_c(p)),   c = 0 is background

The prefilter comes first: the prototypes of a category that it removed, foreground and background, are not compared.
The average is taken after the maximum, so extractors need not have the same prototypes. All is computed in float32.

Features and a vocabulary's prototypes are kept in the machine's memory. The device holds the prototypes that are
compared, and the features of one window at a time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.prototypes import KINDS, FeatureSpacePrototypes
from ovdiff.presets.building_settings import PrototypeKind
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.origins import NOT_STORED, Origin, RowOrigins, joined, stored_origins
from ovdiff.segmenting.stuff import keep_background
from ovdiff.segmenting.windows import Window

BACKGROUND = -1
"""The number of the background class among category indices."""

_CHUNK_BYTES = 64 << 20
_DECIDE_ON_DEVICE_PX = 32 << 20  # At about 25 bytes for a pixel this takes less than 1 GiB.


@dataclass(frozen=True)
class PrototypeTable:
    """The prototypes of a vocabulary in one feature space, ready for matching.

    Attributes:
        vectors: (P, D) float32 unit vectors.
        classes: (P,) the category index for which each row votes, or :data:`BACKGROUND`; ascending.
        owners: (P,) the category index to which each row belongs.
        origins: which prototype, of which support image, each row is.
    """

    vectors: Tensor
    classes: NDArray[np.intp]
    owners: NDArray[np.intp]
    origins: RowOrigins

    def origin(self, row: int) -> Origin:
        """Return where a row comes from."""
        number, image = int(self.origins.numbers[row]), int(self.origins.images[row])
        return Origin(
            owner=int(self.owners[row]),
            side="background" if self.classes[row] == BACKGROUND else "foreground",
            kind=KINDS[int(self.origins.kinds[row])],
            number=None if number == NOT_STORED else number,
            image=None if image == NOT_STORED else image,
        )

    def gated(self, candidates: Collection[int]) -> "PrototypeTable":
        """Return only the rows of candidate categories."""
        return self._only(np.isin(self.owners, list(candidates)))

    def without_stuff_in_background(
        self, stuff: Collection[int], max_similarity: float, device: torch.device
    ) -> "PrototypeTable":
        """Return the table without the background rows that look like a stuff category (A.9)."""
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
        if keep.all():  # A copy for 171 categories in SD's space would take half a gigabyte for each image.
            return self
        rows = torch.from_numpy(keep).to(self.vectors.device)
        return PrototypeTable(self.vectors[rows], self.classes[keep], self.owners[keep], self.origins.taken(keep))


def make_table(
    sets: Sequence[FeatureSpacePrototypes],
    stuff: Collection[int],
    *,
    kinds: tuple[PrototypeKind, ...],
    background: bool = True,
) -> PrototypeTable:
    """Assemble a vocabulary's table for one extractor.

    Args:
        sets: the prototypes of each category, in the vocabulary's order.
        stuff: the indices of stuff categories, whose background prototypes are not used.
        kinds: which kinds of prototypes are used.
        background: whether background prototypes are used at all.
    """
    givers = [index for index in range(len(sets)) if background and index not in stuff]
    sides = [*(sets[index].background for index in givers), *(space.foreground for space in sets)]
    parts = [_rows(side.of_kinds(kinds).vectors) for side in sides]
    origins = joined([stored_origins(side, kinds) for side in sides])
    counts = [len(rows) for rows in parts]
    classes = [*([BACKGROUND] * len(givers)), *range(len(sets))]
    owners = [*givers, *range(len(sets))]
    return PrototypeTable(torch.cat(parts), np.repeat(classes, counts), np.repeat(owners, counts), origins)


def _rows(vectors: NDArray[np.float32]) -> Tensor:
    """Return stored vectors (P, D) as unit vectors."""
    return F.normalize(torch.from_numpy(vectors), dim=1)


def class_scores(features: Tensor, table: PrototypeTable, classes: Sequence[int], *, halved: bool = False) -> Tensor:
    """Return each class's largest cosine at each place.

    Args:
        features: (B, D, h, w) float16 or float32, raw, on any device.
        table: the prototypes of the prefilter's categories, on the device that computes.
        classes: C class ids; a class without prototypes scores -1.
        halved: whether cosines are products of bfloat16, added up in float32: on a GPU many times as fast.

    Returns:
        (B, C, h, w) float32 in [-1, 1], on the table's device. Further memory is taken by the features of one window
        and by a few times 64 MiB, however many windows and prototypes there are.
    """
    return _scores(features, table, classes, rows=None, halved=halved)


def class_scores_with_rows(features: Tensor, table: PrototypeTable, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return what :func:`class_scores` returns, and which row of the table each score is the cosine with.

    Returns:
        The scores (B, C, h, w) float32, and the rows (B, C, h, w) int64; -1 for a class without prototypes.
    """
    count, _, height, width = features.shape
    rows = torch.full((count, len(classes), height * width), -1, dtype=torch.int64, device=table.vectors.device)
    scores = _scores(features, table, classes, rows)
    return scores, rows.reshape(scores.shape)


@torch.inference_mode()
def _scores(
    features: Tensor, table: PrototypeTable, classes: Sequence[int], rows: Tensor | None, *, halved: bool = False
) -> Tensor:
    """Do the work of :func:`class_scores`; fill in ``rows`` (B, C, h * w), if it is given, with the nearest rows."""
    count, depth, height, width = features.shape
    shape, device = (count, len(classes), height * width), table.vectors.device
    scores = torch.full(shape, -1.0, dtype=torch.float32, device=device)
    step = max(1, _CHUNK_BYTES // (4 * max(depth, len(table.vectors))))
    spans = [np.searchsorted(table.classes, [wanted, wanted + 1]).tolist() for wanted in classes]
    vectors = table.vectors.bfloat16() if halved else table.vectors
    at_once = _lengths(spans, len(vectors), device) if device.type != "cpu" and rows is None else None
    for window in range(count):
        # The whole window is sent in the stored dtype: float16 is half the bytes.
        window_features = features[window].flatten(1).to(scores.device)
        for first in range(0, height * width, step):
            places = window_features[:, first : first + step].float()
            cosines = _products(vectors, F.normalize(places, dim=0))
            if at_once is not None:
                scores[window, :, first : first + step] = largest_of_each(cosines, at_once)
                continue
            for column, (start, end) in enumerate(spans):
                if end > start:
                    scores[window, column, first : first + step] = cosines[start:end].amax(dim=0)
                    if rows is not None:
                        rows[window, column, first : first + step] = start + cosines[start:end].argmax(dim=0)
    return scores.clamp_(-1, 1).reshape(count, len(classes), height, width)


def _products(vectors: Tensor, places: Tensor) -> Tensor:
    """Return the products (P, n) float32 of unit vectors (P, D) and places (D, n), of the vectors' dtype."""
    if vectors.dtype == torch.float32:
        return vectors @ places
    rounded = places.to(vectors.dtype)
    if vectors.device.type == "cuda":
        return torch.mm(vectors, rounded, out_dtype=torch.float32)
    return vectors.float() @ rounded.float()  # The same numbers; a CPU has no product that adds up in float32.


def _lengths(spans: Sequence[Sequence[int]], rows: int, device: torch.device) -> Tensor | None:
    """Return how many rows each class has, if the classes' rows are all rows, in order, and no class is without."""
    if [start for start, _ in spans] != [0, *(end for _, end in spans[:-1])] or spans[-1][1] != rows:
        return None
    lengths = [end - start for start, end in spans]
    return torch.tensor(lengths, device=device) if all(lengths) else None


def largest_of_each(cosines: Tensor, lengths: Tensor) -> Tensor:
    """Return the maximum (C, n) of each group of consecutive rows of (P, n); C kernels become one."""
    return torch.segment_reduce(cosines, "max", lengths=lengths, axis=0, unsafe=True)


def enlarge(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return maps (C, h, w) bilinearly resized to (C, H, W), as score maps are to their window and to the image."""
    return F.interpolate(maps[None], size=size_hw, mode="bilinear", align_corners=False)[0]


class ScoreMerger:
    """Averages the score maps of windows over a working image. Each extractor and each window has an equal vote."""

    def __init__(self, classes: int, size_hw: tuple[int, int], device: torch.device | None = None) -> None:
        """Start without votes, for ``classes`` maps of a working image, on a device (by default the CPU)."""
        self._total = torch.zeros(classes, *size_hw, dtype=torch.float32, device=device)
        self._count = torch.zeros(size_hw, dtype=torch.float32, device=device)

    @torch.inference_mode()
    def add(self, scores: Tensor, windows: Sequence[Window]) -> None:
        """Add the score maps (B, C, h, w) of B windows of one size, after enlarging them bilinearly to that size."""
        for window, score in zip(windows, scores, strict=True):
            enlarged = enlarge(score, (window.height, window.width)).clamp_(-1, 1)
            rows, columns = window.slices
            self._total[:, rows, columns] += window.weight * enlarged
            self._count[rows, columns] += window.weight

    def mean(self) -> Tensor:
        """Return the mean scores (C, H, W) float32; every pixel must lie in some window."""
        return self._total / self._count


@torch.inference_mode()
def decide(scores: Tensor, labels: Sequence[int], size_hw: tuple[int, int]) -> Segmentation:
    """Enlarge scores to the image and let the best class win at each pixel.

    If there is a background class, negative scores count as 0 and background wins ties, so a pixel that resembles no
    category is background. Without a background class every pixel gets a category. Classes are enlarged one after
    another, so that the large maps of all classes are never in memory together.

    Args:
        scores: (C, h, w) float32; the first class is background if its label is 0.
        labels: the label id of each class.
        size_hw: (H, W) of the image.
    """
    lowest = 0.0 if labels[0] == 0 else -1.0
    scores = scores if size_hw[0] * size_hw[1] <= _DECIDE_ON_DEVICE_PX else scores.cpu()
    best = torch.full(size_hw, -torch.inf, dtype=torch.float32, device=scores.device)
    second = torch.full_like(best, -1.0)  # The lowest possible score stands in for a missing runner-up.
    label_map = torch.zeros_like(best, dtype=torch.int32)
    for label, score in zip(labels, scores, strict=True):
        enlarged = enlarge(score[None], size_hw)[0].clamp_(min=lowest)
        label_map.masked_fill_(enlarged > best, label)
        torch.maximum(second, torch.minimum(best, enlarged), out=second)
        torch.maximum(best, enlarged, out=best)
    margins = best - second
    return Segmentation(label_map.numpy(force=True), best.clamp(min=0).numpy(force=True), margins.numpy(force=True))
