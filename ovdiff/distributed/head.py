"""Whether the head of a cluster is still the one that was found at first.

Each look opens a TCP connection, which is kept until the next look. A head that ended has closed it by then, though
another one may answer at the same address already: that one knows nothing of this process and of its workers, and
whoever asks it for results would wait for ever.

Nothing is sent over the connection, so a head closes it by itself after a while. If nobody looked for so long, a closed
connection does not tell whether the head ended.
"""

import contextlib
import enum
import socket
import time
from collections.abc import Callable

_KEPT_S = 60.0
"""So long a head surely keeps a connection; that of Ray 2.60 closed one without a word after 120 s."""


class Seen(enum.Enum):
    """What a look found."""

    HERE = enum.auto()
    SILENT = enum.auto()
    ENDED = enum.auto()
    UNKNOWN = enum.auto()
    """A head takes connections, but the last look is so long ago that it may be another head."""


class Head:
    """The head that takes connections at an address."""

    def __init__(self, address: str, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Note HOST:PORT; the first look is the first connection. ``clock_s`` gives the present moment in seconds."""
        self._address, self._clock_s = address, clock_s
        self._kept: socket.socket | None = None
        self._kept_from_s = 0.0

    def look(self, within_s: float) -> Seen:
        """Say whether the head takes connections, and has not ended since the last look; waits so long at most."""
        is_closed = self._kept is not None and _is_closed_there(self._kept)
        if is_closed and self._clock_s() - self._kept_from_s < _KEPT_S:
            self.forget()
            return Seen.ENDED
        opened = _opened(self._address, within_s)
        if opened is None:  # the kept connection stays: it may yet tell that the head ended
            return Seen.SILENT
        self.forget()
        opened.setblocking(False)
        self._kept, self._kept_from_s = opened, self._clock_s()
        return Seen.UNKNOWN if is_closed else Seen.HERE

    def forget(self) -> None:
        """Close the connection that is kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def answers(address: str, within_s: float) -> bool:
    """Say whether anything takes connections at HOST:PORT."""
    opened = _opened(address, within_s)
    if opened is not None:
        opened.close()
    return opened is not None


def _opened(address: str, within_s: float) -> socket.socket | None:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        return socket.create_connection((host.strip("[]"), int(port)), within_s)
    return None


def _is_closed_there(kept: socket.socket) -> bool:
    """Say whether the other end closed a connection; what it sent before is thrown away."""
    try:
        while kept.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:  # it was reset
        return True
    return True
