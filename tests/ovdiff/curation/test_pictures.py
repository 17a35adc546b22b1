from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovdiff.curation.pictures import PictureStore, address_of
from ovdiff.errors import BankError

PAIR = {
    "image": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
    "mask": np.eye(4, dtype=np.uint8) * 255,
}


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path / "curated")


def test_pictures_come_back_by_their_content(store: PictureStore) -> None:
    address = store.keep(PAIR)
    assert address == address_of(PAIR) == store.keep({name: PAIR[name] for name in reversed(PAIR)})
    found = store.get(address, "The exemplar")
    assert set(found) == set(PAIR) and all((found[name] == PAIR[name]).all() for name in PAIR)
    assert [path.name for path in store.folder.iterdir()] == [address]
    assert address_of({**PAIR, "mask": PAIR["mask"] // 2}) != address != address_of({"image": PAIR["image"]})


def test_what_is_not_there_is_said(store: PictureStore) -> None:
    with pytest.raises(BankError, match=r"The exemplar 'x' is not in the bank.*Bring back .*take them out"):
        store.get("a" * 64, "The exemplar 'x'")


def test_a_damaged_picture_is_not_used_and_is_replaced_when_it_is_added_again(store: PictureStore) -> None:
    address = store.keep(PAIR)
    path = store.folder / address / "mask.png"
    path.write_bytes(path.read_bytes()[:-8] + b"damaged!")
    with pytest.raises(BankError, match="its pictures are damaged"):
        store.get(address, "It")
    assert store.keep(PAIR) == address
    assert (store.get(address, "It")["mask"] == PAIR["mask"]).all()


def test_other_pixels_under_an_address_are_refused(store: PictureStore) -> None:
    address, other = store.keep(PAIR), store.keep({**PAIR, "mask": PAIR["mask"] // 2})
    moved = store.folder / ("c" * 64)
    (store.folder / other).rename(moved)
    with pytest.raises(BankError, match="has other pixels than its address says"):
        store.get("c" * 64, "It")
    assert store.get(address, "It")


def test_a_picture_of_another_kind_is_refused(store: PictureStore, tmp_path: Path) -> None:
    from converters.files.sealed import write_sealed

    folder = store.folder / ("d" * 64)
    folder.mkdir(parents=True)
    Image.new("CMYK", (2, 2)).save(tmp_path / "a.tif")
    write_sealed(folder, {"image.png": (tmp_path / "a.tif").read_bytes()})
    with pytest.raises(BankError, match="It cannot be read"):
        store.get("d" * 64, "It")
