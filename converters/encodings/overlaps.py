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

from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_to_mask
from converters.encodings.masks import Mask, require_mask
from converters.errors import MaskError

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
    """A region to be drawn into a label map, as run lengths.

    It is decoded only while it is drawn, because a large image may have hundreds of regions.
    """

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
    """Give each pixel the label of one region, by the rule in this module's docstring; one mask is in memory at a time.

    Raises:
        MaskError: a region is of another size.
    """
    order = _by_precedence([(item.score, coco_rle_area(item.rle)) for item in regions])
    pixels = size_hw[0] * size_hw[1]
    decoded = ((i, coco_rle_to_mask(regions[i].rle, max_pixels=pixels), regions[i].label) for i in order)
    return _paint(decoded, size_hw)


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
