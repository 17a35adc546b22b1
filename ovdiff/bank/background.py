"""A background prototype as people see it: which places of which support images it came from. Never imports torch.

Tested by tests/ovdiff/building/test_backgrounds.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets.building_settings import PrototypeKind


@dataclass(frozen=True)
class BackgroundPrototype:
    """One background prototype of a category with its places.

    Attributes:
        number: how people name it: its number among all that vote, extractor by extractor. Another build may give
            another number to the same background.
        extractor: the extractor in whose space it is.
        kind: "class" (the mean of all background), "instance" (the mean of one image) or "part" (a centre of k-means).
        share: the share of the background's feature cells that belong to it, 0 to 1.
        places: for each support image with such a cell, by its number, the background pixels there: (S, S) bool.
    """

    number: int
    extractor: str
    kind: PrototypeKind
    share: float
    places: Mapping[int, NDArray[np.bool_]]
