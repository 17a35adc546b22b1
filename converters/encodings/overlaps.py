"""Regions that overlap become a label map: the rule of every format that has one label for each pixel.

    a pixel goes to the region without a score, then with the higher score, then with the smaller area, then to the
    earlier region

A region without a score was drawn by a person, over what the model had predicted there. It wins over all regions with a
score: else the model would overrule the person who corrected it. Two things are counted: the pixels that more than one
label claimed, and the regions that are hidden entirely.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_runs
from converters.encodings.masks import Mask, require_mask
from converters.errors import MaskError

_Positions = npt.NDArray[np.int64]

RULE = "what a person drew (without a score), then the higher score, then the smaller area, then the order"
"""Which of several regions gets a pixel, in the words that people are told."""


@dataclass(frozen=True)
class LabelledMask:
    """A mask to be drawn into a label map: (H, W) bool, its label (from 1), and its score, None without one."""

    mask: Mask
    label: int
    score: float | None = None


@dataclass(frozen=True)
class LabelledRegion:
    """A region to be drawn into a label map, as run lengths."""

    rle: CocoRLE
    label: int
    score: float | None = None


@dataclass(frozen=True)
class FlatLabels:
    """A label map made of masks, and how often masks overlapped.

    Attributes:
        label_map: (H, W) int32, 0 where no mask is.
        contested_px: how many pixels more than one label claimed.
        hidden: the positions, in the given order, of the masks that kept no pixel.
    """

    label_map: npt.NDArray[np.int32]
    contested_px: int
    hidden: tuple[int, ...] = ()


@dataclass(frozen=True)
class LabelRuns:
    """A label map as runs, in column-major order; a large image of few objects has some thousand.

    Attributes:
        size_hw: height and width of the image in pixels.
        ends: (n,) int64, the position after the last pixel of each run, increasing; the last one is height x width.
        labels: (n,) int32, the label of each run, 0 where no region is.
        contested_px, hidden: as in `FlatLabels`.
    """

    size_hw: tuple[int, int]
    ends: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    contested_px: int
    hidden: tuple[int, ...] = ()

    def label_map(self) -> npt.NDArray[np.int32]:
        """Return the label of each pixel, (H, W) int32."""
        height, width = self.size_hw
        flat = np.repeat(self.labels, np.diff(self.ends, prepend=0))
        return np.ascontiguousarray(flat.reshape(width, height).T)


def masks_to_label_map(masks: Iterable[LabelledMask], size_hw: tuple[int, int]) -> FlatLabels:
    """Give each pixel the label of one mask, by the rule in this module's docstring.

    Raises:
        MaskError: a mask is of another size.
    """
    given = list(masks)
    for item in given:
        require_mask(item.mask)
    order = _by_precedence([(item.score, int(item.mask.sum())) for item in given])
    return _paint(((i, given[i].mask, given[i].label) for i in order), size_hw)


def regions_to_label_map(regions: Sequence[LabelledRegion], size_hw: tuple[int, int]) -> FlatLabels:
    """Give each pixel the label of one region, by the rule in this module's docstring; no mask is decoded.

    Raises:
        MaskError: a region is of another size.
    """
    runs = regions_to_label_runs(regions, size_hw)
    return FlatLabels(runs.label_map(), runs.contested_px, runs.hidden)


def regions_to_label_runs(regions: Sequence[LabelledRegion], size_hw: tuple[int, int]) -> LabelRuns:
    """Give each run of pixels the label of one region, by the rule in this module's docstring.

    The time grows with the number of runs in the columns of each region, not with the pixels.

    Raises:
        MaskError: a region is of another size.
    """
    for item in regions:
        if tuple(item.rle["size"]) != tuple(size_hw):
            raise MaskError(f"expected a mask of shape {tuple(size_hw)}, got {tuple(item.rle['size'])}")
    pixels = size_hw[0] * size_hw[1]
    runs = [coco_rle_runs(item.rle, max_pixels=pixels) for item in regions]
    edges = np.unique(np.concatenate(([0, pixels], *(positions for pair in runs for positions in pair))))
    lengths, labels = np.diff(edges), np.zeros(edges.size - 1, dtype=np.int32)
    contested = np.zeros(labels.size, dtype=np.bool_)
    hidden = []
    for position in _by_precedence([(item.score, coco_rle_area(item.rle)) for item in regions]):
        stretches, covered = _covered(edges, *runs[position])
        there, label = labels[stretches], regions[position].label
        contested[stretches] |= covered & (there != 0) & (there != label)
        there[covered & (there == 0)] = label
        if not (there[covered] == label).any():
            hidden.append(position)
    return LabelRuns(size_hw, edges[1:], labels, int(lengths[contested].sum()), tuple(sorted(hidden)))


def _covered(edges: _Positions, starts: _Positions, ends: _Positions) -> tuple[slice, npt.NDArray[np.bool_]]:
    """Return the stretches between `edges` from the first run to the last, and which of them lie in a run.

    Each start and end is an edge.
    """
    begun, ended = np.searchsorted(edges, starts), np.searchsorted(edges, ends)
    if not begun.size:
        return slice(0, 0), np.zeros(0, dtype=np.bool_)
    first, last = int(begun[0]), int(ended[-1])
    steps = np.zeros(last - first + 1, dtype=np.int8)
    steps[begun - first] += 1
    steps[ended - first] -= 1
    return slice(first, last), np.cumsum(steps[:-1], dtype=np.int8) > 0


def _by_precedence(scores_and_areas: Sequence[tuple[float | None, int]]) -> list[int]:
    """Return the positions of the masks, winners first; masks of equal rank keep their order."""

    def key(position: int) -> tuple[float, int]:
        score, area = scores_and_areas[position]
        return (-np.inf if score is None else -score, area)

    return sorted(range(len(scores_and_areas)), key=key)


def _paint(ordered: Iterator[tuple[int, Mask, int]], size_hw: tuple[int, int]) -> FlatLabels:
    """Draw each (position, mask, label) in turn, only on pixels that have no label yet."""
    label_map = np.zeros(size_hw, dtype=np.int32)
    contested = np.zeros(size_hw, dtype=np.bool_)
    hidden = []
    for position, mask, label in ordered:
        if mask.shape != tuple(size_hw):
            raise MaskError(f"expected a mask of shape {tuple(size_hw)}, got {mask.shape}")
        contested |= mask & (label_map != 0) & (label_map != label)
        label_map[mask & (label_map == 0)] = label
        if not (label_map[mask] == label).any():
            hidden.append(position)
    return FlatLabels(label_map, int(contested.sum()), tuple(sorted(hidden)))
