import socket
import threading
import time

import pytest

from backend.sources.deadline import Deadline, TimedSocket
from tests.fakes.waiting import SLACK_S


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_deadline_counts_down() -> None:
    clock = Clock()
    deadline = Deadline.within(2.0, clock)
    clock.now_s = 101.5
    assert (deadline.left_s(), deadline.has_passed) == (0.5, False)
    clock.now_s = 102.0
    assert deadline.has_passed
    with pytest.raises(TimeoutError, match="no time was left"):
        deadline.left_s()


def test_the_sooner_of_two_deadlines_counts() -> None:
    clock = Clock()
    deadline = Deadline.within(2.0, clock)
    assert deadline.or_within(1.0).at_s == 101.0
    assert deadline.or_within(9.0).at_s == 102.0


def test_what_arrives_drop_by_drop_is_read_until_the_deadline() -> None:
    mine, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.02):
            theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    with mine, theirs:
        dripping.start()
        started_s = time.monotonic()
        file = TimedSocket(mine, Deadline.within(0.2)).makefile("rb")
        with pytest.raises(TimeoutError):
            file.readline()  # each read of the socket is short, the line never ends
        took_s = time.monotonic() - started_s
        over.set()
        dripping.join()
    assert 0.15 < took_s < SLACK_S


def test_sending_ends_at_the_deadline() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(TimeoutError):
        TimedSocket(mine, Deadline.within(0.1)).sendall(bytes(2**24))  # nobody reads it


def test_after_the_deadline_nothing_is_sent() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        with pytest.raises(TimeoutError):
            TimedSocket(mine, Deadline(0.0)).sendall(b"x")
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_closing_it_leaves_the_connection_open() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        TimedSocket(mine, Deadline.within(1.0)).close()
        mine.send(b"x")
        assert theirs.recv(1) == b"x"
