"""A category's prototypes, as the bank stores them and the segmenter matches them (Eq. 2-3). Never imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets.building_settings import PrototypeKind

KINDS: tuple[PrototypeKind, ...] = ("class", "instance", "part")


@dataclass(frozen=True)
class Prototypes:
    """The prototypes of one side (foreground or background) of a category, in one feature space.

    Attributes:
        vectors: (P, D) float32, not normalised; they are normalised when they are matched.
        kinds: (P,) uint8, indices into :data:`KINDS`.
        images: (P,) int32, for an instance prototype the support image of which it is the mean, and -1 for the others.
    """

    vectors: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    images: NDArray[np.int32]

    def of_kinds(self, wanted: tuple[PrototypeKind, ...]) -> "Prototypes":
        """Return only the prototypes of the wanted kinds, in the stored order."""
        keep = np.isin(self.kinds, [KINDS.index(kind) for kind in wanted])
        return Prototypes(self.vectors[keep], self.kinds[keep], self.images[keep])


@dataclass(frozen=True)
class FeatureSpacePrototypes:
    """Both sides of a category in one extractor's feature space."""

    foreground: Prototypes
    background: Prototypes


@dataclass(frozen=True)
class PrototypeSet:
    """All prototypes of a category, by the name of the extractor (Eq. 3)."""

    spaces: Mapping[str, FeatureSpacePrototypes]
