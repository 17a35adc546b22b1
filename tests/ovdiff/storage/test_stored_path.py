import pickle
from typing import Any
from urllib.parse import quote

import pytest

from ovdiff.errors import StorageError
from ovdiff.storage import place
from ovdiff.storage.stored_path import StoredPath
from tests.fakes.scripted_server import scripted_server
from tests.storages import Cable, new_bucket


def stored(address: str, patience_s: float = 5.0) -> Any:
    return place(address, patience_s)


def test_files_are_written_read_listed_and_deleted(bucket: str) -> None:
    folder = stored(f"{bucket}/bank")
    assert not folder.exists() and not folder.is_dir() and list(folder.glob("*")) == [] and folder.listed() == {}
    (folder / "b.json").write_bytes(b"1")
    (folder / "a.txt").write_text("é")
    (folder / "deep/c.json").write_bytes(b"22")
    assert folder.is_dir() and not (folder / "a").exists() and (folder / "a.txt").is_file()
    assert (folder / "a.txt").read_text() == "é" and (folder / "b.json").open().read() == b"1"
    assert [str(path) for path in folder.iterdir()] == [f"{bucket}/bank/{name}" for name in ("a.txt", "b.json", "deep")]
    assert [path.name for path in folder.glob("*.json")] == ["b.json"]
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.json")] == ["b.json", "deep/c.json"]
    assert [status.st_size for status in folder.listed(deep=True).values()] == [2, 1, 2]
    (folder / "b.json").unlink()
    assert not (folder / "b.json").exists()
    (folder / "b.json").unlink(missing_ok=True)


def test_what_another_machine_writes_is_seen_at_once(bucket: str) -> None:
    from fsspec.core import url_to_fs

    path, other = stored(f"{bucket}/bank/a"), url_to_fs(f"{bucket}/bank/a", skip_instance_cache=True)
    (path.parent / "b").write_bytes(b"1")
    assert len(path.parent.listed()) == 1 and not path.exists()
    other[0].pipe_file(other[1], b"1")
    assert len(path.parent.listed()) == 2 and path.exists()
    first = path.stat()
    other[0].pipe_file(other[1], b"2")
    assert path.stat().st_ino != first.st_ino and path.read_bytes() == b"2"


def test_what_is_not_there_is_pythons_own_error(bucket: str) -> None:
    for ask in ("read_bytes", "stat", "iterdir"):
        with pytest.raises(FileNotFoundError):
            list(getattr(stored(f"{bucket}/nothing"), ask)() or ())


def test_a_bucket_that_is_not_there_is_said(s3_bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        stored("s3://nobodys-bucket/a").write_bytes(b"x")


def test_a_path_can_be_sent_to_another_process(bucket: str) -> None:
    path = stored(f"{bucket}/a", 7.0)
    path.write_bytes(b"1")
    again: StoredPath = pickle.loads(pickle.dumps(path))
    assert again == path and again.patience_s == 7.0 and again.read_bytes() == b"1"


def test_a_storage_that_refuses_is_no_damaged_file(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(f"{s3_bucket}/a")
    fs = path.fs_and_path()[0]

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fs, "cat_file", refuse)
    with pytest.raises(StorageError, match=r"/a cannot be read: Access Denied\. A bank needs s3:GetObject") as caught:
        path.read_bytes()
    assert not isinstance(caught.value, OSError)


def test_of_a_storage_that_is_full_it_is_said_what_to_do(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    path = stored(f"{s3_bucket}/a", 60.0)
    answer = {
        "Error": {
            "Code": "XMinioStorageFull",
            "Message": "Storage backend has reached its minimum free drive threshold.",
        },
        "ResponseMetadata": {"HTTPStatusCode": 507},
    }

    def refuse(*_: Any, **__: Any) -> None:
        raise translate_boto_error(ClientError(answer, "PutObject"))

    monkeypatch.setattr(path.fs_and_path()[0], "pipe_file", refuse)
    with pytest.raises(
        StorageError, match=r"/a cannot be written: .*threshold\. The storage is full.*Make room"
    ) as told:
        path.write_bytes(b"x")
    assert not told.value.is_away


def test_a_storage_that_is_away_is_waited_for(cable: Cable) -> None:
    import threading

    path = stored(f"{new_bucket()}/a", 60.0)
    path.write_bytes(b"kept")
    cable.cut()
    threading.Timer(1.0, cable.mend).start()
    assert path.read_bytes() == b"kept"


def test_a_storage_that_stays_away_is_said_in_words(cable: Cable) -> None:
    path = stored(f"{new_bucket()}/a", 0.0)
    cable.cut()
    with pytest.raises(StorageError, match=r"/a cannot be written.*: Could not connect.*Look whether the storage runs"):
        path.write_bytes(b"x")


@pytest.mark.parametrize("status", [403, 503])
def test_a_signature_is_in_no_message_and_no_log(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with scripted_server() as server:
        server.answers["GET /a.bin"] = (200, b"0123456789")
        path = stored(f"{server.url}/a.bin?X-Amz-Signature=hush", 0.3)
        with path.open("rb", 4) as stream:
            server.answers["GET /a.bin"] = (200, b"another")
            with pytest.raises(StorageError, match=r"/a\.bin\?\.\.\. was replaced") as replaced:
                stream.read(1)
        server.answers["GET /a.bin"] = (status, b"")
        with pytest.raises(StorageError, match=r"/a\.bin\?\.\.\. cannot be read") as refused:
            path.read_bytes()
    with pytest.raises(StorageError, match="can be opened to read bytes") as misused:
        path.open("wb")
    assert bool(caplog.messages) == (status == 503)
    assert "hush" not in "".join([*map(str, (replaced.value, refused.value, misused.value)), *caplog.messages])


def test_the_query_of_a_web_address_is_in_no_name() -> None:
    signed = stored("https://host/photos/photo.png?X-Amz-Credential=me/2026/s3&X-Amz-Signature=hush")
    assert (signed.name, signed.stem, signed.suffix) == ("photo.png", "photo", ".png")
    assert str(signed.parent) == "https://host/photos?X-Amz-Credential=me/2026/s3&X-Amz-Signature=hush"
    folder = stored("https://account.blob.core.windows.net/photos/?sv=1&sig=hu/sh")
    assert str(folder / "a/b.png") == "https://account.blob.core.windows.net/photos/a/b.png?sv=1&sig=hu/sh"
    assert (folder / "a/b.png").relative_to(folder).as_posix() == "a/b.png"
    assert (folder / "a.png").with_name("c.png") == folder / "c.png"
    assert stored("https://host/a/b.png").parent == stored("https://host/a")


def test_a_question_mark_in_an_object_store_is_part_of_a_name() -> None:
    why = stored("s3://bucket/folder/why?.png")
    assert (why.name, why.suffix) == ("why?.png", ".png") and why.parent / "why?.png" == why


def test_two_colons_are_part_of_a_name(s3_bucket: str) -> None:
    folder = stored(f"{s3_bucket}/run::2026")
    for name in ("one.json", "two::x.json"):
        (folder / name).write_bytes(name.encode())
    assert [(path.name, path.read_bytes()) for path in folder.glob("*")] == [
        ("one.json", b"one.json"), ("two::x.json", b"two::x.json"),
    ]  # fmt: skip
    assert [path.name for path in stored(s3_bucket).iterdir()] == ["run::2026"]


@pytest.mark.parametrize("name", ["a#1.png", "q?x.png", "a%20b.png", "a b.png", "p+1.png", "ä/b.png"])
def test_a_name_below_a_web_address_is_quoted(name: str) -> None:
    with scripted_server() as server:
        server.answers[f"GET /photos/{quote(name)}"] = (200, b"its bytes")
        path = stored(f"{server.url}/photos", 0.0) / name
        assert path.read_bytes() == b"its bytes"
    assert path.relative_to(stored(f"{server.url}/photos")).as_posix() == name
    assert path.name == name.rpartition("/")[2] and path.parent / path.name == path


def test_the_files_that_a_web_server_lists_have_their_own_names() -> None:
    with scripted_server() as server:
        server.answers["GET /photos"] = (200, b'<a href="a%20b%231.png">a</a>')
        server.answers["GET /photos/a%20b%231.png"] = (200, b"its bytes")
        folder = stored(f"{server.url}/photos", 0.0)
        (path,) = folder.glob("*.png")
        assert path == folder / "a b#1.png" and path.name == "a b#1.png" and path.read_bytes() == b"its bytes"


def test_elsewhere_a_file_is_written_beside_and_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovdiff.storage.stored_path.WHOLE_PUTS", set())
    path = stored("memory://written-beside/folder/a")
    fs, at = path.fs_and_path()
    moves = list[tuple[str, str]]()
    move = fs.mv
    monkeypatch.setattr(fs, "mv", lambda old, new: (moves.append((old, new)), move(old, new)))
    path.write_bytes(b"1")
    path.write_bytes(b"2")
    assert path.read_bytes() == b"2" and [new for _, new in moves] == [at, at]
    assert [found.name for found in path.parent.iterdir()] == ["a"]
