"""Splits and merges: one predicted region that became several annotated regions, and several that became one.

    split    p ──> a1, a2      at least two annotated regions lie mostly in p, and hold most of p together
    merge    p1, p2 ──> a      at least two predicted regions lie mostly in a, and hold most of a together

"Mostly" is more than half of the pixels. Only regions of the same labels count: a bird that is drawn inside the sky is
no part of the sky. Regions that were accepted as they were belong to neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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

    The time grows with the predicted times the annotated regions that were not accepted.
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

    def shared_px(self, other: "_Placed") -> int:
        x, y, width, height = self.box_xywh
        left, top, wide, high = other.box_xywh
        if x >= left + wide or left >= x + width or y >= top + high or top >= y + height:
            return 0
        return coco_rle_intersection(self.region.rle, other.region.rle)


def _not_accepted(sides: Sequence[tuple[Region | None, RegionPair]]) -> list[_Placed]:
    return [
        _Placed(region, coco_rle_area(region.rle), tuple(coco_rle_bbox_xywh(region.rle)))
        for region, pair in sides
        if region is not None and region.labels and pair.outcome != "accepted"
    ]


def _wholes(wholes: Sequence[_Placed], parts: Sequence[_Placed]) -> list[tuple[Region, tuple[Region, ...]]]:
    """Return the regions that are made up of several of the other regions, each with these."""
    found = []
    for whole in wholes if len(parts) > 1 else ():
        alike = [part for part in parts if set(part.region.labels) == set(whole.region.labels)]
        shared = [(part, part.shared_px(whole)) for part in alike]
        inside = [(part, pixels) for part, pixels in shared if 2 * pixels > part.area_px]
        if len(inside) > 1 and 2 * sum(pixels for _, pixels in inside) > whole.area_px:
            found.append((whole.region, tuple(part.region for part, _ in inside)))
    return found
