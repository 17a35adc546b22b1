"""A service on a real port, and clients that talk to it as no library would: slowly, by halves, without listening."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from flask import Flask

from backend.serving.http.connections import Listener
from backend.serving.http.listening import listen
from backend.settings import ServerSettings


@contextmanager
def listening(app: Flask, settings: ServerSettings) -> Iterator[Listener]:
    """Serve on a free port of loopback until the block ends; the settings' own port is 0."""
    listener = listen(app, settings)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        yield listener
    finally:
        listener.close()
        thread.join(10)


def port_of(listener: Listener) -> int:
    return int(listener.servers[0].effective_port)


def connect(listener: Listener, timeout_s: float = 10.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(listener)), timeout_s)


@contextmanager
def many(listener: Listener, count: int) -> Iterator[list[socket.socket]]:
    """Yield so many connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(listener)) for _ in range(count)]


def ask(listener: Listener, request: bytes, body: bytes = b"", timeout_s: float = 10.0) -> bytes:
    """Send a request, and return the whole answer, up to the end of the connection."""
    with connect(listener, timeout_s) as client:
        client.sendall(request)
        client.sendall(body)
        return answer(client)


def answer(client: socket.socket) -> bytes:
    """Return all that comes until the connection ends."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answer_to(client: socket.socket, ending: bytes) -> bytes:
    """Return what comes until it ends like this; the connection goes on."""
    got = b""
    while not got.endswith(ending):
        part = client.recv(65536)
        assert part, f"the connection ended after {got!r}"
        got += part
    return got


def get(path: str, *headers: str) -> bytes:
    """Return the bytes of a request for a path, after which the connection is to end."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, length: int, *headers: str) -> bytes:
    """Return the bytes of the headers of a JSON body of this length, after which the connection is to end."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", *headers, "", ""]).encode()


def has_ended(client: socket.socket) -> bool:
    """Return whether the other side has ended the connection; what it sent before is read and forgotten."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def dripping(clients: list[socket.socket], part: bytes, every_s: float) -> Iterator[None]:
    """Send a part over each connection again and again, until the block ends."""
    ended = threading.Event()

    def drip() -> None:
        alive = list(clients)
        while not ended.wait(every_s):
            alive = [client for client in alive if _sends(client, part)]

    with in_background(drip):
        try:
            yield
        finally:
            ended.set()


@contextmanager
def in_background(act: Callable[[], object]) -> Iterator[None]:
    """Run a function in a thread, and wait for it at the end of the block."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def _sends(client: socket.socket, part: bytes) -> bool:
    try:
        client.send(part)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def closed_port() -> int:
    """Return a port of loopback at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
