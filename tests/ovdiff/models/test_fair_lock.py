import threading
import time

import pytest

from ovdiff.models.fair_lock import FairLock

WAIT_S = 10.0


def test_a_thread_that_waits_gets_its_turn_before_one_that_asks_again() -> None:
    lock, batches, running, stop = FairLock(), 0, threading.Event(), threading.Event()

    def build() -> None:
        nonlocal batches
        while not stop.is_set():
            with lock:
                running.set()
                end = time.perf_counter() + 0.003
                while time.perf_counter() < end:  # busy, as Python code is
                    pass
                batches += 1

    builder = threading.Thread(target=build)
    builder.start()
    assert running.wait(WAIT_S)
    waited = []
    for _ in range(100):
        time.sleep(0.004)
        asked = batches
        with lock:
            waited.append(batches - asked)
    stop.set()
    builder.join(WAIT_S)
    assert max(waited) <= 2  # one in the works, and one that may begin before this thread gets to ask


def test_it_is_re_entrant_and_lets_go_only_at_the_outermost_exit() -> None:
    lock, got_it = FairLock(), threading.Event()

    def take() -> None:
        with lock:
            got_it.set()

    other = threading.Thread(target=take)
    with lock:
        with lock:
            other.start()
        assert not got_it.wait(0.05)
    assert got_it.wait(WAIT_S)
    other.join(WAIT_S)


def test_never_two_at_once_and_everyone_in_turn() -> None:
    lock, inside, most, done = FairLock(), 0, 0, []

    def work(number: int) -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert most == 1 and sorted(done) == list(range(8))


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

    holder, next_one = threading.Thread(target=hold), threading.Thread(target=take)
    holder.start()
    assert holds.wait(WAIT_S)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(lock._changed, "wait_for", interrupt)
        lock.__enter__()
    next_one.start()
    assert not taken.wait(0.05)
    let_go.set()
    assert taken.wait(WAIT_S)
    for thread in (holder, next_one):
        thread.join(WAIT_S)


def test_an_error_inside_gives_the_lock_up() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    taken = threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    threading.Thread(target=take).start()
    assert taken.wait(WAIT_S)
