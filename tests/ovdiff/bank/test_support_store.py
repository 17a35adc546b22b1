import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from converters.files.atomic import LEFT_OVER_S
from ovdiff.bank.support_store import DrawnBatch, DrawnImage, Masks, Shelf, SupportStore
from ovdiff.errors import BankError

KEY, MASKS_KEY = "0123456789abcdef", "f" * 64


@pytest.fixture
def store(tmp_path: Path) -> SupportStore:
    return SupportStore(tmp_path / "support")


@pytest.fixture
def shelf(store: SupportStore) -> Shelf:
    return store.shelf(KEY, MASKS_KEY)


def _image(number: int, seed: int = 7) -> DrawnImage:
    random = np.random.default_rng([seed, number])
    pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return DrawnImage(number, seed, number % 2, pixels, random.random((4, 4), dtype=np.float32))


def _batch(*numbers: int, seed: int = 7) -> DrawnBatch:
    return DrawnBatch("a photo of a boat", tuple(_image(number, seed) for number in numbers), refused=len(numbers))


def _masks(count: int) -> list[Masks]:
    covers = np.random.default_rng(0).integers(0, 3, (count, 16, 16))
    return [(cover == 1, cover == 2) for cover in covers]


def _same(found: tuple[DrawnBatch, ...], expected: list[DrawnBatch]) -> None:
    assert [(b.prompt, b.left_out, b.refused) for b in found] == [(b.prompt, b.left_out, b.refused) for b in expected]
    for one, other in zip(
        (item for batch in found for item in batch.images),
        (item for batch in expected for item in batch.images),
        strict=True,
    ):
        assert (one.number, one.seed, one.attempt) == (other.number, other.seed, other.attempt)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.attribution, other.attribution)
        assert one.attribution.dtype == np.float32 and one.image.dtype == np.uint8


def test_batches_come_back_as_they_were(store: SupportStore, shelf: Shelf) -> None:
    batches = [replace(_batch(0, 2), left_out=(4,)), _batch(1, 3)]
    for batch in reversed(batches):
        shelf.keep(batch)
    _same(store.shelf(KEY, "other").batches(), batches)
    assert store.keys() == (KEY,)


def test_a_batch_of_which_nothing_can_be_shown_is_settled_too(shelf: Shelf) -> None:
    shelf.keep(DrawnBatch("x", (), left_out=(2, 0), refused=10))
    assert shelf.batches()[0].numbers == {0, 2}


def test_an_empty_store_has_nothing(store: SupportStore, shelf: Shelf) -> None:
    assert store.keys() == () and shelf.batches() == () and shelf.masks([_image(0)]) is None
    store.remove(KEY)
    assert not store.folder.exists()  # looking creates nothing


def test_people_can_open_the_images_and_masks(shelf: Shelf) -> None:
    shelf.keep(_batch(3))
    with Image.open(shelf.folder / "batch-0003" / "0003.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), _image(3).image)
    masks = _masks(1)
    shelf.keep_masks([_image(3)], masks)
    (file,) = shelf.folder.glob("masks-*/0003.png")
    with Image.open(file) as picture:
        np.testing.assert_array_equal(np.asarray(picture) == 255, masks[0][0])


@settings(deadline=None)  # Folders are synced to the disk, which takes as long as other processes let it.
@given(
    st.lists(st.integers(0, 9999), min_size=1, max_size=4, unique=True), st.sets(st.integers(0, 9999)), st.integers(0)
)
def test_whatever_is_kept_comes_back(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], left_out: set[int], refused: int
) -> None:
    shelf = SupportStore(tmp_path_factory.mktemp("any")).shelf(KEY, MASKS_KEY)
    batch = DrawnBatch("ein Boot — 船", tuple(map(_image, numbers)), tuple(left_out - set(numbers)), refused)
    shelf.keep(batch)
    _same(shelf.batches(), [batch])


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


DAMAGE = [_truncate, _flip_a_bit, lambda file: file.write_bytes(b""), lambda file: file.unlink()]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["0002.png", "0002.npy", "batch.json", "checksums.json"])
def test_a_damaged_batch_is_never_used_and_can_be_replaced(
    shelf: Shelf, name: str, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    for batch in (_batch(0, 1), _batch(2, 3)):
        shelf.keep(batch)
    assert callable(damage)
    damage(shelf.folder / "batch-0002" / name)
    _same(shelf.batches(), [_batch(0, 1)])
    assert "batch-0002" in caplog.text and "made anew" in caplog.text
    shelf.keep(_batch(2, 3))
    _same(shelf.batches(), [_batch(0, 1), _batch(2, 3)])


def test_checksums_of_nothing_vouch_for_nothing(shelf: Shelf) -> None:
    shelf.keep(_batch(0))
    (shelf.folder / "batch-0000" / "checksums.json").write_text("{}")
    assert shelf.batches() == ()


def test_what_was_stored_first_stays(shelf: Shelf) -> None:
    shelf.keep(_batch(0, 1, seed=1))
    shelf.keep(_batch(0, 1, seed=2))
    _same(shelf.batches(), [_batch(0, 1, seed=1)])


def test_no_number_occurs_twice_after_runs_with_other_batch_sizes(shelf: Shelf) -> None:
    for batch in (_batch(0, 1, 2, 3), _batch(2, 3), _batch(4)):
        shelf.keep(batch)
    _same(shelf.batches(), [_batch(0, 1, 2, 3), _batch(4)])


def test_masks_belong_to_their_images_and_to_what_made_them(store: SupportStore, shelf: Shelf) -> None:
    drawn, masks = [_image(0), _image(2)], _masks(2)
    shelf.keep_masks(drawn, masks)
    found = shelf.masks(drawn)
    assert found is not None
    for pair, expected in zip(found, masks, strict=True):
        np.testing.assert_array_equal(pair, expected)
    assert store.shelf(KEY, "0" * 64).masks(drawn) is None
    assert shelf.masks([_image(0), _image(2, seed=8)]) is None
    assert shelf.masks(drawn[:1]) is None


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_masks_are_not_used(shelf: Shelf, damage: object) -> None:
    shelf.keep_masks([_image(0)], _masks(1))
    (file,) = shelf.folder.glob("masks-*/0000.png")
    assert callable(damage)
    damage(file)
    assert shelf.masks([_image(0)]) is None
    shelf.keep_masks([_image(0)], _masks(1))
    assert shelf.masks([_image(0)]) is not None


def test_half_written_leftovers_are_ignored_and_swept_when_old(shelf: Shelf) -> None:
    shelf.keep(_batch(0))
    new, old = (shelf.folder / f".batch-0001.{digit * 16}.partial" for digit in "01")
    for folder in (new, old):
        folder.mkdir()
        (folder / "0001.png").write_bytes(b"half")
    long_ago = time.time() - 2 * LEFT_OVER_S
    for path in (old / "0001.png", old):
        os.utime(path, (long_ago, long_ago))
    shelf.keep(_batch(1))
    assert new.exists() and not old.exists()
    assert [sorted(batch.numbers) for batch in shelf.batches()] == [[0], [1]]


def test_half_removed_sets_are_swept_when_old(store: SupportStore) -> None:
    left_over = store.folder / f".{KEY}.{'0' * 16}.partial"
    (left_over / "batch-0000").mkdir(parents=True)
    for folder in (left_over / "batch-0000", left_over):
        os.utime(folder, (1, 1))
    store.remove(KEY)
    assert list(store.folder.iterdir()) == []


def test_remove_takes_one_set(store: SupportStore) -> None:
    other = "fedcba9876543210"
    for key in (KEY, other):
        store.shelf(key, MASKS_KEY).keep(_batch(0))
    store.remove(KEY)
    assert store.keys() == (other,)


@pytest.mark.parametrize("key", ["", "..", "../../etc", "A" * 16, "0" * 15])
def test_only_keys_name_folders(store: SupportStore, key: str) -> None:
    with pytest.raises(BankError, match="no key of support images"):
        store.shelf(key, MASKS_KEY)
    with pytest.raises(BankError, match="no key of support images"):
        store.remove(key)


def test_a_folder_that_cannot_be_written_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / "support").write_text("a file, not a folder")
    shelf = SupportStore(tmp_path / "support").shelf(KEY, MASKS_KEY)
    with pytest.raises(BankError, match=r"cannot be written to .*support.*Make room"):
        shelf.keep(_batch(0))


def test_many_writers_of_one_set_do_not_disturb_each_other(shelf: Shelf) -> None:
    def write() -> None:
        for number in range(4):
            shelf.keep(_batch(number))
            for batch in shelf.batches():
                _same((batch,), [_batch(*batch.numbers)])

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _same(shelf.batches(), [_batch(number) for number in range(4)])
    assert not list(shelf.folder.glob(".*.partial"))


def test_the_store_does_without_torch() -> None:
    program = "import sys, ovdiff.bank.support_store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
