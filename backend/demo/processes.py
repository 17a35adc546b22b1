"""Child processes that cannot outlive the demo.

Each child leads a process group of its own. So one signal ends a whole server with all the processes that it started,
and a Ctrl-C in the terminal reaches only the demo, which then stops its children in order. A signal that arrives while
a child is being started or stopped is held back until that is done; otherwise a process could be left behind.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import requests

from backend.demo.errors import ServerError, log_tail

LOOPBACK = "127.0.0.1"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 10.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Child:
    """A running child: its name in messages, its process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    def ensure_running(self) -> None:
        """Raise ServerError with the end of the log if the child has exited."""
        code = self.process.poll()
        if code is not None:
            raise ServerError(f"{self.name} exited with status {code}.\n{log_tail(self.log_path)}")

    def group_exists(self) -> bool:
        """Return whether any process of the child's group is still running."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """End the whole group: with SIGTERM, and after 10 s with SIGKILL."""
        _signal_group(self.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while (self.process.poll() is None or self.group_exists()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class ProcessGroups:
    """Children. When the ``with`` block ends, for whatever reason, they are stopped, the last started first."""

    children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all children."""
        self.stop_all()

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str], log_path: Path) -> Child:
        """Start a child with exactly this environment; its output goes to ``log_path``.

        Raises:
            ServerError: the command cannot be run.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with deferred_signals(), log_path.open("wb") as log:
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ServerError(f"{name} cannot be started: {command[0]}: {error.strerror}.") from error
            child = Child(name, process, log_path)
            self.children.append(child)
        return child

    def stop_all(self) -> None:
        """Stop the children in the reverse order of their starts, and forget them."""
        with deferred_signals():
            while self.children:
                self.children.pop().stop()

    def stop(self, child: Child) -> None:
        """Stop one child and forget it."""
        with deferred_signals():
            child.stop()
            self.children.remove(child)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back stop signals while the block runs, and deliver the first of them afterwards.

    Only the main thread handles signals in Python; elsewhere there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pending.append(number)

    previous = {number: signal.signal(number, remember) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if pending:
        signal.raise_signal(pending[0])


@contextmanager
def exit_on_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit (128 + number) inside the block, so that clean-up code runs.

    SIGINT raises KeyboardInterrupt as usual, also where a script started the demo in the background and SIGINT is
    ignored: there a Ctrl-C would end the script and leave the demo running. SIGHUP stays ignored if it is ignored
    already, because a person who uses nohup wants the demo to outlive the terminal.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGTERM: leave}
    handlers[signal.SIGINT] = signal.default_int_handler
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handlers[signal.SIGHUP] = leave
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def free_port(preferred: int) -> int:
    """Return ``preferred`` if that port is free on loopback, else a free port that the system chooses."""
    return preferred if _is_free(preferred) else _any_free_port()


def is_listening(port: int) -> bool:
    """Return whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _is_free(port: int) -> bool:
    # A bind alone is not enough: with SO_REUSEADDR a server on 0.0.0.0 lets others bind 127.0.0.1.
    if is_listening(port):
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_up(url: str) -> bool:
    """Return whether the server at ``url`` is healthy by its ``/health``, which both servers of the demo have."""
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def wait_until_ready(
    child: Child, is_ready: Callable[[], bool], timeout_s: float, on_wait: Callable[[float], None]
) -> None:
    """Poll a child twice a second until it is ready; ``on_wait`` gets the seconds waited so far.

    Raises:
        ServerError: the child exited, or it is not ready in time; the message ends with the end of its log.
    """
    start = time.monotonic()
    while not is_ready():
        child.ensure_running()
        waited_s = time.monotonic() - start
        if waited_s > timeout_s:
            raise ServerError(f"{child.name} is not ready after {timeout_s:.0f} s.\n{log_tail(child.log_path)}")
        on_wait(waited_s)
        time.sleep(0.5)
