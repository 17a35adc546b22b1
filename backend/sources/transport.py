"""One HTTP request over one connection: within a deadline, to the very address that was judged, by nobody's proxy.

This is below `requests`, which cannot do any of the three: it reads the body of a redirect to its end, its time limits
are for single reads, and it looks names up by itself. Nothing here reads the environment. What the network does is
handed in: `Network` takes functions that look names up and connect, and whoever sends requests takes a `Transport`.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import certifi
import urllib3

from backend.errors import NoAnswerError
from backend.sources.deadline import Deadline, TimedSocket
from backend.sources.web_url import WebUrl

CHUNK_BYTES = 64 * 1024
SocketAddress = tuple[Any, ...]  # (address, port), with two numbers more for IPv6


def any_address(address: str) -> None:
    """Allow every IP address, also an inner one."""


@dataclass(frozen=True)
class Request:
    """A request to be sent.

    Attributes:
        url: where to.
        method: GET, POST or DELETE.
        headers: besides those that every request has.
        body: of a POST.
        judge: called with each IP address of the host before it is connected to; what it raises ends the request.
        connect_timeout_s: for one address to accept the connection.
    """

    url: WebUrl
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    judge: Callable[[str], None] = any_address
    connect_timeout_s: float = 5.0


class Transport(Protocol):
    """What sends requests."""

    def send(self, request: Request, deadline: Deadline) -> AbstractContextManager[urllib3.HTTPResponse]:
        """Send a request, and return the answer while its connection is open: status and headers, the body unread.

        Raises:
            NoAnswerError: the server could not be reached, broke off, or the deadline passed; also while the body is
                read inside the `with` block.
        """


def resolve_host(host: str, port: int, timeout_s: float) -> list[tuple[int, SocketAddress]]:
    """Return the addresses of a host, each with its address family.

    The system's look-up cannot be interrupted. So it runs on a thread of its own, which is left behind when the time
    is over, and ends when the system gives up.

    Raises:
        TimeoutError: the system has no answer yet.
        OSError: there is no such name.
    """
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)
        except ValueError:  # a name that the system's encoding of names refuses
            found.put(socket.gaierror(socket.EAI_NONAME, "no name"))

    threading.Thread(target=look_up, name="ovdiff-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"{host} was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return [(family, address) for family, _, _, _, address in answer]


def connect_to(family: int, address: SocketAddress, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to an address.

    Raises:
        OSError: nothing there accepts a connection in time.
    """
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout_s)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


@functools.cache
def certified_tls() -> ssl.SSLContext:
    """Return the rules of TLS: certificates of the authorities in certifi's list, for the host's name."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True)
class Network:
    """Sends requests over the network. Threads may share it."""

    resolve: Callable[[str, int, float], list[tuple[int, SocketAddress]]] = resolve_host
    connect: Callable[[int, SocketAddress, float], socket.socket] = connect_to
    tls: Callable[[], ssl.SSLContext] = certified_tls

    @contextmanager
    def send(self, request: Request, deadline: Deadline) -> Iterator[urllib3.HTTPResponse]:
        """Send a request, as `Transport` says. The connection is closed at the end, whatever was read of the body."""
        with _one_kind_of_error():
            connected = self._connected(request, deadline)
            try:
                if request.url.scheme == "https":
                    connected = self._secured(connected, request.url.host, deadline)
                yield _answer(connected, request, deadline)
            finally:
                connected.close()

    def _connected(self, request: Request, deadline: Deadline) -> socket.socket:
        """Return a connection to the first address of the host that accepts one; all of them are judged before."""
        url = request.url
        found = self.resolve(url.host, url.port, deadline.left_s())
        for _, address in found:
            request.judge(_ip(address))
        refusal: OSError = OSError(f"{url.host} has no address")
        for family, address in found:
            try:
                return self.connect(family, address, min(request.connect_timeout_s, deadline.left_s()))
            except OSError as error:
                refusal = error
        raise refusal

    def _secured(self, connected: socket.socket, host: str, deadline: Deadline) -> socket.socket:
        """Return the connection under TLS, which takes the plain socket's place."""
        secured = self.tls().wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
        try:
            secured.settimeout(deadline.left_s())
            secured.do_handshake()  # its time limit is for the whole handshake
        except BaseException:
            secured.close()
            raise
        return secured


def read_body(answer: urllib3.HTTPResponse, most_bytes: int) -> bytes | None:
    """Return the body of an answer, decompressed; None if it has more bytes than that, of which few are read."""
    declared = answer.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        return None
    body = bytearray()
    # read1 returns what has arrived, and at most so much: a compressed body is unpacked piece by piece.
    while piece := answer.read1(CHUNK_BYTES, decode_content=True):
        body += piece
        if len(body) > most_bytes:
            return None
    return bytes(body)


def _answer(connected: socket.socket, request: Request, deadline: Deadline) -> urllib3.HTTPResponse:
    """Send the request over a connection, and return its answer."""
    url = request.url
    connection = http.client.HTTPConnection(url.host, url.port)
    connection.auto_open = 0  # no second connection: its address would not be judged
    connection.sock = TimedSocket(connected, deadline)
    headers = {
        "Host": url.authority,
        "User-Agent": "ovdiff",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # pictures are compressed already
        "Connection": "close",
    }
    try:
        connection.request(request.method, url.target, body=request.body, headers=headers | dict(request.headers))
    except ValueError as error:  # a line break in a token, for example
        raise NoAnswerError("the request holds characters that cannot be sent") from error
    received = connection.getresponse()
    return urllib3.HTTPResponse(
        body=received,
        headers=urllib3.HTTPHeaderDict(received.getheaders()),
        status=received.status,
        preload_content=False,
        original_response=received,
        request_method=request.method,
    )


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Raise NoAnswerError for whatever sockets, TLS, HTTP and decompression raise."""
    try:
        yield
    except socket.gaierror as error:
        raise NoAnswerError("no such host is known") from error
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"its certificate is not trusted: {error.verify_message}") from error
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        raise NoAnswerError(type(error).__name__) from error


def _ip(address: SocketAddress) -> str:
    """Return the IP address of a socket's address, without the zone of a link-local one."""
    return str(ipaddress.ip_address(str(address[0]).partition("%")[0]))
