import contextlib
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.errors import ImageBlockedError, NoAnswerError
from backend.sources.deadline import Deadline
from backend.sources.transport import (
    Network,
    Request,
    SocketAddress,
    certified_tls,
    connect_to,
    read_body,
    resolve_host,
)
from backend.sources.web_url import WebUrl
from tests.fakes.hostile_server import Behaviour, Victim, hostile_server
from tests.fakes.waiting import SLACK_S

LIMIT_S = 0.3
OK = b"HTTP/1.1 200 OK\r\n"
MIB = 2**20


def fetch(url: str, most_bytes: int = MIB, network: Network | None = None, limit_s: float = LIMIT_S) -> bytes | None:
    request = Request(WebUrl.parse(url))
    with (network or Network()).send(request, Deadline.within(limit_s)) as answer:
        return read_body(answer, most_bytes)


def packed(size_bytes: int, wbits: int = 31) -> bytes:
    """Return so many zeros, packed as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    pieces = [packer.compress(bytes(MIB)) for _ in range(size_bytes // MIB)]
    return b"".join([*pieces, packer.flush()])


def chunked(victim: Victim) -> None:
    victim.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")


def flooded_with_trailers(victim: Victim) -> None:
    chunked(victim)
    victim.send(b"0\r\n")
    victim.flood(b"X: y\r\n")


def drip(start: bytes, rest: bytes) -> Behaviour:
    def behave(victim: Victim) -> None:
        victim.send(start)
        victim.drip(rest * 1000)

    return behave


def silent(victim: Victim) -> None:
    victim.over.wait(30.0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(silent, id="silence"),
        pytest.param(drip(b"", b"HTTP/1.1 200 OK"), id="status line drips"),
        pytest.param(drip(OK, b"X: y\r\n"), id="headers drip"),
        pytest.param(drip(OK + b"X: ", b"y"), id="a header drips"),
        pytest.param(drip(b"HTTP/1.1 302 Found\r\n", b"X: y\r\n"), id="a redirect drips"),
        pytest.param(drip(OK + b"Content-Length: 999\r\n\r\n", b"x"), id="body drips"),
        pytest.param(drip(OK + b"\r\n", b"x"), id="body without a length drips"),
        pytest.param(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="chunks drip"),
        pytest.param(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"), id="a chunk's length drips"),
        pytest.param(drip(OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08" + bytes(6), b"x"), id="gzip drips"),
        pytest.param(lambda victim: victim.flood(b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue without end"),
        pytest.param(flooded_with_trailers, id="trailers without end"),
    ],
)
def test_whatever_drips_ends_at_the_deadline(behave: Behaviour) -> None:
    started_s = time.monotonic()
    with hostile_server(behave) as server, pytest.raises(NoAnswerError):
        fetch(server.url)
    assert time.monotonic() - started_s < LIMIT_S + SLACK_S


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"], ids=["silence", "a hello that drips"])
def test_a_tls_handshake_that_never_ends_is_given_up(first: bytes) -> None:
    started_s = time.monotonic()
    with hostile_server(drip(first, b"\x03") if first else silent) as server, pytest.raises(NoAnswerError):
        fetch(f"https://{server.host_and_port}/a.png")
    assert time.monotonic() - started_s < LIMIT_S + SLACK_S


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (lambda victim: victim.flood(b"x" * 8192), "LineTooLong"),
        (lambda victim: (victim.send(OK), victim.flood(b"X: y\r\n")), "HTTPException"),
        (lambda victim: (victim.send(OK), victim.flood(b"y" * 8192)), "LineTooLong"),
        (lambda victim: victim.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "BadStatusLine"),
        (lambda victim: victim.send(b""), "RemoteDisconnected"),
        (lambda victim: victim.send(OK + b"Content-Length: 100\r\n\r\nshort"), "IncompleteRead|ProtocolError"),
        (lambda victim: victim.send(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "InvalidHeader"),
        (lambda victim: victim.send(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "IncompleteRead|ProtocolError"),
        (lambda victim: victim.send(OK + b"Content-Encoding: gzip\r\n\r\nno gzip at all"), "DecodeError"),
        (
            lambda victim: victim.send(OK + b"Content-Encoding: " + b"gzip, " * 20 + b"gzip\r\n\r\n" + packed(MIB)),
            "DecodeError",
        ),
    ],
)
def test_what_is_no_answer_is_named(behave: Behaviour, reason: str) -> None:
    with hostile_server(behave) as server, pytest.raises(NoAnswerError, match=reason):
        fetch(server.url, limit_s=5.0)


def test_an_answer_within_its_length_is_read() -> None:
    with hostile_server(lambda victim: victim.send(OK + b"Content-Length: 3\r\n\r\nabcdef")) as server:
        assert fetch(server.url, 3, limit_s=5.0) == b"abc"
    (asked,) = server.requests
    assert asked.startswith(b"GET /a.png HTTP/1.1\r\n")
    assert f"\r\nHost: {server.host_and_port}\r\n".encode() in asked
    assert b"\r\nConnection: close\r\n" in asked


def test_a_packed_answer_is_unpacked() -> None:
    with hostile_server(lambda victim: victim.send(OK + b"Content-Encoding: gzip\r\n\r\n" + packed(MIB))) as server:
        assert fetch(server.url, MIB, limit_s=5.0) == bytes(MIB)


@pytest.mark.parametrize(
    "length",
    [b"Content-Length: 2000000\r\n", b"Content-Length: " + b"9" * 5000 + b"\r\n", b"", b"Content-Length: -1\r\n"],
)
def test_more_than_the_limit_is_not_read(length: bytes) -> None:
    def behave(victim: Victim) -> None:
        victim.send(OK + length + b"\r\n")
        victim.flood(bytes(MIB))

    with hostile_server(behave) as server:
        assert fetch(server.url, MIB, limit_s=5.0) is None
    assert server.sent_bytes < 20 * MIB  # the limit, and what sockets hold


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_a_packed_bomb_is_unpacked_piece_by_piece(encoding: str) -> None:
    bomb = packed(64 * MIB)
    if "," in encoding:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = packer.compress(bomb) + packer.flush()
    with hostile_server(
        lambda victim: victim.send(OK + f"Content-Encoding: {encoding}\r\n\r\n".encode() + bomb)
    ) as server:
        tracemalloc.start()
        try:
            assert fetch(server.url, MIB, limit_s=5.0) is None
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 8 * MIB


@pytest.mark.timeout(60)
def test_a_redirect_without_end_is_not_read() -> None:
    def behave(victim: Victim) -> None:
        victim.send(b"HTTP/1.1 302 Found\r\nLocation: /b.png\r\nTransfer-Encoding: chunked\r\n\r\n")
        victim.flood(b"10000\r\n" + bytes(65536) + b"\r\n")

    with hostile_server(behave) as server:
        request = Request(WebUrl.parse(server.url))
        with Network().send(request, Deadline.within(5.0)) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/b.png")
    assert server.sent_bytes < 20 * MIB  # what sockets hold


@dataclass
class Recorder:
    """A network on which every host has the given addresses, and every connection leads to one server."""

    addresses: tuple[str, ...]
    port: int
    looked_up: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    refusing: frozenset[str] = frozenset()
    timeouts_s: list[float] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    def network(self, tls: Callable[[], ssl.SSLContext] = certified_tls) -> Network:
        return Network(self._resolve, self._connect, tls)

    def _resolve(self, host: str, port: int, timeout_s: float) -> list[tuple[int, SocketAddress]]:
        self.looked_up.append(host)
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in self.addresses]
        return [(family, (address, port)) for family, address in zip(families, self.addresses, strict=True)]

    def _connect(self, family: int, address: SocketAddress, timeout_s: float) -> socket.socket:
        self.connected.append(address[0])
        self.timeouts_s.append(timeout_s)
        if address[0] in self.refusing:
            raise ConnectionRefusedError
        self.sockets.append(connect_to(socket.AF_INET, ("127.0.0.1", self.port), timeout_s))
        return self.sockets[-1]


def hello(victim: Victim) -> None:
    victim.send(OK + b"Content-Length: 5\r\n\r\nhello")


def test_the_address_that_was_judged_is_connected_to() -> None:
    judged: list[str] = []
    with hostile_server(hello) as server:
        recorder = Recorder(("93.184.216.34",), int(server.host_and_port.partition(":")[2]))
        request = Request(WebUrl.parse("http://images.example.org/a.png"), judge=judged.append)
        with recorder.network().send(request, Deadline.within(5.0)) as answer:
            assert read_body(answer, 100) == b"hello"
    assert judged == recorder.connected == ["93.184.216.34"]
    assert recorder.looked_up == ["images.example.org"]  # once: a second answer could be another one


@pytest.mark.parametrize(("connect_timeout_s", "limit_s", "most_s"), [(0.25, 5.0, 0.25), (5.0, 0.25, 0.25)])
def test_connecting_has_its_own_time_within_the_deadline(
    connect_timeout_s: float, limit_s: float, most_s: float
) -> None:
    recorder = Recorder(("93.184.216.34",), 1, refusing=frozenset({"93.184.216.34"}))
    request = Request(WebUrl.parse("http://images.example.org/"), connect_timeout_s=connect_timeout_s)
    with pytest.raises(NoAnswerError), recorder.network().send(request, Deadline.within(limit_s)):
        pytest.fail("it was sent")
    assert 0 < recorder.timeouts_s[0] <= most_s


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_connection_is_closed_though_the_body_is_unread(scheme: str) -> None:
    with hostile_server(lambda victim: victim.flood(OK + b"\r\n")) as server:
        recorder = Recorder(("93.184.216.34",), int(server.host_and_port.partition(":")[2]))
        request = Request(WebUrl.parse(f"{scheme}://images.example.org/a.png"))
        with contextlib.suppress(NoAnswerError), recorder.network().send(request, Deadline.within(5.0)) as answer:
            assert answer.status == 200
    assert [made.fileno() for made in recorder.sockets] == [-1]


def test_one_address_that_is_refused_refuses_the_host() -> None:
    def judge(address: str) -> None:
        if address.startswith("fd"):
            raise ImageBlockedError(address)

    recorder = Recorder(("93.184.216.34", "fd00::1%eth0"), 1)
    request = Request(WebUrl.parse("http://images.example.org/a.png"), judge=judge)
    with pytest.raises(ImageBlockedError, match="fd00::1"), recorder.network().send(request, Deadline.within(5.0)):
        pytest.fail("it was sent")
    assert recorder.connected == []


def test_the_next_address_is_tried() -> None:
    with hostile_server(hello) as server:
        port = int(server.host_and_port.partition(":")[2])
        recorder = Recorder(("93.184.216.34", "2606:4700::1"), port, refusing=frozenset({"93.184.216.34"}))
        assert fetch("http://images.example.org/a.png", network=recorder.network(), limit_s=5.0) == b"hello"
    assert recorder.connected == ["93.184.216.34", "2606:4700::1"]


@pytest.mark.parametrize(("addresses", "reason"), [((), "OSError"), (("93.184.216.34",), "ConnectionRefusedError")])
def test_no_address_that_answers_is_an_error(addresses: tuple[str, ...], reason: str) -> None:
    recorder = Recorder(addresses, 1, refusing=frozenset(addresses))
    with pytest.raises(NoAnswerError, match=reason):
        fetch("http://images.example.org/a.png", network=recorder.network())


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with hostile_server(hello) as proxy, hostile_server(hello) as server:
        monkeypatch.setenv(variable, f"http://{proxy.host_and_port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert fetch(server.url, limit_s=5.0) == b"hello"
    assert proxy.requests == []


def test_no_password_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login ann password secret\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    with hostile_server(hello) as server:
        fetch(server.url, limit_s=5.0)
    assert b"authorization" not in server.requests[0].lower()


def test_a_line_break_in_a_header_is_not_sent() -> None:
    with hostile_server(hello) as server:
        request = Request(WebUrl.parse(server.url), headers={"Authorization": "Token a\r\nX: y"})
        with pytest.raises(NoAnswerError, match="cannot be sent"), Network().send(request, Deadline.within(5.0)):
            pytest.fail("it was sent")


@pytest.mark.timeout(60)
def test_a_name_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: over.wait(30.0) and [])
    started_s = time.monotonic()
    with pytest.raises(NoAnswerError, match="TimeoutError"):
        fetch("http://images.example.org/a.png")
    over.set()
    assert time.monotonic() - started_s < LIMIT_S + SLACK_S


@pytest.mark.parametrize("host", ["nobody.invalid", "a_b-.invalid"])
def test_an_unknown_host_is_named(host: str) -> None:
    with pytest.raises(NoAnswerError, match="no such host is known"):
        fetch(f"http://{host}/a.png", limit_s=5.0)


def test_numeric_spellings_of_an_address_are_resolved_before_they_are_judged() -> None:
    for host in ("127.1", "2130706433", "0x7f000001"):
        assert [address[0] for _, address in resolve_host(host, 80, 5.0)] == ["127.0.0.1"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for images.example.org by nobody that others trust, with its key."""
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=images"
    names = ["-addext", "subjectAltName=DNS:images.example.org", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    try:
        subprocess.run([*words.split(), *names, "-keyout", file, "-out", f"{file}.2"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("There is no openssl.")
    file.write_bytes(file.read_bytes() + Path(f"{file}.2").read_bytes())
    return file


def tls_server(certificate: Path) -> Behaviour:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(victim: Victim) -> None:
        with context.wrap_socket(victim.connection, server_side=True) as secured:
            victim.server.requests.append(secured.recv(65536))
            secured.sendall(OK + b"Content-Length: 5\r\n\r\nhello")

    return behave


@pytest.mark.parametrize(
    ("host", "trusted", "reason"),
    [
        ("images.example.org", True, None),
        ("images.example.org", False, "its certificate is not trusted: self-signed certificate"),
        ("other.example.org", True, "its certificate is not trusted: Hostname mismatch"),
    ],
)
def test_certificates_are_checked(certificate: Path, host: str, trusted: bool, reason: str | None) -> None:
    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificate)

    with hostile_server(tls_server(certificate), waits_for_request=False) as server:
        recorder = Recorder(("93.184.216.34",), int(server.host_and_port.partition(":")[2]))
        network = recorder.network(trusting if trusted else certified_tls)
        if reason is None:
            assert fetch(f"https://{host}/a.png", network=network, limit_s=5.0) == b"hello"
            assert b"\r\nHost: images.example.org\r\n" in server.requests[-1]  # no port: signatures include this line
        else:
            with pytest.raises(NoAnswerError, match=reason):
                fetch(f"https://{host}/a.png", network=network, limit_s=5.0)
