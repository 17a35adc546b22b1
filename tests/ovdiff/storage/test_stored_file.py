import io
import json
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import place
from ovdiff.storage.stored_path import StoredPath
from tests.fakes.scripted_server import scripted_server
from tests.storages import Cable, new_bucket

DATA = bytes(range(256)) * 40


@pytest.fixture
def file(bucket: str) -> Any:
    path: Any = place(f"{bucket}/rows", 20.0)
    path.write_bytes(DATA)
    return path


def test_a_file_is_read_from_any_offset(file: Any) -> None:
    with file.open("rb", 1000) as stream:
        assert stream.seekable() and stream.read(3) == DATA[:3] and stream.tell() == 3
        assert stream.seek(-5, io.SEEK_END) == len(DATA) - 5 and stream.read() == DATA[-5:] and stream.read(1) == b""
        assert stream.seek(2500) == 2500 and stream.read(4000) == DATA[2500:6500]
        stream.seek(len(DATA) + 7)
        assert stream.read(1) == b""
        with pytest.raises(ValueError, match="has no offset -1"):
            stream.seek(-1)
    assert file.open().read() == DATA
    file.write_bytes(b"")
    assert file.open().read() == b""
    with pytest.raises(FileNotFoundError):
        (file.parent / "gone").open()
    with pytest.raises(StorageError, match=r"can be opened to read bytes, not by 'wb'"):
        file.open("wb")


def test_no_more_than_a_block_is_asked_for_at_once(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fs, asked = file.fs_and_path()[0], list[tuple[int, int]]()
    cat = fs.cat_file

    def counted(path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        data: bytes = cat(path, start=start, end=end)
        return data

    monkeypatch.setattr(fs, "cat_file", counted)
    with file.open("rb", 4096) as stream:
        assert b"".join(iter(lambda: stream.read(10), b"")) == DATA
    assert asked == [(0, 4096), (4096, 8192), (8192, len(DATA))]


def blocks(stream: Any, after: dict[int, Any]) -> Iterator[bytes]:
    """Yield the blocks of a stream, and do something after some of them."""
    for number in range(100):
        block: bytes = stream.read(1000)
        if not block:
            return
        yield block
        after.get(number, lambda: None)()


def test_a_file_whose_storage_goes_away_in_its_middle_goes_on_at_the_offset(
    cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Any = place(f"{new_bucket()}/rows", 60.0)
    path.write_bytes(DATA)
    starts, asked = list[int](), StoredPath.asked

    def noted(self: StoredPath, done: str, ask: Any) -> Any:
        if done == "read":
            starts.append(stream.raw.tell())
        return asked(self, done, ask)

    def away() -> None:
        cable.cut()
        threading.Timer(1.0, cable.mend).start()

    monkeypatch.setattr(StoredPath, "asked", noted)
    with path.open("rb", 1000) as stream:
        assert b"".join(blocks(stream, {3: away})) == DATA
    assert starts == list(range(0, len(DATA), 1000)), "each block is asked for once, whatever happened"


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "deleted"])
def test_a_file_that_is_replaced_in_its_middle_is_noticed(file: Any, change: str) -> None:
    new = {"longer": DATA * 2, "shorter": DATA[:1500], "other": DATA[::-1]}

    def replace() -> None:
        file.unlink() if change == "deleted" else file.write_bytes(new[change])

    with (
        file.open("rb", 1000) as stream,
        pytest.raises(StorageError, match=r"rows was replaced or deleted while it was read\. Do the same"),
    ):
        list(blocks(stream, {3: replace}))


def test_a_storage_that_stays_away_ends_the_reading(cable: Cable) -> None:
    path: Any = place(f"{new_bucket()}/rows", 0.0)
    path.write_bytes(DATA)
    with path.open("rb", 1000) as stream, pytest.raises(StorageError, match=r"cannot be read.*Look whether"):
        list(blocks(stream, {1: cable.cut}))


def test_a_storage_that_gives_less_than_it_was_asked_for_is_said(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file.fs_and_path()[0], "cat_file", lambda path, start, end: b"x")
    with file.open("rb", 1000) as stream, pytest.raises(StorageError, match="of 1000 bytes the storage gave 1"):
        stream.read(1)


@pytest.mark.parametrize("says_length", [True, False])
def test_a_web_server_that_gives_no_parts_is_asked_for_the_whole_file_once(says_length: bool) -> None:
    with scripted_server() as server:
        server.says_length, server.answers["GET /rows"] = says_length, (200, DATA)
        with cast(Any, place(f"{server.url}/rows", 0.0)).open("rb", 1000) as stream:
            assert stream.seek(-500, io.SEEK_END) == len(DATA) - 500 and stream.read() == DATA[-500:]
            asked = len(server.requests)
            assert stream.seek(0) == 0 and stream.read() == DATA and len(server.requests) == asked
        server.answers["GET /rows"] = (200, b"")
        assert place(f"{server.url}/rows").open("rb").read() == b""


def test_a_web_file_that_is_cut_off_while_it_is_copied_is_copied_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server() as server:
        server.says_length, server.answers["GET /rows"] = False, (200, DATA)
        path: Any = place(f"{server.url}/rows", 20.0)
        fs = path.fs_and_path()[0]
        get, cut = fs.get_file, [True]

        def get_file(at: str, copy: Any) -> None:
            get(at, copy)
            if cut:
                cut.clear()
                raise ConnectionResetError("cut off")

        monkeypatch.setattr(fs, "get_file", get_file)
        assert path.open().read() == DATA and not cut
        monkeypatch.setattr(fs, "get_file", lambda *_: server.answers.clear())
        with pytest.raises(StorageError, match="/rows was replaced or deleted"):
            path.open()


def test_what_reads_local_files_reads_stored_ones(bucket: str) -> None:
    from converters.files.json_stream import read_json_member_array

    path: Any = place(f"{bucket}/coco.json", 20.0)
    path.write_bytes(json.dumps({"info": {}, "images": [{"id": n} for n in range(9)]}).encode())
    assert [each["id"] for each in read_json_member_array(path, "images")] == list(range(9))
