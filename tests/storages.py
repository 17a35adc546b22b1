"""A server of this machine that speaks S3, buckets on it, and a cable to it that can be cut; clouds are in `clouds`."""

import logging
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.clouds import ask_azure_at, ask_google_at

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
_numbers = iter(range(1_000_000))
_asked: list[str] = []


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of moto's server, one for all tests of a process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def bucket(bucket_kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new, empty bucket, of each kind that is tested (`tests.clouds`).

    It is asked as the cloud's own tools ask it, also by processes that a test starts.
    """
    return bucket_of(bucket_kind, request, monkeypatch)


@pytest.fixture
def s3_bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new, empty bucket of S3, for what concerns S3 alone."""
    return bucket_of("s3", request, monkeypatch)


@pytest.fixture
def place_for(place_kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A local folder, one in a new bucket of each kind, or one of a storage that has no conditional replacement."""
    if place_kind == "folder":
        (tmp_path / "place").mkdir()
        return str(tmp_path / "place")
    if place_kind == "other":
        return f"memory://{tmp_path.name}/place"
    return f"{bucket_of(place_kind, request, monkeypatch)}/place"


def bucket_of(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a new, empty bucket of a kind, whose server is started if need be."""
    if kind == "s3":
        ask_s3_at(request.getfixturevalue("s3_server"), monkeypatch)
    elif kind == "abfs":
        ask_azure_at(request.getfixturevalue("azurite"), monkeypatch)
    else:
        ask_google_at(request.getfixturevalue("google"), monkeypatch)
    return new_bucket(kind)


def ask_s3_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have S3 asked at an endpoint, by this process and by those that it starts."""
    import s3fs

    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    if _asked[-1:] != [endpoint]:  # A client takes a second to be made, and is asked again where that is right.
        s3fs.S3FileSystem.clear_instance_cache()
        _asked[:] = [endpoint]


@contextmanager
def asked_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have S3 asked at an endpoint within the block."""
    ask_s3_at(endpoint, monkeypatch)
    yield


def new_bucket(kind: str = "s3") -> str:
    """Make a bucket and return its address."""
    from fsspec.core import url_to_fs

    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    url_to_fs(f"{kind}://{name}")[0].mkdir(name)
    return f"{kind}://{name}"


class Cable:
    """A TCP proxy before a server. While it is cut, connections are refused and those that there were are closed."""

    def __init__(self, server: str) -> None:
        host, port = server.removeprefix("http://").split(":")
        self._server = (host, int(port))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._port = 0
        self.mend()
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def mend(self) -> None:
        """Accept connections, on the same port as before."""
        listener = socket.create_server(("127.0.0.1", self._port), reuse_port=False)
        self._port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse connections, and close those that there are."""
        with self._lock:
            listener, self._listener = self._listener, None
            pairs, self._pairs = self._pairs, []
        for closed in [*([listener] if listener else []), *(end for pair in pairs for end in pair)]:
            with suppress(OSError):
                closed.shutdown(socket.SHUT_RDWR)
            closed.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                pair = (near, socket.create_connection(self._server))
                with self._lock:
                    self._pairs.append(pair)
                threading.Thread(target=self._carry, args=(pair,), daemon=True).start()

    @staticmethod
    def _carry(pair: tuple[socket.socket, socket.socket]) -> None:
        with suppress(OSError, ValueError, KeyError), selectors.DefaultSelector() as selector:
            for end, other in (pair, pair[::-1]):
                selector.register(end, selectors.EVENT_READ, other)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                    if not data:
                        raise OSError
                    key.data.sendall(data)
        for end in pair:
            end.close()


@pytest.fixture
def cable(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    """A cable to the server by which S3 is asked; make buckets with `new_bucket` while it is whole."""
    cable = Cable(s3_server)
    with asked_at(cable.endpoint, monkeypatch):
        yield cable
    cable.cut()
