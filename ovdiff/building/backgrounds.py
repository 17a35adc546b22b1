"""The background prototypes of a category with the places of the support images that they came from.

The class prototype came from all feature cells of the background, an instance prototype from those of its image, a part
prototype from those that are nearest to it (:mod:`ovdiff.building.part_places`). The places are pixels: each pixel of
the background belongs to the cell that it lies in, or to the nearest cell if its own counts as none. So the places of
all parts are the background, and no pixel is in two.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.prototypes import KINDS, Prototypes, PrototypeSet
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.building.part_places import NO_PART, PartMap, part_places
from ovdiff.building.parts import BuildingParts


def background_prototypes(
    parts: BuildingParts, support: SupportSet, prototypes: PrototypeSet
) -> tuple[BackgroundPrototype, ...]:
    """Return the background prototypes of the extractors that vote, in the order of the extractors' names.

    Cost: one pass of each of these extractors over the support images.

    Raises:
        WeightsError: an extractor's model cannot be loaded.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    found: list[BackgroundPrototype] = []
    for name in sorted(parts.preset.active_extractors()):
        space = prototypes.spaces[name]
        maps = [behind for _, behind in part_places(parts, name, support.images, space)]
        found += _of_space(name, len(found), space.background, support.images, maps)
    return tuple(found)


def _of_space(
    name: str, first: int, background: Prototypes, images: Sequence[SupportImage], maps: Sequence[PartMap]
) -> Iterator[BackgroundPrototype]:
    total = sum(int((part_map != NO_PART).sum()) for part_map in maps)
    painted = [_painted(part_map, item.background) for item, part_map in zip(images, maps, strict=True)]
    for row, (kind_number, image) in enumerate(zip(background.kinds.tolist(), background.images.tolist(), strict=True)):
        kind = KINDS[kind_number]
        places, count = {}, 0
        for position, (item, part_map, pixels) in enumerate(zip(images, maps, painted, strict=True)):
            cells = part_map == row if kind == "part" else part_map != NO_PART
            if cells.any() and (kind != "instance" or position == image):
                places[item.number] = pixels == row if kind == "part" else pixels != NO_PART
                count += int(cells.sum())
        yield BackgroundPrototype(first + row, name, kind, count / max(1, total), places)


def _painted(part_map: PartMap, background: NDArray[np.bool_]) -> PartMap:
    """Return the part (H, W) of each background pixel: that of its cell, or of the nearest cell that has one."""
    found = np.full(background.shape, NO_PART, dtype=np.intp)
    if (part_map == NO_PART).all():
        return found
    rows, columns = (
        np.arange(size) * count // size for size, count in zip(background.shape, part_map.shape, strict=True)
    )
    pixels = part_map[rows[:, None], columns[None, :]]
    nearest = ndimage.distance_transform_edt(pixels == NO_PART, return_distances=False, return_indices=True)
    found[background] = pixels[tuple(nearest)][background]
    return found
