"""Slow, greedy and broken clients, over real sockets: none keeps another from an answer."""

import errno
import json
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from flask import Flask, Response, request
from waitress.adjustments import Adjustments

from backend.serving.events import EVENT_BYTES
from backend.serving.http.connections import HEADER_BYTES, Channel, Listener, Server
from backend.serving.http.request_parser import RequestParser
from backend.settings import ServerSettings
from tests.fakes.sockets import (
    answer,
    answer_to,
    ask,
    connect,
    dripping,
    get,
    has_ended,
    in_background,
    listening,
    many,
    port_of,
    post,
)
from tests.fakes.waiting import eventually

ROOT = Path(__file__).parents[4]
WORKERS = 8
SOON_S = 1.0  # Label Studio's patience with /health
MEBIBYTE = 2**20


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What /held waits for."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def tiny_app(gate: threading.Event) -> Flask:
    """An application with the paths of the service, and two that hold a worker."""
    app = Flask("tiny")

    @app.get("/health")
    def health() -> str:
        return "UP"

    @app.get("/held")
    def held() -> str:
        gate.wait(120)
        return "let go"

    @app.get("/long")
    def long() -> Response:
        return Response((b"x" * MEBIBYTE for _ in range(64)), headers={"Content-Length": str(64 * MEBIBYTE)})

    @app.post("/webhook")
    @app.post("/predict")
    @app.post("/elsewhere")
    def body() -> dict[str, int]:
        return {"bytes": len(request.get_data())}

    return app


def limits(**changed: object) -> ServerSettings:
    return ServerSettings(**{"port": 0, "threads": WORKERS, **changed})  # type: ignore[arg-type]


def health_s(listener: Listener) -> float:
    """Return how long /health took; it must answer."""
    begun_s = time.monotonic()
    assert ask(listener, get("/health")).endswith(b"UP")
    return time.monotonic() - begun_s


def slowest_health_s(listener: Listener, times: int = 5) -> float:
    return max(health_s(listener) for _ in range(times))


def health_is_alive(listener: Listener) -> bool:
    """Return whether /health answers five times soon, one after the other.

    A busy machine that pauses is asked again. For that, nothing that might hold up the answer may end by itself
    meanwhile: see :func:`stopped_clock`.
    """
    return eventually(lambda: slowest_health_s(listener) < SOON_S)


@dataclass
class Clock:
    """A clock that goes on only when a test says so."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def stopped_clock(listener: Listener) -> Clock:
    """Let connections that come from now on live by a clock that stands still, so that no limit ends them."""
    clock = Clock()
    for server in listener.servers:
        server.clock_s = clock
    return clock


def test_connections_that_send_nothing_leave_health_alive(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(connections=100)) as listener, many(listener, 400) as clients:
        assert health_is_alive(listener)
        assert eventually(lambda: sum(map(has_ended, clients)) >= 300)  # the oldest gave their places
        assert not has_ended(clients[-1])


def test_dripping_headers_leave_health_alive_and_end_with_their_time(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(header_timeout_s=1.5)) as listener:
        clock = stopped_clock(listener)
        with many(listener, 300) as clients, dripping(clients, b"x", every_s=0.1):
            assert health_is_alive(listener)
            assert not any(map(has_ended, clients))
            clock.now_s = 1.6
            assert eventually(lambda: all(map(has_ended, clients)))


def test_blank_lines_are_no_headers(tiny_app: Flask) -> None:
    with (
        listening(tiny_app, limits(header_timeout_s=0.5)) as listener,
        connect(listener) as client,
        dripping([client], b"\r\n\r\n", every_s=0.1),
    ):
        assert eventually(lambda: has_ended(client))


def test_dripping_bodies_leave_health_alive_and_end_with_their_time(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(transfer_grace_s=1.0)) as listener:
        clock = stopped_clock(listener)
        with many(listener, 200) as clients:
            for client in clients:
                client.sendall(post("/predict", 10 * MEBIBYTE))
            with dripping([*clients], b" ", every_s=0.1):
                assert health_is_alive(listener)
                assert not any(map(has_ended, clients))
                clock.now_s = 2.0
                assert eventually(lambda: all(map(has_ended, clients)))


def test_a_body_that_is_fast_enough_may_take_longer(tiny_app: Flask) -> None:
    settings = limits(transfer_grace_s=0.2, transfer_bytes_per_s=10.0)
    with listening(tiny_app, settings) as listener, connect(listener) as client:
        client.sendall(post("/predict", 200) + b"x" * 80)  # 80 bytes are 8 s, also of a machine that pauses
        for _ in range(4):  # looked after once a second
            time.sleep(0.3)
            client.sendall(b"x" * 30)
        assert b'{"bytes":200}' in answer(client).replace(b" ", b"")


def test_readers_that_take_nothing_give_their_workers_back(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(transfer_grace_s=0.5, transfer_bytes_per_s=1e9)) as listener:
        clock = stopped_clock(listener)
        with many(listener, WORKERS) as clients:
            for client in clients:  # every worker writes more than the client takes
                client.sendall(get("/long"))
                client.recv(1)
            assert health_is_alive(listener)
            clock.now_s = 1.0
            assert ask(listener, post("/predict", 3), b"abc").endswith(b'{"bytes":3}\n')
            assert eventually(lambda: all(map(has_ended, clients)))


def test_a_reader_that_takes_its_answer_gets_it_whole(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(transfer_grace_s=0.1, transfer_bytes_per_s=float(MEBIBYTE))) as listener:
        assert len(ask(listener, get("/long"))) > 64 * MEBIBYTE


def test_an_idle_connection_ends_and_a_used_one_goes_on(tiny_app: Flask) -> None:
    with (
        listening(tiny_app, limits(idle_timeout_s=3.0, header_timeout_s=0.5)) as listener,
        many(listener, 2) as (idle, used),
    ):
        question = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        idle.sendall(question)

        def ends_beside_a_used_one() -> bool:
            used.sendall(question)
            answer_to(used, b"UP")
            return has_ended(idle)

        assert eventually(ends_beside_a_used_one)


def test_a_held_request_keeps_its_connection_while_places_are_wanted(tiny_app: Flask, gate: threading.Event) -> None:
    settings = limits(connections=10, header_timeout_s=0.2, transfer_grace_s=0.2, idle_timeout_s=0.2)
    with listening(tiny_app, settings) as listener, connect(listener) as patient:
        patient.sendall(get("/held"))
        with many(listener, 30):
            time.sleep(1.5)  # longer than any limit, and looked after once a second
        gate.set()
        assert answer(patient).endswith(b"let go")


def test_health_answers_while_every_worker_is_held(tiny_app: Flask, gate: threading.Event) -> None:
    with listening(tiny_app, limits()) as listener, many(listener, WORKERS + 2) as clients:
        for client in clients:
            client.sendall(get("/held"))
        assert health_is_alive(listener)
        gate.set()
        assert all(answer(client).endswith(b"let go") for client in clients)


@pytest.mark.parametrize(
    ("path", "length", "kept"),
    [
        ("/predict", 3 * MEBIBYTE, 3 * MEBIBYTE),
        ("/webhook", 20 * MEBIBYTE, EVENT_BYTES),
        ("//webhook", 20 * MEBIBYTE, EVENT_BYTES),
        ("/webhook", 100, 100),
        ("/elsewhere", 20 * MEBIBYTE, 0),
    ],
)
def test_of_a_body_only_what_a_route_reads_is_kept(tiny_app: Flask, path: str, length: int, kept: int) -> None:
    with listening(tiny_app, limits()) as listener:
        assert ask(listener, post(path, length), b"x" * length).endswith(f'{{"bytes":{kept}}}\n'.encode())


def test_who_sends_too_much_gets_the_answer_of_the_application(tiny_app: Flask) -> None:
    tiny_app.config["MAX_CONTENT_LENGTH"] = MEBIBYTE
    with listening(tiny_app, limits(max_body_bytes=MEBIBYTE)) as listener:
        sent = ask(listener, post("/predict", 20 * MEBIBYTE), b"x" * (20 * MEBIBYTE))
        assert sent.startswith(b"HTTP/1.1 413")
        assert ask(listener, post("/predict", MEBIBYTE), b"x" * MEBIBYTE).startswith(b"HTTP/1.1 200")


def test_a_body_without_the_password_is_not_kept(tiny_app: Flask) -> None:
    settings = limits(basic_user="ann", basic_password="secret")
    right, wrong = "Authorization: Basic YW5uOnNlY3JldA==", "Authorization: Basic YW5uOndyb25n"
    with listening(tiny_app, settings) as listener:
        assert ask(listener, post("/predict", 9, right), b"x" * 9).endswith(b'{"bytes":9}\n')
        assert ask(listener, post("/predict", 9, wrong), b"x" * 9).endswith(b'{"bytes":0}\n')
        assert ask(listener, post("/predict", 9), b"x" * 9).endswith(b'{"bytes":0}\n')


def test_a_long_event_takes_no_memory_and_health_answers_meanwhile(tiny_app: Flask) -> None:
    part, parts = b"[]," * 1000, 7300  # 22 MB
    with listening(tiny_app, limits()) as listener, connect(listener) as client:
        client.sendall(post("/webhook", len(part) * parts))

        def send() -> None:
            for _ in range(parts):
                client.sendall(part)

        tracemalloc.start()
        with in_background(send):
            slowest_s = slowest_health_s(listener)
        assert answer(client).endswith(f'{{"bytes":{EVENT_BYTES}}}\n'.encode())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert slowest_s < SOON_S
    assert peak < MEBIBYTE


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400 Bad Request"),
        (
            (b"GET / HTTP/1.1\r\nHost: x\r\nName: " + b"x" * HEADER_BYTES)[:HEADER_BYTES],
            b"431 Request Header Fields Too Large",
        ),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", b"411 Length Required"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501 Not Implemented"),
    ],
)
def test_what_is_no_request_is_answered_with_json(tiny_app: Flask, sent: bytes, status: bytes) -> None:
    with listening(tiny_app, limits()) as listener:
        head, _, body = ask(listener, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.") and status in head.splitlines()[0]
    assert b"Content-Type: application/json" in head
    assert json.loads(body)["error"].startswith(status[4:].decode())


PARTS = [b"", b"\0", b"\xff", b"\r\n", b"\n", b" ", b":", b"[", b"%", b"//", b"9" * 30, b"9" * 5000]


def test_damaged_requests_are_answered_or_dropped_and_are_no_bug(
    tiny_app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(6)
    whole = [get("/health", "Authorization: Basic YW5u", "Expect: 100-continue"), post("/predict", 2) + b"{}"]
    with listening(tiny_app, limits()) as listener:
        for _ in range(400):
            sent = bytearray(random.choice(whole))
            for _ in range(random.choice([1, 2, 5])):
                place = random.randrange(len(sent))
                sent[place : place + random.randrange(3)] = random.choice([*PARTS, random.randbytes(1)])
            with connect(listener) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                got = answer(client)
            assert not got or got.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")), bytes(sent)
            assert b" 500 " not in got.partition(b"\r\n")[0], bytes(sent)
            assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"], bytes(sent)
        assert health_is_alive(listener)


def test_all_addresses_of_a_name_are_listened_on(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(host="localhost")) as listener:
        assert health_is_alive(listener)
        assert f"http://127.0.0.1:{port_of(listener)}" in listener.urls


def test_a_system_that_allows_few_files_allows_few_connections() -> None:
    program = "from backend.serving.http.connections import most_connections as most; print(most(5), most(500))"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400)); {program}"
    done = subprocess.run([sys.executable, "-c", limited], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "72"]  # (400 - 256) / 2: the soft limit of 300 is raised to the hard one
    assert "at most 72 connections" in done.stderr


def test_without_a_file_for_a_new_connection_an_old_one_ends(
    tiny_app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = threading.Event()

    def refuse_once(server: Server) -> object:
        if refused.is_set():
            return accept(server)
        refused.set()
        raise OSError(errno.EMFILE, "Too many open files")

    with listening(tiny_app, limits(header_timeout_s=60.0)) as listener, connect(listener) as old:
        health_s(listener)  # so the old one is accepted
        accept = Server.__mro__[1].accept
        monkeypatch.setattr(Server.__mro__[1], "accept", refuse_once)
        health_s(listener)  # after the pause of a second
        assert eventually(lambda: has_ended(old))
    assert "Too many open files" in caplog.text


def test_an_answer_that_was_just_made_is_sent_though_the_connection_is_old(
    tiny_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0

    @tiny_app.get("/slow")
    def slow() -> str:
        nonlocal now_s
        now_s += 90.0
        return "made"

    with listening(tiny_app, limits()) as listener:
        (server,) = listener.servers
        server.clock_s = lambda: now_s
        wake = server.pull_trigger

        def look_first() -> None:  # as the loop may do between the end of the work and the worker's last lines
            server.maintenance(0.0)
            wake()

        monkeypatch.setattr(server, "pull_trigger", look_first)
        with connect(listener) as client:
            for _ in range(2):  # the second answer comes after an idle time of 0 s and again 90 s of work
                client.sendall(get("/slow").replace(b"Connection: close\r\n", b""))
                assert answer_to(client, b"made").startswith(b"HTTP/1.1 200 OK")


def test_as_many_connections_as_there_are_places_all_stay(tiny_app: Flask) -> None:
    with listening(tiny_app, limits(connections=3)) as listener, many(listener, 3) as clients:
        assert eventually(lambda: len(listener.servers[0].active_channels) == 3)
        clients[0].sendall(get("/health"))  # by its answer all three were accepted, and the loop went on
        assert answer(clients[0]).endswith(b"UP")
        assert not any(map(has_ended, clients[1:]))


def test_a_connection_that_cannot_be_read_does_not_end_the_listening(
    tiny_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(channel: Channel) -> None:
        raise ZeroDivisionError

    with listening(tiny_app, limits(connections=2)) as listener, many(listener, 2) as old:
        assert eventually(lambda: len(listener.servers[0].active_channels) == 2)
        monkeypatch.setattr(Channel, "handle_read", broken)
        with connect(listener):
            assert eventually(lambda: has_ended(old[0]))
        monkeypatch.undo()
        assert health_is_alive(listener)


def test_the_parser_keeps_what_it_is_told_to() -> None:
    parser = RequestParser(
        Adjustments(), kept_bytes=lambda path, _headers: len(path), most_body_bytes=8, clock_s=lambda: 5.0
    )
    sent = post("/four", 10) + b"0123456789"
    assert parser.received(sent) == len(sent) - 10
    assert (parser.completed, parser.body_begun_s) == (False, 5.0)
    assert parser.received(sent[-10:]) == 10
    assert parser.completed
    assert parser.get_body_stream().read() == b"01234"
    assert parser.headers["CONTENT_LENGTH"] == "5"


def test_the_parser_keeps_nothing_of_what_is_too_long() -> None:
    parser = RequestParser(Adjustments(), kept_bytes=lambda *_: None, most_body_bytes=8, clock_s=lambda: 5.0)
    parser.received(post("/predict", 10))
    parser.received(b"0123456789")
    assert parser.completed
    assert parser.get_body_stream().read() == b""
    assert parser.headers["CONTENT_LENGTH"] == "10"  # by which the application refuses it
