import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.files.folder_lock import locked
from ovdiff.segmenting import encoding_store
from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.encoding_store import DamagedEncodingError, EncodingStore, bytes_to_encoding, encoding_to_bytes
from ovdiff.segmenting.windows import Window

KEYS = tuple(letter * 64 for letter in "abcd")


def _encoded(kib: int = 1, seed: int = 0, dtype: torch.dtype = torch.float32) -> EncodedImage:
    random = torch.Generator().manual_seed(seed)
    windows = tuple(Window(0, left, 4, 5, 1 + left) for left in range(2))
    depth = kib * 1024 // (2 * 2 * dtype.itemsize)
    features = WindowFeatures(windows, torch.randn(2, depth, 1, 2, generator=random).to(dtype))
    channels_last = torch.randn(1, 2, 2, 3, generator=random).to(dtype).permute(0, 3, 1, 2)
    whole = WindowFeatures((Window(0, 0, 8, 9, 1),), channels_last)
    working = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    return EncodedImage((30, 40), working, {"clip": (features, whole)}, torch.randn(7, generator=random))


def _same(one: EncodedImage, other: EncodedImage) -> bool:
    return encoding_to_bytes(one) == encoding_to_bytes(other)


def _unused_for(store: EncodingStore, key: str, seconds: float) -> None:
    path = store.folder / f"{key}.safetensors"
    time = path.stat().st_mtime - seconds
    os.utime(path, (time, time))


def _stored(store: EncodingStore) -> set[str]:
    return {path.stem for path in store.folder.iterdir()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_an_encoding_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    encoded, store = _encoded(dtype=dtype), EncodingStore(tmp_path / "encodings", max_mib=1)
    store.put(KEYS[0], encoded)
    found = EncodingStore(store.folder, max_mib=1).get(KEYS[0])
    assert found is not None and found.size_hw == encoded.size_hw and found.embedding is not None
    np.testing.assert_array_equal(found.working, encoded.working)
    for batch, before in zip(found.features["clip"], encoded.features["clip"], strict=True):
        assert batch.windows == before.windows and isinstance(batch.windows[0], Window)
        assert batch.features.dtype == dtype and torch.equal(batch.features, before.features)
        assert batch.features.stride() == before.features.stride()  # else matching differs in the last bit
    assert torch.equal(found.embedding, encoded.embedding)  # type: ignore[arg-type]


def test_an_encoding_without_clip_s_view_of_the_image_comes_back_without(tmp_path: Path) -> None:
    encoded = EncodedImage((3, 4), np.zeros((2, 2, 3), np.uint8), {}, None)
    assert bytes_to_encoding(encoding_to_bytes(encoded)).embedding is None


def test_an_image_whose_array_is_read_only_and_strided_is_stored(tmp_path: Path) -> None:
    working = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)[:, ::2]
    working.setflags(write=False)
    found = bytes_to_encoding(encoding_to_bytes(EncodedImage((4, 4), working, {}, None)))
    np.testing.assert_array_equal(found.working, working)


def test_what_was_unused_for_longest_is_deleted_and_reading_is_using(tmp_path: Path) -> None:
    store = EncodingStore(tmp_path, max_mib=1)
    for number, key in enumerate(KEYS[:2]):
        store.put(key, _encoded(kib=400, seed=number))
        _unused_for(store, key, seconds=100 - number)
    assert store.get(KEYS[0]) is not None  # the older one becomes the younger one
    store.put(KEYS[2], _encoded(kib=400))
    assert _stored(store) == {KEYS[0], KEYS[2]}
    assert store.size_bytes() <= 1 << 20


def test_a_second_put_of_a_key_writes_nothing(tmp_path: Path) -> None:
    store = EncodingStore(tmp_path, max_mib=1)
    store.put(KEYS[0], _encoded())
    before = (tmp_path / f"{KEYS[0]}.safetensors").stat().st_ino
    store.put(KEYS[0], _encoded())
    assert (tmp_path / f"{KEYS[0]}.safetensors").stat().st_ino == before


def _cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def _empty(data: bytearray) -> None:
    data.clear()


def _flip_a_feature(data: bytearray) -> None:
    data[-1] ^= 1


def _move_a_window(data: bytearray) -> None:
    place = data.index(b"[0, 1, 4, 5, 2]")
    data[place + 1 : place + 2] = b"1"


def _other_dtype(data: bytearray) -> None:
    place = data.index(b'"F16"')
    data[place : place + 5] = b'"I16"'


def _no_checksum(data: bytearray) -> None:
    place = data.index(b'"encoding"')
    data[place : place + 10] = b'"encodinh"'


@pytest.mark.parametrize("damage", [_cut, _empty, _flip_a_feature, _move_a_window, _other_dtype, _no_checksum])
def test_a_damaged_file_is_absent_logged_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    encoded, store = _encoded(dtype=torch.float16), EncodingStore(tmp_path, max_mib=1)
    store.put(KEYS[0], encoded)
    path = tmp_path / f"{KEYS[0]}.safetensors"
    data = bytearray(path.read_bytes())
    damage(data)  # type: ignore[operator]
    path.write_bytes(data)
    assert store.get(KEYS[0]) is None
    (record,) = caplog.records
    assert "is damaged" in record.message and "the image is encoded again" in record.message
    store.put(KEYS[0], encoded)
    found = store.get(KEYS[0])
    assert found is not None and _same(found, encoded)


def test_bytes_of_something_else_are_refused() -> None:
    with pytest.raises(DamagedEncodingError):
        bytes_to_encoding(b"no safetensors at all")


def test_a_store_that_is_off_makes_no_folder_and_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EncodingStore(tmp_path / "encodings", max_mib=0)
    store.put(KEYS[0], _encoded())
    assert store.get(KEYS[0]) is None
    assert not store.folder.exists() and not caplog.records


def test_an_image_larger_than_the_budget_deletes_nothing_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EncodingStore(tmp_path, max_mib=1)
    store.put(KEYS[0], _encoded())
    for key in KEYS[1:3]:
        store.put(key, _encoded(kib=1500))
    assert _stored(store) == {KEYS[0]}
    (record,) = caplog.records
    assert "set cache.disk_mib to 2 or more, or to 0" in record.message


@contextmanager
def _files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more into a file, as a full disk does, in the middle of the file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_of_once_and_leaves_no_half_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EncodingStore(tmp_path, max_mib=10)
    with _files_of_at_most(10_000):
        store.put(KEYS[0], _encoded(kib=100))
        store.put(KEYS[1], _encoded(kib=100))
    assert list(tmp_path.iterdir()) == []
    (record,) = caplog.records
    assert "cannot be written" in record.message and "segmented all the same" in record.message
    store.put(KEYS[0], _encoded(kib=100))  # the disk has room again
    assert store.get(KEYS[0]) is not None


def test_a_folder_that_cannot_be_made_or_read_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = EncodingStore(tmp_path / "file" / "encodings", max_mib=1)
    store.put(KEYS[0], _encoded())
    assert store.get(KEYS[0]) is None
    assert len(caplog.records) == 1


def test_temporary_files_of_killed_processes_are_deleted_and_count_for_nothing(tmp_path: Path) -> None:
    left = tmp_path / f".{KEYS[1][:50]}.0123456789abcdef.partial"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    store = EncodingStore(tmp_path, max_mib=1)
    store.put(KEYS[0], _encoded())
    assert _stored(store) == {KEYS[0]}


def test_a_put_waits_for_another_that_makes_room(tmp_path: Path) -> None:
    """Else two would each see room for one file, and both write theirs."""
    store = EncodingStore(tmp_path, max_mib=1)
    putting = threading.Thread(target=store.put, args=(KEYS[0], _encoded()))
    with locked(tmp_path):
        putting.start()
        putting.join(timeout=0.3)
        assert putting.is_alive() and _stored(store) == set()
    putting.join(timeout=30)
    assert _stored(store) == {KEYS[0]}


BESIDE = """
import sys
from pathlib import Path
from ovdiff.segmenting.encoding_store import EncodingStore
from tests.ovdiff.segmenting.test_encoding_store import KEYS, _encoded, turns

print("ready", flush=True)
turns(EncodingStore(Path(sys.argv[1]), max_mib=1))
"""


def turns(store: EncodingStore) -> int:
    """Read and write four encodings of which two fit; return how many were found. Each found one is the right one."""
    expected = [_encoded(kib=400, seed=seed) for seed in range(4)]
    found = 0
    for turn in range(30):
        number = turn * 7 % 4
        encoded = store.get(KEYS[number])
        if encoded is None:
            store.put(KEYS[number], expected[number])
        else:
            found += 1
            assert _same(encoded, expected[number])
    return found


def test_two_processes_share_a_folder_whose_files_are_whole_at_every_moment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store = EncodingStore(tmp_path, max_mib=1)
    command = [sys.executable, "-c", BESIDE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as beside:
        assert beside.stdout is not None and beside.stderr is not None
        assert beside.stdout.readline() == "ready\n", beside.stderr.read()
        while beside.poll() is None:
            turns(store)
        assert beside.returncode == 0, beside.stderr.read()
    assert not caplog.records
    assert store.size_bytes() <= 1 << 20
    assert all(store.get(key) is not None for key in _stored(store))


def test_what_is_kept_soon_is_kept_and_whoever_catches_up_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, go, caught_up = EncodingStore(tmp_path, max_mib=1), threading.Event(), threading.Event()
    put = store.put

    def slow(key: str, encoded: EncodedImage) -> None:
        assert go.wait(60)
        put(key, encoded)

    monkeypatch.setattr(store, "put", slow)
    keys = [letter * 64 for letter in "abcdef"]

    def catch_up() -> None:
        store.catch_up()
        caught_up.set()

    for key in keys:
        store.put_soon(key, _encoded())  # waits for nobody
    thread = threading.Thread(target=catch_up)
    thread.start()
    assert not caught_up.wait(0.1) and not list(tmp_path.iterdir())
    go.set()
    thread.join()
    store._writing.shutdown()
    assert _stored(store) >= set(keys)


def test_whatever_fails_while_it_is_written_soon_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError("none left")

    store = EncodingStore(tmp_path, max_mib=1)
    monkeypatch.setattr(encoding_store, "encoding_to_bytes", fail)
    for key in KEYS:
        store.put_soon(key, _encoded())
    store._writing.shutdown()
    store.put_soon(KEYS[0], _encoded())  # as when the interpreter ends
    store.catch_up()  # nothing waits any more
    (record,) = caplog.records
    assert "cannot be written (MemoryError: none left)" in record.message


def test_a_store_of_nothing_keeps_nothing_soon(tmp_path: Path) -> None:
    store = EncodingStore(tmp_path / "encodings", max_mib=0)
    store.put_soon(KEYS[0], _encoded())
    store._writing.shutdown()
    assert not (tmp_path / "encodings").exists()
