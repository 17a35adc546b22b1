"""The places of support images that belong to each part prototype (Eq. 3), found anew from the images' features.

::

    part(cell) = argmin over the part prototypes k of the cell's side of  |features(cell) - k|

This is how k-means assigns cells to its centres. A place is a cell of the feature grid; nobody stores these places,
because they take a pass of the extractor over the support images and nothing else.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.prototypes import KINDS, FeatureSpacePrototypes, Prototypes
from ovdiff.bank.support import SupportImage
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import Masked, masked_features

NO_PART = -1
"""The number of a cell that belongs to no part prototype."""

PartMap = NDArray[np.intp]
"""(h, w) for each cell of an image the number of its part prototype among those of its side, or :data:`NO_PART`."""


def part_places(
    parts: BuildingParts, name: str, images: Sequence[SupportImage], prototypes: FeatureSpacePrototypes
) -> list[tuple[PartMap, PartMap]]:
    """Return which part prototype each cell of each support image belongs to.

    Cost: one pass of the extractor over the images, in batches, each under the models' lock.

    Args:
        parts: the models.
        name: the extractor.
        images: the support images from which the prototypes were made.
        prototypes: the category's prototypes in that extractor's space, as they are stored.

    Returns:
        For each image the map of its foreground and the map of its background. Cells outside of that side have no
        part. Nor do cells of an image without foreground, of which no prototype is made (A.5).

    Raises:
        WeightsError: the extractor's model cannot be loaded.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    found = []
    for foreground, background in masked_features(parts, name, images):
        behind = _nearest(background, prototypes.background)
        if not len(foreground.rows):
            behind[:] = NO_PART
        found.append((_nearest(foreground, prototypes.foreground), behind))
    return found


def _nearest(side: Masked, prototypes: Prototypes) -> PartMap:
    numbers = np.flatnonzero(prototypes.kinds == KINDS.index("part"))
    found = np.full(side.cells.shape, NO_PART, dtype=np.intp)
    if not (len(numbers) and len(side.rows)):
        return found
    centres = prototypes.vectors[numbers]
    middle = centres.mean(axis=0)  # Float32 differences of large squares would be inexact, so all is centred first.
    rows, centres = side.rows.astype(np.float32) - middle, centres - middle
    distances = np.square(centres).sum(axis=1) - 2 * rows @ centres.T
    nearest = numbers[distances.argmin(axis=1)]
    nearest[~np.isfinite(rows).all(axis=1)] = NO_PART  # Such features were left out when the parts were made.
    found[side.cells] = nearest
    return found
