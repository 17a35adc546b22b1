import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from ovdiff.curation.curation import UNCURATED, Curation
from ovdiff.curation.store import CurationStore
from ovdiff.errors import BankError

KEY = "ab" * 32


def _reject(folder: Path, first: int) -> None:
    store = CurationStore(folder)
    for number in range(first, first + 20):
        store.change(KEY, lambda now, number=number: now.rejecting([number], "why", ""))  # type: ignore[misc]


def _reject_for_ever(folder: Path) -> None:
    store = CurationStore(folder)
    while True:
        store.change(KEY, lambda now: now.rejecting(range(400), f"because {time.monotonic_ns()}", ""))


def test_what_is_changed_is_read_by_another_process_and_undone_without_a_trace(tmp_path: Path) -> None:
    running, command = CurationStore(tmp_path), CurationStore(tmp_path)
    assert running.of(KEY) == UNCURATED and not list(tmp_path.iterdir())
    command.change(KEY, lambda now: now.rejecting([3], "blurred", ""))
    assert running.of(KEY).rejected_numbers() == {3} and set(running.all()) == {KEY}
    command.change(KEY, lambda now: now.rejecting([4], "dark", ""))
    assert running.of(KEY).rejected_numbers() == {3, 4}
    command.change(KEY, lambda now: now.restoring([3, 4]))
    assert running.of(KEY) == UNCURATED and not list(running.folder.iterdir())


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CurationStore(tmp_path)
    store.change(KEY, lambda now: now.rejecting([3], "", ""))
    store.of(KEY)
    monkeypatch.setattr("ovdiff.curation.store._read", None)  # reading again would fail
    assert store.of(KEY).rejected_numbers() == {3}


def test_a_change_that_fails_leaves_the_file(tmp_path: Path) -> None:
    store = CurationStore(tmp_path)
    store.change(KEY, lambda now: now.rejecting([3], "", ""))

    def refuse(_: Curation) -> Curation:
        raise BankError("no")

    with pytest.raises(BankError, match="no"):
        store.change(KEY, refuse)
    assert store.of(KEY).rejected_numbers() == {3}


def test_two_processes_lose_no_change_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_reject, args=(tmp_path, first)) for first in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert CurationStore(tmp_path).of(KEY).rejected_numbers() == {*range(20), *range(100, 120)}


def test_a_killed_process_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    store = CurationStore(tmp_path)
    for _ in range(3):
        worker = multiprocessing.get_context("fork").Process(target=_reject_for_ever, args=(tmp_path,))
        worker.start()
        before = store.of(KEY)
        while store.of(KEY) is before:  # it has begun to write
            time.sleep(0.001)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join(60)
        assert CurationStore(tmp_path).of(KEY).rejected_numbers() == set(range(400))
    assert store.change(KEY, lambda now: now.restoring(range(400))).identity() == {}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    store = CurationStore(tmp_path)
    store.folder.mkdir()
    path = store.folder / f"{KEY}.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BankError, match=rf"{path} cannot be read.*Correct it, or delete it to undo it"):
        store.of(KEY)
    path.write_text("[[rejected]]\nnumber = 'three'\n")
    with pytest.raises(BankError, match=rf"{path}.*number is 'three'; expected an integer.*Correct the file"):
        store.of(KEY)
    path.write_text("[[rejected]]\nnumber = 3\n")
    assert store.of(KEY).rejected_numbers() == {3}
