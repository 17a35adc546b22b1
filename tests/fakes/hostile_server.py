"""A server of raw bytes that misbehaves on purpose: it drips, it never ends, it lies."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Behaviour = Callable[["Victim"], None]
DRIP_S = 0.02


@dataclass
class HostileServer:
    """What it was asked, and how much it could send.

    Attributes:
        host_and_port: of the server, on loopback.
        requests: the first bytes of each request.
        sent_bytes: over all connections.
    """

    host_and_port: str
    requests: list[bytes] = field(default_factory=list)
    sent_bytes: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host_and_port}/a.png"


@dataclass
class Victim:
    """A client that has connected."""

    connection: socket.socket
    server: HostileServer
    over: threading.Event

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.server.sent_bytes += len(data)

    def drip(self, data: Iterable[int]) -> None:
        """Send byte by byte, slowly, until the test is over."""
        for byte in data:
            self.send(bytes([byte]))
            if self.over.wait(DRIP_S):
                return

    def flood(self, data: bytes) -> None:
        """Send the same again and again until the client hangs up or the test is over."""
        while not self.over.is_set():
            self.send(data)


@contextmanager
def hostile_server(behave: Behaviour, *, waits_for_request: bool = True) -> Iterator[HostileServer]:
    """Run a server that does the same to each client, on a free port of this machine."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = HostileServer(f"127.0.0.1:{listening.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    server.requests.append(connection.recv(65536) if waits_for_request else b"")
                    behave(Victim(connection, server, over))
                except OSError:
                    return  # the client has hung up, as it should

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.settimeout(5.0)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(5.0)
