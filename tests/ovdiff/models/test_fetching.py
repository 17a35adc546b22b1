"""What is fetched from a hub, and loads from there, is in test_hub.py."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.errors import WeightsError
from ovdiff.models.fetching import require_files
from ovdiff.presets import Preset, load_preset
from ovdiff.vocabulary import Category
from tests.fakes.scripted_server import scripted_server


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network on which no name is known; the list holds the names that were asked for."""
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    return asked


def _missing(preset: Preset, *stages: str) -> str:
    with pytest.raises(WeightsError) as caught:
        require_files(preset, *stages)  # type: ignore[arg-type]
    return str(caught.value)


def test_all_that_is_missing_is_named_at_once(no_network: list[str]) -> None:
    """It took more than a minute to name one of five sources."""
    message = _missing(load_preset("fast"), "images", "masks", "features")
    for model in ("generator", "generator.adapter", "clip", "dino", "dinov2"):
        assert f" {model}: " in message
    assert "ConnectionError" in message and "about 2133 MB" in message
    assert "`ovdiff presets fetch fast --to FOLDER`" in message
    assert len(no_network) == 1  # one question, and not one for each of the models or six tries of each


def test_an_engine_says_so_before_it_loads_anything(no_network: list[str], tmp_path: Path) -> None:
    engine = Engine(load_preset("fast"), Bank(tmp_path / "bank"))
    with pytest.raises(WeightsError, match=r"Missing: generator: .*; dinov2: "):
        engine.build(Category("boat"))
    with pytest.raises(WeightsError, match=r"Missing: clip: .*; dinov2: "):
        engine.encode(None)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"Missing: clip: .*; dinov2: "):  # what the service's /ready tells
        engine.load_models()


def test_a_hub_that_is_switched_off_is_not_asked(no_network: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in _missing(load_preset("fast"), "features")
    assert no_network == []


def test_whatever_answers_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server() as server:  # it answers HEAD with 501
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        require_files(load_preset("fast"), "features")


def test_a_hub_that_accepts_and_stays_silent_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovdiff.models.fetching.REACH_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "ReadTimeout" in _missing(load_preset("fast"), "features")


def test_a_checkpoint_s_own_host_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def head(address: str, **_: object) -> requests.Response:
        asked.append(address)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    preset = load_preset("paper")
    host = "https://" + preset.models.cutler.source.split("/")[2]  # type: ignore[union-attr]
    assert host in _missing(preset, "masks")
    assert asked == [host]


def test_a_local_folder_that_does_not_exist_is_named_with_the_rest(no_network: list[str], tmp_path: Path) -> None:
    fast = load_preset("fast")
    assert fast.models.dinov2
    mine = replace(fast.models, dinov2=replace(fast.models.dinov2, source=str(tmp_path / "gone")))
    message = _missing(replace(fast, models=mine), "features")
    assert f"{tmp_path / 'gone'}: no such folder or file" in message
    assert " clip: " in message and " dinov2: " in message


def test_an_unusual_local_folder_is_left_to_its_loader(no_network: list[str], tmp_path: Path) -> None:
    tinyworld = load_preset("tinyworld")
    assert tinyworld.models.dino
    mine = replace(tinyworld.models, dino=replace(tinyworld.models.dino, source=str(tmp_path)))
    require_files(replace(tinyworld, models=mine), "features")
    assert no_network == []
