"""A deadline over a whole exchange with a server, however the server spreads its bytes over time.

A time limit for each read is not enough: a server that sends one byte a second never exceeds it. So a connected socket
is wrapped, and before each read or write its own time limit is set to what is left until the deadline.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Deadline:
    """The moment `at_s` on the clock `clock_s`, after which nothing is waited for. Threads may share it."""

    at_s: float
    clock_s: Callable[[], float] = time.monotonic

    @classmethod
    def within(cls, seconds: float, clock_s: Callable[[], float] = time.monotonic) -> Deadline:
        """Return the deadline that lies so many seconds ahead."""
        return cls(clock_s() + seconds, clock_s)

    def left_s(self) -> float:
        """Return the seconds that are left, always more than 0.

        Raises:
            TimeoutError: none are left.
        """
        left_s = self.at_s - self.clock_s()
        if left_s <= 0:
            raise TimeoutError("no time was left")
        return left_s

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.clock_s() >= self.at_s

    def or_within(self, seconds: float) -> Deadline:
        """Return this deadline, or the one that lies so many seconds ahead if that is sooner."""
        return Deadline(min(self.at_s, self.clock_s() + seconds), self.clock_s)


class TimedSocket:
    """What `http.client` uses of a socket; nothing in it waits beyond the deadline.

    Its `close` leaves the connected socket open, because `http.client` calls it while the body is still to be read. The
    socket is closed by whoever opened it.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        """Wrap a connected socket."""
        self._connected = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all bytes.

        Raises:
            TimeoutError: the deadline has passed.
        """
        self._connected.settimeout(self._deadline.left_s())
        self._connected.sendall(data)  # its time limit is for all of the bytes

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the socket as a file to read from; `mode` is always "rb"."""
        return io.BufferedReader(_TimedReader(self._connected, self._deadline))

    def close(self) -> None:
        """Leave the connected socket to whoever opened it."""


class _TimedReader(io.RawIOBase):
    """The bytes that arrive on a socket before the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(self._deadline.left_s())
        return self._connected.recv_into(buffer)
