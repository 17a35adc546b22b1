import numpy as np
import pytest

from ovdiff.bank.prototypes import KINDS, Prototypes
from ovdiff.presets.building_settings import PrototypeKind

STORED = Prototypes(
    vectors=np.arange(10, dtype=np.float32).reshape(5, 2),
    kinds=np.array([0, 1, 1, 2, 2], np.uint8),
    images=np.array([-1, 3, 5, -1, -1], np.int32),
)


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (("class",), [0]),
        (("part", "instance"), [1, 2, 3, 4]),  # the stored order, and not the order of the wanted kinds
        (KINDS, [0, 1, 2, 3, 4]),
        ((), []),
    ],
)
def test_kinds_can_be_chosen(wanted: tuple[PrototypeKind, ...], rows: list[int]) -> None:
    found = STORED.of_kinds(wanted)
    np.testing.assert_array_equal(found.vectors, STORED.vectors[rows])
    np.testing.assert_array_equal(found.kinds, STORED.kinds[rows])
    np.testing.assert_array_equal(found.images, STORED.images[rows])


def test_kinds_keep_their_numbers() -> None:
    """The numbers are in stored files."""
    assert KINDS == ("class", "instance", "part")
