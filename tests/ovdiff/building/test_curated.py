from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.building.curated import curate, place_name, stored_places
from ovdiff.curation.curation import UNCURATED, Ban, Exemplar
from ovdiff.curation.pictures import PictureStore
from ovdiff.errors import BankError
from ovdiff.presets import Preset


@pytest.fixture
def pictures(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path)


def _item(number: int) -> SupportImage:
    foreground = np.zeros((64, 64), np.bool_)
    foreground[:20] = True
    image = np.full((64, 64, 3), number, np.uint8)
    return SupportImage(image, foreground.astype(np.float32), foreground, ~foreground, number=number)


DRAWN = SupportSet((_item(0), _item(2), _item(3)), refused=1)


def test_without_a_curation_the_drawn_set_is_returned_as_it_is(pictures: PictureStore, preset: Preset) -> None:
    assert curate(DRAWN, UNCURATED, pictures, preset) is DRAWN


def test_banned_places_are_background_no_more(pictures: PictureStore, preset: Preset) -> None:
    left = np.zeros((64, 64), np.bool_)
    left[:, :32] = True
    address = pictures.keep(stored_places({place_name(DRAWN.images[1]): left, "0009": left, "0003": left & False}))
    again = pictures.keep(stored_places({"0002": ~left}))
    found = curate(DRAWN, UNCURATED.banning(Ban(address)), pictures, preset)
    assert (found.images[1].background == (DRAWN.images[1].background & ~left)).all()
    assert (found.images[1].foreground == DRAWN.images[1].foreground).all()
    assert (found.images[0].background == DRAWN.images[0].background).all()
    both = curate(DRAWN, UNCURATED.banning(Ban(address)).banning(Ban(again)), pictures, preset)
    assert not both.images[1].background.any()


def test_an_exemplar_of_another_size_is_said(pictures: PictureStore, preset: Preset) -> None:
    small = np.zeros((8, 8), np.uint8)
    address = pictures.keep({"image": np.zeros((8, 8, 3), np.uint8), "mask": small})
    with pytest.raises(BankError, match=r"The exemplar 'a' is of \(8, 8, 3\) pixels, expected 64 x 64\. Add it anew"):
        curate(DRAWN, UNCURATED.adding(Exemplar(address, "a")), pictures, preset)
    with pytest.raises(BankError, match=r"A ban of image 2 is of \(8, 8\) pixels"):
        curate(DRAWN, UNCURATED.banning(Ban(pictures.keep({"0002": small}))), pictures, preset)
    with pytest.raises(BankError, match="The exemplar 'a' has no picture 'mask'"):
        curate(DRAWN, UNCURATED.adding(Exemplar(pictures.keep({"image": small}), "a")), pictures, preset)
