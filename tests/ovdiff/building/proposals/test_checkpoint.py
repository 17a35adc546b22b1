import hashlib
import io
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from torch import nn

from ovdiff.building.proposals.checkpoint import checkpoint_file, load_weights, read_checkpoint
from ovdiff.errors import WeightsError
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


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"weight": _Code()}}, "torch.pth")
    Path("plain.pkl").write_bytes(pickle.dumps({"model": {"weight": _Code()}}, protocol=2))
    for name in ("torch.pth", "plain.pkl"):
        with pytest.raises(WeightsError, match=rf"{name} cannot be read as a checkpoint.*weights_only=True"):
            read_checkpoint(Path(name))
    assert not Path("was_run").exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors", "empty.pth", "empty.safetensors"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"\x80\x02 this is no checkpoint, whatever its name says")
    with pytest.raises(WeightsError, match=f"{name} cannot be read as a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"weight": 3}}, "holds something of type int under 'weight'; expected nothing but tensors"),
        ({"model": {}}, "holds nothing; expected tensors by name"),
        ([torch.zeros(1)], "holds something of type list; expected tensors by name"),
        ({"optimizer": {"lr": 1.0}}, "holds something of type dict under 'optimizer'"),
    ],
)
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "odd.pth")


def test_weights_that_do_not_fit_are_named_and_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    weights = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(3), "2.weight": torch.zeros(1)}
    message = (
        r"odd\.pth is not a checkpoint of this Sequential with its 4 entries: 2 missing, such as '1\.bias'; "
        r"1 unknown, such as '2\.weight'; 1 of another shape, such as '0\.weight' \(2, 2\) instead of \(3, 2\)"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights(model, weights, Path("odd.pth"))


def test_constants_of_old_checkpoints_are_no_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    constants = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors.0")
    weights = {"weight": torch.full((1, 1), 3.0), **dict.fromkeys(constants, torch.zeros(3))}
    load_weights(model, weights, Path("old.pth"))
    assert model.weight.item() == 3.0
