"""Splits and merges: one predicted region that became several annotated regions, and several that became one.

    split    p ──> a1, a2      at least two annotated regions lie mostly in p, and hold most of p together
    merge    p1, p2 ──> a      at least two predicted regions lie mostly in a, and hold most of a together

"Mostly" is more than half of the pixels. Only regions of the same labels count: a bird that is drawn inside the sky is
no part of the sky. Regions that were accepted as they were belong to neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.corrections.pairs import RegionPair
from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh, coco_rle_intersection
from converters.records import Region


@dataclass(frozen=True)
class Regrouping:
    """Predicted regions and the annotated regions that they became; one region on one of the two sides."""

    predicted: tuple[Region, ...]
    annotated: tuple[Region, ...]

    @property
    def is_split(self) -> bool:
        """Whether one predicted region became several; else several became one."""
        return len(self.predicted) == 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that all of its regions have."""
        return self.predicted[0].labels


def find_regroupings(pairs: Sequence[RegionPair]) -> tuple[Regrouping, ...]:
    """Return the splits, then the merges, among the regions of one correction.

    Run lengths are compared where boxes overlap; boxes are compared with all others of the same labels, at once.
    """
    predicted = _not_accepted([(pair.predicted, pair) for pair in pairs])
    annotated = _not_accepted([(pair.annotated, pair) for pair in pairs])
    splits = [Regrouping((whole,), parts) for whole, parts in _wholes(predicted, annotated)]
    merges = [Regrouping(parts, (whole,)) for whole, parts in _wholes(annotated, predicted)]
    return (*splits, *merges)


@dataclass(frozen=True)
class _Placed:
    """A region with its area and its box, which are asked for often."""

    region: Region
    area_px: int
    box_xywh: tuple[float, ...]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(self.region.labels)


class _Alike:
    """Regions of the same labels, with their boxes, (n, 4)."""

    def __init__(self, members: Sequence[_Placed]) -> None:
        self._members = members
        self._boxes = np.array([member.box_xywh for member in members])

    def sharing(self, whole: _Placed) -> list[tuple[_Placed, int]]:
        """Return the members that may share pixels with a region, each with how many, in their order."""
        x, y, width, height = self._boxes.T
        left, top, wide, high = whole.box_xywh
        near = (x < left + wide) & (left < x + width) & (y < top + high) & (top < y + height)
        some = [self._members[place] for place in np.flatnonzero(near)]
        return [(part, coco_rle_intersection(part.region.rle, whole.region.rle)) for part in some]


def _not_accepted(sides: Sequence[tuple[Region | None, RegionPair]]) -> list[_Placed]:
    return [
        _Placed(region, coco_rle_area(region.rle), tuple(coco_rle_bbox_xywh(region.rle)))
        for region, pair in sides
        if region is not None and region.labels and pair.outcome != "accepted"
    ]


def _wholes(wholes: Sequence[_Placed], parts: Sequence[_Placed]) -> list[tuple[Region, tuple[Region, ...]]]:
    """Return the regions that are made up of several of the other regions, each with these."""
    by_labels: dict[frozenset[str], list[_Placed]] = {}
    for part in parts:
        by_labels.setdefault(part.labels, []).append(part)
    alike = {labels: _Alike(members) for labels, members in by_labels.items() if len(members) > 1}
    found = []
    for whole in wholes:
        shared = alike[whole.labels].sharing(whole) if whole.labels in alike else []
        inside = [(part, pixels) for part, pixels in shared if 2 * pixels > part.area_px]
        if len(inside) > 1 and 2 * sum(pixels for _, pixels in inside) > whole.area_px:
            found.append((whole.region, tuple(part.region for part, _ in inside)))
    return found
