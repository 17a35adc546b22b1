"""Every thread here is a daemon and every wait has a limit: a broken lock fails these tests, it does not hang them."""

import threading
import time
from collections.abc import Callable

import pytest

from ovdiff.models.fair_lock import FairLock
from tests.fakes.waiting import eventually

WAIT_S = 30.0

pytestmark = pytest.mark.timeout(4 * WAIT_S)


def _started(*targets: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def _all_end(threads: list[threading.Thread]) -> bool:
    """Return whether the threads end, all of them within one WAIT_S."""
    deadline_s = time.monotonic() + WAIT_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def test_a_thread_that_waits_gets_its_turn_before_one_that_asks_again() -> None:
    lock, turns = FairLock(), list[str]()

    def build() -> None:
        for _ in range(50):
            with lock:
                turns.append("build")
                assert eventually(lambda: bool(lock._waiting)), "the prediction asks"

    def predict() -> None:
        for _ in range(50):
            assert eventually(lambda: lock._owner is not None), "the build has the lock"
            with lock:
                turns.append("predict")

    assert _all_end(_started(build, predict)), f"only {len(turns)} of 100 turns were taken"
    assert turns == ["build", "predict"] * 50


def test_it_is_re_entrant_and_lets_go_only_at_the_outermost_exit() -> None:
    lock, inner_left, leave, got_it = FairLock(), threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            with lock:
                pass
            inner_left.set()
            leave.wait(WAIT_S)

    def take() -> None:
        with lock:
            got_it.set()

    holders = _started(hold)
    try:
        assert inner_left.wait(WAIT_S)
        takers = _started(take)
        assert not got_it.wait(0.05)
    finally:
        leave.set()
    assert got_it.wait(WAIT_S)
    assert _all_end(holders + takers)


def test_never_two_at_once_and_everyone_in_turn() -> None:
    lock, inside, most, done = FairLock(), 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1
        done.append(threading.get_ident())

    threads = _started(*[work] * 8)
    assert _all_end(threads), f"{len(done)} of 8 threads got all their turns"
    assert most == 1
    assert sorted(done) == sorted(thread.ident or 0 for thread in threads)


def test_an_interrupted_wait_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, holds, let_go, taken = FairLock(), threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holds.set()
            let_go.wait(WAIT_S)

    def take() -> None:
        with lock:
            taken.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    threads = _started(hold)
    try:
        assert holds.wait(WAIT_S)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(lock._changed, "wait_for", interrupt)
            lock.__enter__()
        threads += _started(take)
        assert not taken.wait(0.05)
    finally:
        let_go.set()
    assert taken.wait(WAIT_S)
    assert _all_end(threads)


def test_an_error_inside_gives_the_lock_up() -> None:
    lock, taken = FairLock(), threading.Event()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")

    def take() -> None:
        with lock:
            taken.set()

    threads = _started(take)
    assert taken.wait(WAIT_S)
    assert _all_end(threads)
