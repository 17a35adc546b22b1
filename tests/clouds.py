"""Servers of this machine that speak Azure's and Google's protocols, and containers and buckets on them.

Azurite is Microsoft's own emulator, run by node; `make test-clouds` installs it. gcp-storage-emulator runs in this
process. It does not do two things that Google's storage does, so they are added here: it ignores preconditions, and it
changes line ends in what is uploaded with its metadata.

What is tested there runs only with --clouds, for it takes minutes more: the tests that ask for a bucket, on each.
"""

import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

AZURITE = Path(__file__).parents[1] / ".tools/azurite/node_modules/.bin/azurite-blob"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that Azurite's documentation names: it opens nothing else."""
NOT_ASKED_FOR = "Azure's and Google's emulators: `make test-clouds` runs it"
_asked: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--clouds", action="store_true", help="run the tests of storages on Azure's and Google's emulators too"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a bucket on S3 alone, or on each kind of storage."""
    kinds = ["s3", "abfs", "gs"] if metafunc.config.getoption("--clouds") else ["s3"]
    if "bucket_kind" in metafunc.fixturenames:
        metafunc.parametrize("bucket_kind", kinds)
    if "place_kind" in metafunc.fixturenames:
        metafunc.parametrize("place_kind", ["folder", *kinds, "other"])


# ---------------------------------------------------------------- Azure


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Azurite, one for all tests of a process."""
    if not AZURITE.exists():
        pytest.skip(f"There is no Azurite at {AZURITE}: `make test-clouds` installs it.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(AZURITE), "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    folder = tmp_path_factory.mktemp("azurite")
    running = subprocess.Popen([*command, "--blobPort", str(port)], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, running)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def _wait_for(port: int, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert running.poll() is None and time.monotonic() < deadline, "Azurite does not start"
            time.sleep(0.1)


def ask_azure_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Azure asked at an endpoint, by this process and by those that it starts."""
    import adlfs

    account = f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};BlobEndpoint={endpoint}/devstoreaccount1;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"DefaultEndpointsProtocol=http;{account}")
    if _asked.get("abfs") != endpoint:
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        _asked["abfs"] = endpoint


# ---------------------------------------------------------------- Google


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """The address of gcp-storage-emulator, one for all tests of a process."""
    from gcp_storage_emulator import server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)  # what is not there is an error to it
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server, "Router", _keeping_preconditions(server.Router))
        patched.setattr(server, "_read_data", _keeping_bytes(server._read_data, server._read_raw_data))
        running = server.create_server("127.0.0.1", 0, in_memory=True)
        running._api.daemon = True
        running.start()
        while running._api._httpd is None:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{running._api._httpd.server_address[1]}"
        running.stop()


def _keeping_preconditions(router: Any) -> Any:
    from gcp_storage_emulator.exceptions import NotFound

    lock = threading.Lock()

    class Router(router):
        def handle(self, method: str) -> None:
            asked = urlsplit(self._request_handler.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            if method != "POST" or "ifGenerationMatch" not in query or "name" not in query:
                super().handle(method)
                return
            with lock:
                bucket = asked.path.split("/")[5]  # /upload/storage/v1/b/BUCKET/o
                if query["ifGenerationMatch"] == self._generation(bucket, query["name"]):
                    super().handle(method)
                    return
            self._request_handler.rfile.read(int(self._request_handler.headers["Content-Length"]))
            self._refuse()

        def _generation(self, bucket: str, name: str) -> str:
            try:
                return str(self._request_handler.storage.get_file_obj(bucket, name)["generation"])
            except NotFound:
                return "0"

        def _refuse(self) -> None:
            data = json.dumps({"error": {"code": 412, "message": "conditionNotMet"}}).encode()
            self._request_handler.send_response(HTTPStatus.PRECONDITION_FAILED)
            self._request_handler.send_header("Content-Length", str(len(data)))
            self._request_handler.end_headers()
            self._request_handler.wfile.write(data)

    return Router


def _keeping_bytes(read_data: Any, read_raw_data: Any) -> Any:
    """Return the emulator's reader of a request, which takes a file that comes with its metadata as it is."""

    def read(handler: Any, query: Any) -> Any:
        kind = handler.headers.get("Content-Type") or ""
        if not kind.startswith("multipart/related"):
            return read_data(handler, query)
        boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
        _, meta, content, _ = read_raw_data(handler).split(boundary)
        head, _, body = content.partition(b"\n\n")
        return {
            "meta": json.loads(meta.partition(b"\n\n")[2]),
            "content": body.removesuffix(b"\n"),
            "content-type": head.partition(b":")[2].strip().decode(),
        }

    return read


def ask_google_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Google asked at an endpoint, by this process and by those that it starts."""
    from fsspec.config import conf

    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else each bucket's kind is asked for by gRPC
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")  # which fsspec reads when it is imported
    monkeypatch.setitem(conf, "gs", {"token": "anon"})
    import gcsfs

    if _asked.get("gs") != endpoint:
        gcsfs.GCSFileSystem.clear_instance_cache()
        _asked["gs"] = endpoint
