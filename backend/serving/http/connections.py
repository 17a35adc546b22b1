"""The connections of the HTTP server: waitress, with limits that hold against slow and greedy clients.

Waitress reads and writes all sockets in one thread, so a slow client costs a socket and no worker. But its own limits
are few: 100 connections, and 120 seconds since the last byte, which one byte a minute renews for ever. Here each phase
of a connection has a limit that is counted from the beginning of the phase:

    request line and headers    `header_timeout_s`, for the first request from the moment of connecting
    the body of the request     `transfer_grace_s`, and then `transfer_bytes_per_s` on average
    the answer, to the client   the same
    waiting for a next request  `idle_timeout_s`

While all places are taken, a new connection takes the place of one that asks for nothing yet: the oldest without
complete headers, otherwise the oldest idle one, otherwise the oldest that is in the middle of a body or of an answer.
A request that is being worked on is never dropped for another one.

Of a body only as much is kept as `request_parser` says. `/health` is answered by a thread of its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import resource
import select
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from backend.serving.http.request_parser import KeptBytes, RequestParser
from backend.settings import ServerSettings

logger = logging.getLogger(__name__)

HEADER_BYTES = 16 * 1024  # Label Studio sends 300; waitress looks through all of them again after each packet
QUICK_PATHS = frozenset({"/health"})  # answered although every other thread is busy
OTHER_FILES = 256  # of the process: the bank, the state file, images, libraries
FILES_A_CONNECTION = 2  # its socket, and the temporary file of a long body
ACCEPTED_AT_ONCE = 64  # new connections for each look at the old ones


class Phase(IntEnum):
    """What a connection is at; while all places are taken, the phase that stands first gives its place first."""

    HEADERS = 0
    IDLE = 1
    BODY = 2
    ANSWER = 3
    WORK = 4


class JsonErrorTask(ErrorTask):
    """The answer to what is no HTTP request: JSON, as all errors of the service are."""

    def execute(self) -> None:
        """Write the answer, and end the connection."""
        error = self.request.error
        body = json.dumps({"error": f"{error.reason}: {error.body}"}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """One connection. It knows the phase that it is in, and since when."""

    error_task_class = JsonErrorTask

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Adjustments, map: Any = None) -> None:
        self._clock_s: Callable[[], float] = server.clock_s
        self._free_since_s: float = self._clock_s()  # connected, or the last answer is on its way
        self._answer_since_s: float | None = None
        self._sent_bytes = 0
        self._served = False
        self.parser_class = partial(
            RequestParser,
            kept_bytes=server.kept_bytes,
            most_body_bytes=server.limits.max_body_bytes,
            clock_s=self._clock_s,
        )
        super().__init__(server, sock, addr, adj, map=map)

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the client takes, and count it."""
        sent: int = super().send(data, do_close=do_close)
        self._sent_bytes += sent
        return sent

    def service(self) -> None:
        """Have one request answered; called by a worker."""
        self._served, self._free_since_s = True, math.inf  # the loop may look before the last line of this is reached
        super().service()
        self._free_since_s = self._clock_s()

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send what the client takes of the answers, and note whether it must take more of them."""
        flushed: bool = super()._flush_some(do_close=do_close)
        if not self.total_outbufs_len:
            self._answer_since_s = None
        elif self._answer_since_s is None:
            self._answer_since_s, self._sent_bytes = self._clock_s(), 0
        return flushed

    def phase(self) -> tuple[Phase, float]:
        """Return what the connection is at, and since when; headers after an idle time begin with their first byte."""
        answer_since_s = self._answer_since_s
        if self.requests:
            return Phase.WORK, math.inf if answer_since_s is None else answer_since_s
        if self.total_outbufs_len:
            return Phase.ANSWER, self._free_since_s if answer_since_s is None else answer_since_s
        request: RequestParser | None = self.request
        if request is not None and request.headers_finished:
            return Phase.BODY, max(request.body_begun_s, self._free_since_s)
        if not self._served:
            return Phase.HEADERS, self._free_since_s
        if request is None:
            return Phase.IDLE, self._free_since_s
        return Phase.HEADERS, max(request.begun_s, self._free_since_s)

    def is_late(self, now_s: float, limits: ServerSettings) -> bool:
        """Return whether the connection has been in its phase for longer than allowed."""
        phase, since_s = self.phase()
        match phase:
            case Phase.HEADERS:
                return now_s - since_s > limits.header_timeout_s
            case Phase.IDLE:
                return now_s - since_s > limits.idle_timeout_s
            case Phase.BODY:
                moved_bytes = self.request.body_bytes_received
            case _:  # the answer: also while the worker that writes it waits for the client
                moved_bytes = self._sent_bytes
        return now_s - since_s > limits.transfer_grace_s + moved_bytes / limits.transfer_bytes_per_s

    def handle_read(self) -> None:
        """Read what the client has sent, if anything: what the loop saw coming may have been read to make room."""
        if _has_input(self._fileno):
            super().handle_read()

    def drop(self) -> None:
        """End the connection at once, unread bytes and unsent answers included; a waiting worker learns it."""
        self.will_close = True
        self.handle_close()


class Server(TcpWSGIServer):
    """Listens on one address, and keeps the limits of its connections."""

    channel_class = Channel

    def __init__(
        self,
        app: Any,
        limits: ServerSettings,
        kept_bytes: KeptBytes,
        clock_s: Callable[[], float] = time.monotonic,
        **waitress_options: Any,
    ) -> None:
        self.kept_bytes = kept_bytes
        self.clock_s = clock_s
        self.limits = limits
        self._places = most_connections(limits.connections)
        self._pause_until_s = -math.inf
        self._quick = ThreadedTaskDispatcher()
        self._quick.set_thread_count(1)
        super().__init__(app, **waitress_options)

    def add_task(self, task: Channel) -> None:
        """Have a complete request answered: by any worker, or at once by the one that is kept for it."""
        request = task.requests[0]
        is_quick = request.error is None and request.command == "GET" and request.path in QUICK_PATHS
        (self._quick if is_quick else self.task_dispatcher).add_task(task)

    def maintenance(self, now: float) -> None:
        """Drop the connections that took too long; called once a second."""
        now_s = self.clock_s()
        for channel in list(self.active_channels.values()):
            if channel.is_late(now_s, self.limits):
                logger.info("A connection of %s was dropped: too slow (%s).", channel.addr[0], channel.phase()[0].name)
                channel.drop()

    def readable(self) -> bool:
        """Return whether a new connection is welcome; looks after the old ones first."""
        accepts = bool(super().readable()) and self.clock_s() >= self._pause_until_s
        return accepts and (not self._is_full() or self._least_needed() is not None)

    def handle_accept(self) -> None:
        """Accept the connections that wait; each takes the place of an old one if there is no other."""
        for _ in range(ACCEPTED_AT_ONCE):
            if not _has_input(self._fileno):
                return
            self._make_room()
            if self._is_full():
                return
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                return

    def accept(self) -> Any:
        """Accept one connection; None if none waits, or if the process has no file left for it."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            logger.warning("No connection can be accepted for a second: %s (ulimit -n).", error)
            self._pause_until_s = self.clock_s() + 1.0
            if (least := self._least_needed()) is not None:
                least.drop()
            return None

    def stop(self) -> None:
        """End the thread for quick requests; the threads for all others belong to the listener."""
        self._quick.shutdown()

    def _is_full(self) -> bool:
        return len(self.active_channels) >= self._places

    def _make_room(self) -> None:
        """Drop a connection if all places are taken; but read it first: its request may be complete by now."""
        while self._is_full() and (least := self._least_needed()) is not None:
            if least.readable():
                try:
                    least.handle_read()
                except Exception:  # the loop would take it for a fault of the server, and end the listening
                    logger.exception("A connection of %s cannot be read.", least.addr[0])
                    least.drop()
            if least.connected and least.phase()[0] is not Phase.WORK:
                least.drop()

    def _least_needed(self) -> Channel | None:
        """Return the connection that gives its place to a new one; None if all are being worked for."""
        least = min(self.active_channels.values(), key=lambda channel: channel.phase(), default=None)
        return None if least is None or least.phase()[0] is Phase.WORK else least


class Listener:
    """The servers of all addresses that the host's name stands for, with one loop and the same workers."""

    def __init__(self, app: Any, limits: ServerSettings, kept_bytes: KeptBytes) -> None:
        """Bind the port.

        Raises:
            OSError, ValueError: the address or the port is taken, or not allowed.
        """
        adjustments = _adjustments(limits)
        self._closing = threading.Event()
        self._sockets: dict[int, Any] = {}
        self._workers = ThreadedTaskDispatcher()
        self.servers = [
            Server(app, limits, kept_bytes, map=self._sockets, dispatcher=self._workers, adj=adjustments, sockinfo=info)
            for info in adjustments.listen
        ]
        self._workers.set_thread_count(limits.threads)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the service can be reached, such as "http://127.0.0.1:9090"."""
        hosts = ((str(server.effective_host), server.effective_port) for server in self.servers)
        return tuple(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host, port in hosts)

    def run(self) -> None:
        """Answer requests until Ctrl-C, or until another thread calls `close`."""
        try:
            while not self._closing.is_set():
                wasyncore.loop(timeout=1, use_poll=True, map=self._sockets, count=1)
        except (SystemExit, KeyboardInterrupt):
            logger.info("Interrupted.")
        finally:
            self._workers.shutdown()
            for server in self.servers:
                server.stop()
            wasyncore.close_all(self._sockets)

    def close(self) -> None:
        """Have `run` end."""
        self._closing.set()
        with contextlib.suppress(OSError):  # it may have ended before it is woken
            self.servers[0].pull_trigger()


def _has_input(file_number: int) -> bool:
    """Return whether a socket has bytes to be read, or a connection to be accepted."""
    coming = select.poll()
    coming.register(file_number, select.POLLIN)
    return bool(coming.poll(0))


def most_connections(wanted: int) -> int:
    """Return how many connections the system lets the process hold, at most `wanted`; asks it for more first."""
    needed = wanted * FILES_A_CONNECTION + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(1, (soft - OTHER_FILES) // FILES_A_CONNECTION)
    logger.warning("The system allows %d open files (ulimit -n): at most %d connections.", soft, allowed)
    return allowed


def _adjustments(limits: ServerSettings) -> Adjustments:
    """Return waitress's own settings; its own limits of connections and times are out of the way."""
    return Adjustments(
        host=limits.host,
        port=limits.port,
        threads=limits.threads,
        ident="ovdiff",
        max_request_body_size=2**62,
        max_request_header_size=HEADER_BYTES,
        connection_limit=2**31,
        cleanup_interval=1,
    )
