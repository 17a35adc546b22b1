import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ovdiff.storage import conditional, place
from ovdiff.storage import leases as leases_module
from ovdiff.storage.conditional import create, read_version, replace
from ovdiff.storage.leases import Leases, LeaseState, has_ended, this_process
from tests.storages import Cable, new_bucket


@pytest.fixture
def folder(place_for: str) -> Path:
    return place(f"{place_for}/leases", 20.0)


class Watcher:
    """A clock that a wait moves on, so that no test waits for a lease to end."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def abandoned(folder: Path, lasts_s: float = 60.0, **more: Any) -> Path:
    """Leave the lease "work" of a holder on another machine that is gone."""
    path = folder / "work.lease"
    assert create(path, LeaseState("elsewhere, process 7", "t", 3, lasts_s, **more).to_bytes()) is not None
    return path


def test_a_file_is_made_and_replaced_only_as_it_was_known(folder: Path) -> None:
    path = folder / "x.lease"
    first = create(path, b"1")
    assert first is not None and create(path, b"2") is None
    second = replace(path, b"3", first)
    assert second is not None and replace(path, b"4", first) is None
    found = read_version(path)
    assert found is not None and found == (b"3", second)
    path.unlink()
    assert replace(path, b"5", second) is None and read_version(path) is None
    assert conditional._keeps_conditions.get("/".join(str(path).split("/")[:3]), True), "a bucket keeps conditions"


def test_one_of_many_that_ask_at_once_gets_a_lease(folder: Path) -> None:
    abandoned(folder, 0.1)
    version = read_version(folder / "work.lease")
    assert version is not None
    won = list[str | None]()
    start = threading.Barrier(6)

    def take(number: int) -> None:
        start.wait()
        won.append(replace(folder / "work.lease", f"{number}".encode(), version.name))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if "memory:" not in str(folder):  # Without a conditional put two may win: it is said so, and costs work alone.
        assert sum(version is not None for version in won) == 1


def test_a_lease_is_one_holders_and_then_the_next_ones(folder: Path) -> None:
    waits = list[object]()
    with Leases(folder, holder="ann").held("work") as lease:
        assert lease is not None and Leases(folder).holder("work") == "ann"
        done = iter([False, False, True])
        with Leases(folder, sleep=waits.append).held("work", done=lambda: next(done), waiting=waits.append) as second:
            assert second is None
    assert waits == ["ann", 2.0, "ann", 2.0]
    assert Leases(folder).holder("work") is None
    with Leases(folder).held("work") as lease:
        assert lease is not None


def test_a_lease_is_taken_without_waiting_or_not_at_all(folder: Path) -> None:
    def wait(_seconds: float) -> None:
        raise AssertionError("somebody waits")

    leases = Leases(folder, sleep=wait)
    with Leases(folder, holder="ann").held("work"):
        assert leases.take_if_free("work") is None and leases.holder("work") == "ann"
    lease = leases.take_if_free("work")
    assert lease is not None and leases.take_if_free("work") is None
    lease.release()
    assert leases.holder("work") is None


def test_a_lease_that_stays_the_same_for_its_whole_time_is_taken_over(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    abandoned(folder)
    watcher = Watcher()
    with (
        caplog.at_level(logging.WARNING),
        Leases(folder, clock_s=watcher.clock, sleep=watcher.sleep).held("work") as lease,
    ):
        assert lease is not None and 60 <= watcher.now_s < 64
    assert "of elsewhere, process 7 has ended: it is taken over." in caplog.text
    assert Leases(folder).holder("work") is None


def test_a_lease_that_is_written_anew_is_not_taken_over(folder: Path) -> None:
    path, watcher = abandoned(folder, 20.0), Watcher()
    counts = iter(range(4, 100))

    def sleep(seconds: float) -> None:
        watcher.sleep(seconds)
        if watcher.now_s % 10 == 0 and watcher.now_s < 60:
            found = read_version(path)
            assert found is not None
            assert replace(path, LeaseState("elsewhere", "t", next(counts), 20.0).to_bytes(), found.name)

    with Leases(folder, clock_s=watcher.clock, sleep=sleep).held("work") as lease:
        assert lease is not None and watcher.now_s >= 50 + 20


def test_time_in_which_nobody_could_look_ends_no_lease(tmp_path: Path) -> None:
    abandoned(tmp_path)
    watcher, looks = Watcher(), list[float]()

    def sleep(seconds: float) -> None:
        looks.append(watcher.now_s)
        watcher.sleep(1000.0 if len(looks) == 3 else seconds)  # as a call that waited for its storage

    with Leases(tmp_path, clock_s=watcher.clock, sleep=sleep).held("work"):
        assert len(looks) > 25


def test_a_lease_is_kept_by_a_thread_while_work_goes_on(folder: Path) -> None:
    with Leases(folder, lasts_s=0.9).held("work") as lease:
        assert lease is not None
        before = read_version(folder / "work.lease")
        deadline = time.monotonic() + 30
        while (now := read_version(folder / "work.lease")) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert now is not None and json.loads(now.data)["count"] >= 1 and not lease.lost


def test_a_holder_learns_that_its_lease_was_taken_and_leaves_the_next_one_alone(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Leases(folder, lasts_s=0.6).held("work") as lease:
        assert lease is not None
        path, taken = folder / "work.lease", None
        while taken is None:  # The holder may write it in this moment.
            found = read_version(path)
            assert found is not None
            taken = replace(path, LeaseState("bob", "b", 0, 60.0).to_bytes(), found.name)
        deadline = time.monotonic() + 30
        while not lease.lost:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert Leases(folder).holder("work") == "bob"
    assert "was taken over, for it was not written for" in caplog.text


def test_after_ctrl_c_a_storage_that_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, answered = threading.Event(), list[bool]()
    monkeypatch.setattr("ovdiff.storage.leases.delete", lambda *_: answered.append(silent.wait(20)))
    with pytest.raises(KeyboardInterrupt), Leases(tmp_path).held("work"):
        raise KeyboardInterrupt
    assert answered == []
    silent.set()
    with pytest.raises(KeyError), Leases(tmp_path).held("other"):
        raise KeyError
    assert len(answered) == 2


def test_a_holder_that_was_killed_on_this_machine_is_seen_at_once(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom ovdiff.storage.leases import Leases\n"
        f"with Leases(Path({str(tmp_path)!r})).held('work'):\n os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    killed.wait()
    slept = list[float]()
    with Leases(tmp_path, sleep=slept.append).held("work") as lease:
        assert lease is not None and slept == []


def test_a_process_that_runs_or_is_of_another_machine_has_not_surely_ended() -> None:
    own = this_process()
    machine, number, start = own.split(" ")
    assert not has_ended(own) and not has_ended("") and not has_ended(f"other/1 {number} {start}")
    assert has_ended(f"{machine} {number} {int(start) - 1}"), "the number is used again by another process"


def test_a_lease_file_that_nobody_can_read_ends_too(tmp_path: Path) -> None:
    (tmp_path / "work.lease").write_bytes(b"")
    watcher, holders = Watcher(), list[str]()
    leases = Leases(tmp_path, clock_s=watcher.clock, sleep=watcher.sleep)
    with leases.held("work", waiting=holders.append) as lease:
        assert lease is not None and set(holders) == {"somebody unknown"} and watcher.now_s >= 60


def test_a_lease_that_was_written_long_ago_is_looked_at_before_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for taken in (False, True):
        with Leases(tmp_path).held("work") as lease:
            assert lease is not None
            monkeypatch.setattr(lease, "_written_s", time.monotonic() - 45)
            found = read_version(tmp_path / "work.lease")
            assert found is not None
            if taken:
                assert replace(tmp_path / "work.lease", LeaseState("bob", "b", 0, 60.0).to_bytes(), found.name)
        assert Leases(tmp_path).holder("work") == ("bob" if taken else None)


def test_a_lease_outlives_a_storage_that_is_away(cable: Cable, caplog: pytest.LogCaptureFixture) -> None:
    folder = place(new_bucket(), 30.0)
    with caplog.at_level(logging.WARNING), Leases(folder, lasts_s=2.0).held("work") as lease:
        assert lease is not None
        cable.cut()
        while "The lease cannot be written and is tried again" not in caplog.text:
            time.sleep(0.05)
        cable.mend()
        before = read_version(folder / "work.lease")
        while read_version(folder / "work.lease") == before:
            time.sleep(0.05)
        assert not lease.lost
    assert Leases(folder).holder("work") is None


def test_the_work_of_a_holder_that_ended_is_looked_at_before_it_is_done_again(folder: Path) -> None:
    abandoned(folder)
    watcher, answers = Watcher(), list[bool]()

    def done() -> bool:
        answers.append(watcher.now_s >= 60)  # the holder had finished, and was killed before it gave the lease back
        return answers[-1] and not read_version(folder / "work.lease").data.startswith(b'{"holder": "elsewhere')  # type: ignore[union-attr]

    with Leases(folder, clock_s=watcher.clock, sleep=watcher.sleep).held("work", done=done) as lease:
        assert lease is None
    assert Leases(folder).holder("work") is None


def test_an_answer_that_was_lost_is_no_lost_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage has written the file, and the answer did not arrive: the next question is refused."""

    def deaf(asked: Any) -> Any:
        def ask(*arguments: Any) -> None:
            asked(*arguments)

        return ask

    folder = place(f"memory://{tmp_path.name}-deaf")
    monkeypatch.setattr(leases_module, "create", deaf(create))
    with Leases(folder, lasts_s=0.6).held("work") as lease:
        assert lease is not None, "the token in the file is its own"
        monkeypatch.setattr(leases_module, "replace", deaf(replace))
        before = read_version(folder / "work.lease")
        deadline = time.monotonic() + 30
        while read_version(folder / "work.lease") == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lease.require()
        assert not lease.lost


def test_a_lease_that_was_taken_a_moment_ago_is_left_to_its_new_holder(folder: Path) -> None:
    with Leases(folder).held("work"):
        found = read_version(folder / "work.lease")
        assert found is not None and replace(
            folder / "work.lease", LeaseState("bob", "b", 0, 60.0).to_bytes(), found.name
        )
    assert Leases(folder).holder("work") == "bob"


def test_a_holder_that_proc_hides_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    own = this_process()
    machine, _, start = own.split(" ")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for error in (PermissionError(), FileNotFoundError()):  # hidepid=1, and 2

        def hidden(*_arguments: int, error: OSError = error) -> list[str]:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(leases_module, "_fields_of", hidden)
            assert not has_ended(own)
            assert has_ended(f"{machine} {ended.pid} {start}")
            patched.setattr(os, "kill", hidden)  # it may run, and is another user's
            assert has_ended(f"{machine} {ended.pid} {start}") is isinstance(error, FileNotFoundError)


def test_giving_a_lease_back_waits_for_no_storage(cable: Cable) -> None:
    folder = place(new_bucket(), 60.0)
    with Leases(folder).held("work"):
        cable.cut()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 30
    cable.mend()
