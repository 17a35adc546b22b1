from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import PrototypeSet
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.errors import BankError
from ovdiff.forecasting.held_out import OverlaidBank, halves


def _support(*shown: bool) -> SupportSet:
    square = np.ones((4, 4), dtype=bool)
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    attribution = np.zeros((4, 4), dtype=np.float32)
    return SupportSet(
        tuple(SupportImage(image, attribution, square & show, ~square, seed=seed) for seed, show in enumerate(shown))
    )


def test_images_that_show_the_category_are_halved_alternately() -> None:
    found = halves(_support(True, False, True, True, True, True))
    assert found is not None
    assert [[item.seed for item in half.images] for half in found] == [[0, 3, 5], [2, 4]]


@pytest.mark.parametrize("shown", [(), (False, False), (True, False)])
def test_one_image_cannot_be_halved(shown: tuple[bool, ...]) -> None:
    assert halves(_support(*shown)) is None


def test_an_overlaid_bank_has_other_sets_and_stores_none(tmp_path: Path) -> None:
    bank, other = Bank(tmp_path), PrototypeSet({})
    overlaid = OverlaidBank(bank, {"a" * 64: other})
    assert overlaid.has("a" * 64) and overlaid.load("a" * 64) is other
    assert not overlaid.has("b" * 64) and not bank.has("a" * 64) and bank.keys() == ()
    with pytest.raises(BankError, match="No prototype set bbb"):
        overlaid.load("b" * 64)
