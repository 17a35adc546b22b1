"""The head of a cluster, for which a listening socket stands."""

import socket
from collections.abc import Callable

import pytest

from ovdiff.distributed.head import Head, Seen, answers

WITHIN_S = 5.0


class Listening:
    """Takes connections on loopback, at the same port again after it ended."""

    def __init__(self) -> None:
        self.socket = self._opened(0)
        self.port = self.socket.getsockname()[1]
        self.taken: list[socket.socket] = []

    @staticmethod
    def _opened(port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()
        return made

    def take(self, greeting: bytes = b"") -> None:
        self.taken.append(self.socket.accept()[0])
        self.taken[-1].sendall(greeting)

    def end(self) -> None:
        for each in (self.socket, *self.taken):
            each.close()
        self.taken = []

    def start_again(self) -> None:
        self.socket = self._opened(self.port)


@pytest.fixture
def listening() -> Listening:
    return Listening()


def test_a_head_is_here_as_long_as_it_takes_connections_and_keeps_them(listening: Listening) -> None:
    head = Head(f"127.0.0.1:{listening.port}")
    for _ in range(3):
        assert head.look(WITHIN_S) is Seen.HERE
        listening.take(greeting=b"frame")
    assert answers(f"127.0.0.1:{listening.port}", WITHIN_S)
    head.forget()
    listening.end()
    assert head.look(WITHIN_S) is Seen.SILENT
    assert not answers(f"127.0.0.1:{listening.port}", WITHIN_S)


@pytest.mark.parametrize("again", [Listening.end, lambda listening: (listening.end(), listening.start_again())])
def test_a_head_that_ended_is_seen_even_if_another_one_answers_already(
    listening: Listening, again: Callable[[Listening], None]
) -> None:
    head = Head(f"127.0.0.1:{listening.port}")
    assert head.look(WITHIN_S) is Seen.HERE
    listening.take()
    again(listening)
    assert head.look(WITHIN_S) is Seen.ENDED
    head.forget()
    listening.end()


@pytest.mark.parametrize(("looked_s_ago", "seen"), [(59.0, Seen.ENDED), (61.0, Seen.UNKNOWN)])
def test_a_head_that_closes_what_nobody_used_for_long_may_still_be_the_same(
    listening: Listening, looked_s_ago: float, seen: Seen
) -> None:
    """Ray's closes a connection without a word after 120 s; the next look took a healthy head for one that ended."""
    now_s = [0.0]
    head = Head(f"127.0.0.1:{listening.port}", clock_s=lambda: now_s[0])
    assert head.look(WITHIN_S) is Seen.HERE
    listening.take()
    listening.taken.pop().close()
    now_s[0] += looked_s_ago
    assert head.look(WITHIN_S) is seen
    assert head.look(WITHIN_S) is Seen.HERE
    head.forget()
    listening.end()
