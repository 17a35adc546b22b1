import hashlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ovdiff.errors import WeightsError
from ovdiff.models.checkpoint_file import checkpoint_file
from ovdiff.presets.model_settings import CheckpointSettings
from tests.fakes.scripted_server import ScriptedServer, scripted_server

ADDRESS = "https://weights.example/files/model.pth?download=true"
TERMS = "NON-COMMERCIAL: not for commercial use"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server that stands for https://weights.example, and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    get = requests.get
    with scripted_server() as server:

        def routed(address: str, **options: Any) -> requests.Response:
            response = get(address.replace("https://weights.example", server.url), **options)
            if response.status_code != 203:  # how these tests say "redirected to http"
                response.url = address
            return response

        monkeypatch.setattr(requests, "get", routed)
        yield server


def _settings(**changes: str) -> CheckpointSettings:
    return CheckpointSettings(**{"source": ADDRESS, **changes})


def _left_behind(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_file_is_fetched_once_and_its_terms_are_said_before(
    host: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    host.answers["GET /files/model.pth"] = (200, b"weights")
    with caplog.at_level(logging.WARNING):
        path = checkpoint_file(_settings(), TERMS)
        assert ADDRESS in caplog.text and TERMS in caplog.text
        assert (path.name, path.read_bytes()) == ("model.pth", b"weights")
        caplog.clear()
        assert checkpoint_file(_settings(), TERMS) == path
    assert len(host.requests) == 1 and not caplog.text


def test_nothing_is_fetched_before_its_terms_are_said(host: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WeightsError):
        checkpoint_file(_settings(), TERMS)
    assert TERMS in caplog.text


def test_files_of_two_addresses_are_two_files(host: ScriptedServer) -> None:
    host.answers |= {"GET /a/model.pth": (200, b"one"), "GET /b/model.pth": (200, b"other")}
    paths = [checkpoint_file(_settings(source=f"https://weights.example/{name}/model.pth"), "") for name in "ab"]
    assert [path.read_bytes() for path in paths] == [b"one", b"other"]


def test_what_cannot_be_fetched_is_to_be_downloaded_by_hand(host: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be fetched: 404.*Download it by hand.*path as the source"):
        checkpoint_file(_settings(), TERMS)
    assert _left_behind(tmp_path) == []


def test_a_fetched_file_with_another_hash_is_not_kept(host: ScriptedServer, tmp_path: Path) -> None:
    host.answers["GET /files/model.pth"] = (200, b"weights")
    with pytest.raises(WeightsError, match=r"SHA-256 .*; the preset's sha256 is 00.*damaged, or is another file"):
        checkpoint_file(_settings(sha256="00" * 32), TERMS)
    assert _left_behind(tmp_path) == []
    right = hashlib.sha256(b"weights").hexdigest().upper()
    assert checkpoint_file(_settings(sha256=right), TERMS).read_bytes() == b"weights"
    with pytest.raises(WeightsError, match="sha256"):  # a cached file is looked at again
        checkpoint_file(_settings(sha256="00" * 32), TERMS)


def test_what_a_killed_fetch_left_goes_with_a_later_one(host: ScriptedServer) -> None:
    host.answers["GET /files/model.pth"] = (200, b"weights")
    path = checkpoint_file(_settings(), TERMS)
    path.unlink()
    left_over = path.with_name(f".{path.name}.0123456789abcdef.partial")
    left_over.write_bytes(b"half")
    os.utime(left_over, (1, 1))
    assert list(checkpoint_file(_settings(), TERMS).parent.iterdir()) == [path]


def test_an_answer_that_is_not_https_is_refused(host: ScriptedServer, tmp_path: Path) -> None:
    host.answers["GET /files/model.pth"] = (203, b"weights")
    with pytest.raises(WeightsError, match="which is not https"):
        checkpoint_file(_settings(), TERMS)
    assert _left_behind(tmp_path) == []


def test_half_a_file_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def broken(address: str, **_: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response.raw = 200, address, _BreaksOff(b"half")
        return response

    monkeypatch.setattr(requests, "get", broken)
    with pytest.raises(WeightsError, match="cannot be fetched: the line broke"):
        checkpoint_file(_settings(), TERMS)
    assert _left_behind(tmp_path) == []


class _BreaksOff(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if not piece:
            raise requests.ConnectionError("the line broke")
        return piece


@pytest.mark.parametrize("source", ["nowhere/model.pth", "http://weights.example/model.pth"])
def test_a_file_that_is_not_there(source: str) -> None:
    with pytest.raises(WeightsError, match=f"'{source}' does not exist"):
        checkpoint_file(_settings(source=source), TERMS)


def test_a_local_file_is_used_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"weights")
    assert checkpoint_file(_settings(source=str(path)), TERMS) == path
    with pytest.raises(WeightsError, match=r"model\.pth has the SHA-256"):
        checkpoint_file(_settings(source=str(path), sha256="00" * 32), TERMS)
