"""Where the rows of a prototype table come from: kind, number in the stored set, and support image.

A table is filtered and joined many times before an image is matched with it, and each time its origins go along. So
whoever sees a row win can say which prototype it is, and of which support image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.prototypes import KINDS, Prototypes
from ovdiff.presets.building_settings import PrototypeKind

Side = Literal["foreground", "background"]

NOT_STORED = -1
"""The number of a row that is in no stored prototype set, and the support image of a row that is not of one image."""


class Origin(NamedTuple):
    """Where one row of a table comes from.

    Attributes:
        owner: the index of the category whose prototype it is.
        side: the side of that category.
        kind: the kind of the prototype; a mean, an instance or a part.
        number: its number among the prototypes of that side in the stored set, from 0; `None` if it is not stored.
        image: the number of the support image of which an instance prototype is the mean, from 0; else `None`.
    """

    owner: int
    side: Side
    kind: PrototypeKind
    number: int | None
    image: int | None


@dataclass(frozen=True)
class RowOrigins:
    """The origins of P rows; owner and side are columns of the table itself.

    Attributes:
        kinds: (P,) uint8, indices into :data:`ovdiff.bank.prototypes.KINDS`.
        numbers: (P,) int32, the row's number in its side of the stored set, or :data:`NOT_STORED`.
        images: (P,) int32, the support image of an instance prototype, or :data:`NOT_STORED`.
    """

    kinds: NDArray[np.uint8]
    numbers: NDArray[np.int32]
    images: NDArray[np.int32]

    def taken(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "RowOrigins":
        """Return the origins of some rows: a mask (P,) bool, or row numbers in their new order."""
        return RowOrigins(*(getattr(self, column.name)[rows] for column in fields(self)))


def stored_origins(prototypes: Prototypes, kinds: tuple[PrototypeKind, ...]) -> RowOrigins:
    """Return the origins of those prototypes of a stored side that are of the wanted kinds, in the stored order."""
    numbers = np.flatnonzero(np.isin(prototypes.kinds, [KINDS.index(kind) for kind in kinds]))
    return RowOrigins(prototypes.kinds[numbers], numbers.astype(np.int32), prototypes.images[numbers])


def joined(parts: Sequence[RowOrigins]) -> RowOrigins:
    """Return the origins of several runs of rows, one after another."""
    return RowOrigins(
        *(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(RowOrigins))
    )
