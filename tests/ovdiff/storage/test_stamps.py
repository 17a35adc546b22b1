import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from ovdiff.bank import Bank
from ovdiff.errors import StorageError
from ovdiff.storage import place
from ovdiff.storage.files import write_whole
from ovdiff.storage.stamps import FRESH_S, Stamps, stamps_of
from tests.storages import Cable, new_bucket


def test_a_file_of_this_machine_is_looked_at_each_time(tmp_path: Path) -> None:
    stamps, path = Stamps(tmp_path), tmp_path / "a"
    assert stamps.of(path) is None
    write_whole(path, b"1")
    first = stamps.of(path)
    write_whole(path, b"2")
    assert first is not None and stamps.of(path) != first


def test_a_folder_in_a_storage_is_listed_once_in_a_while(s3_bucket: str) -> None:
    now_s = 0.0
    folder: Any = place(s3_bucket)
    stamps = Stamps(folder, clock_s=lambda: now_s)
    for name in ("a", "b"):
        write_whole(folder / name, b"1")
    fs, asked = folder.fs_and_path()[0], list[str]()
    call = fs._call_s3

    async def counted(method: str, *arguments: Any, **more: Any) -> Any:
        asked.append(method)
        return await call(method, *arguments, **more)

    fs._call_s3 = counted
    try:
        first = stamps.of(folder / "a")
        assert first is not None and stamps.of(folder / "b") and stamps.of(folder / "c") is None and len(asked) == 1
        write_whole(folder / "a", b"2")
        assert stamps.of(folder / "a") == first
        now_s = FRESH_S
        assert stamps.of(folder / "a") != first
        write_whole(folder / "a", b"3")
        second = stamps.of(folder / "a")
        stamps.changed()
        assert stamps.of(folder / "a") != second
    finally:
        del fs._call_s3


def test_the_last_list_holds_while_a_storage_is_away(cable: Cable, caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    folder: Any = place(new_bucket(), 0.0)
    stamps = Stamps(folder, clock_s=lambda: now_s)
    write_whole(folder / "a", b"1")
    first = stamps.of(folder / "a")
    cable.cut()
    now_s = FRESH_S
    with caplog.at_level(logging.WARNING):
        assert stamps.of(folder / "a") == first is not None
    assert "What was last seen is used for 15 s more: " in caplog.text
    stamps.changed()  # as who waits for another builder looks anew
    assert stamps.of(folder / "a") == first and stamps.names() == ["a"]
    stamps.changed("a")
    with pytest.raises(StorageError):  # This process has changed the file: what was seen before is of no use.
        stamps.of(folder / "a")
    assert stamps.of(folder / "b") is None
    cable.mend()
    write_whole(folder / "a", b"2")
    stamps.changed()
    assert stamps.of(folder / "a") not in (first, None)


def held_back(folder: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have a storage list its folders only after an event, longer than an answer is waited for; return the event."""
    kind: Any = type(folder.fs_and_path()[0])
    list_folder, may_answer = kind.ls, threading.Event()
    monkeypatch.setattr("ovdiff.storage.stamps.ANSWER_S", 0.05)
    monkeypatch.setattr(kind, "ls", lambda *a, **k: may_answer.wait(60) and list_folder(*a, **k))
    return may_answer


def test_a_storage_that_is_silent_is_not_waited_for_where_a_list_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    folder: Any = place("memory://silent/bank")
    stamps = Stamps(folder, clock_s=lambda: now_s)
    write_whole(folder / "a", b"1")
    assert stamps.of(folder / "b") is None
    may_answer = held_back(folder, monkeypatch)
    write_whole(folder / "b", b"1")
    now_s = FRESH_S
    assert stamps.of(folder / "b") is None, "the last list holds"
    may_answer.set()
    monkeypatch.setattr("ovdiff.storage.stamps.ANSWER_S", 10.0)
    now_s += FRESH_S
    assert stamps.of(folder / "b") is not None, "the answer is taken when it comes"


def test_an_answer_that_nobody_looked_at_for_long_does_not_count_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, given = 0.0, threading.Event()
    folder: Any = place("memory://quiet/bank")
    stamps = Stamps(folder, clock_s=lambda: now_s)
    write_whole(folder / "a", b"1")
    assert stamps.names() == ["a"]
    kind: Any = type(folder.fs_and_path()[0])
    list_folder, may_answer = kind.ls, threading.Event()

    def late(*asked: Any, **more: Any) -> Any:
        found = list_folder(*asked, **more)
        may_answer.wait(60)
        return found

    with monkeypatch.context() as slow:
        slow.setattr("ovdiff.storage.stamps.ANSWER_S", 0.05)
        slow.setattr(kind, "ls", late)
        now_s = FRESH_S
        assert stamps.names() == ["a"]
        asking = stamps._asking
        assert asking is not None
        asking.add_done_callback(lambda _: given.set())
        may_answer.set()
        assert given.wait(60)
    write_whole(folder / "b", b"1")  # by another machine
    now_s = 36_000.0
    assert stamps.names() == ["a", "b"]


def test_a_storage_that_is_always_slow_is_seen_with_its_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    folder: Any = place("memory://slow/bank")
    stamps = Stamps(folder, clock_s=lambda: now_s)
    write_whole(folder / "a", b"1")
    assert stamps.names() == ["a"]
    may_answer = held_back(folder, monkeypatch)
    write_whole(folder / "b", b"1")
    now_s = FRESH_S
    assert stamps.names() == ["a"]
    may_answer.set()
    assert stamps._asking is not None
    stamps._asking.result(60)
    may_answer.clear()
    now_s += 100 * FRESH_S
    assert stamps.names() == ["a", "b"], "the answer to the first question; that to the second is not there yet"
    may_answer.set()


def test_a_process_has_one_list_of_a_folder_in_a_storage(tmp_path: Path) -> None:
    assert stamps_of(place("s3://bucket/bank")) is stamps_of(place("s3://bucket/bank"))
    assert stamps_of(tmp_path) is not stamps_of(tmp_path)


def test_a_bank_can_be_sent_to_another_process(tmp_path: Path) -> None:
    for folder in (tmp_path, place(f"memory://{tmp_path.name}/bank")):
        sent = pickle.loads(pickle.dumps(Bank(folder)))
        assert sent.folder == folder and sent.keys() == ()
    stamps = stamps_of(folder)
    assert pickle.loads(pickle.dumps(stamps)) is stamps, "one folder of a storage has one list in a process"
