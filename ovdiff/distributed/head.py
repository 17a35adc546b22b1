"""Whether the head of a cluster is still the one that was found at first.

Each look opens a TCP connection, which is kept until the next look. A head that ended has closed it by then, though
another one may answer at the same address already: that one knows nothing of this process and of its workers, and
whoever asks it for results would wait for ever.
"""

import contextlib
import enum
import socket


class Seen(enum.Enum):
    """What a look found."""

    HERE = enum.auto()
    SILENT = enum.auto()
    ENDED = enum.auto()


class Head:
    """The head that takes connections at an address."""

    def __init__(self, address: str) -> None:
        """Note HOST:PORT; the first look is the first connection."""
        self._address = address
        self._kept: socket.socket | None = None

    def look(self, within_s: float) -> Seen:
        """Say whether the head takes connections, and has not ended since the last look; waits so long at most."""
        if self._kept is not None and _is_closed_there(self._kept):
            self.forget()
            return Seen.ENDED
        opened = _opened(self._address, within_s)
        if opened is None:  # the kept connection stays: it may yet tell that the head ended
            return Seen.SILENT
        self.forget()
        opened.setblocking(False)
        self._kept = opened
        return Seen.HERE

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
