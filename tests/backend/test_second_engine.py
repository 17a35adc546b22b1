"""A second engine, from a package of its own, through the service and the command line: nothing asks which it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from PIL import Image

from backend.command import cli
from backend.serving.service import Service
from backend.settings import Settings
from ovdiff import Bank
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.engines.building import HasKinds, HasSupportSets
from tests.fakes.fixtures import label_studio, make_app, settings  # noqa: F401 - fixtures
from tests.fakes.installing import install_here
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.pictures import encoded, red_and_blue

PROJECT = Path(__file__).parents[1] / "fakes/second_engine"
PRESET = str(PROJECT / "words.toml")
CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">
<Label value="red"/><Label value="blue"/></BrushLabels></View>"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_here(PROJECT, tmp_path / "site", monkeypatch)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def app(make_app: Callable[..., Flask], settings: Settings) -> Flask:  # noqa: F811
    return make_app(replace(settings, preset=PRESET), None)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(red_and_blue()))
    return path


def test_the_service_predicts_with_the_engine_that_the_preset_names(app: Flask) -> None:
    service: Service = app.extensions["ovdiff"]
    task: dict[str, Any] = {"id": 1, "data": {"image": "/data/upload/1/picture.png"}}
    (item,) = service.predict(PROJECT_UID, [task], CONFIG)
    assert [region["value"]["brushlabels"] for region in item["result"]] == [["blue"], ["red"]]
    assert item["model_version"] == service.setup(PROJECT_UID, CONFIG)["model_version"]
    (project,) = service.status()["projects"].values()
    assert [(row["state"], row["kind"]) for row in project["categories"]] == [("ready", None), ("ready", None)]


def test_the_command_segments_with_it(scene: Path, tmp_path: Path) -> None:
    command = ["segment", str(scene), "--categories", "red, blue", "--preset", PRESET, "--coco", "masks.json"]
    assert cli.main([*command, "--indexed", "--out", "out"]) == 0
    labels = np.array(Image.open(tmp_path / "out/scene.indexed.png"))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert {entry["name"] for entry in json.loads((tmp_path / "masks.json").read_text())["categories"]} == {
        "red",
        "blue",
    }


def test_a_category_that_it_cannot_prepare_is_named(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["segment", str(scene), "--categories", "red, mauve", "--preset", PRESET]) == 1
    assert "mauve: 'mauve' names no colour; expected one of red, green, blue." in capsys.readouterr().err


def test_its_preset_is_shown_as_a_file_that_loads_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets", "show", PRESET]) == 0
    text = capsys.readouterr().out
    assert "reader: some/reader @ 1234567890ab\n#       MIT: commercial use is allowed" in text
    assert "tolerance = 60 # grey levels; JPEG's colours are not exact" in text
    (tmp_path / "mine.toml").write_text(text.replace("tolerance = 60", "tolerance = 50"))
    assert vars(load_any_preset("mine.toml"))["tolerance"] == 50


def test_the_bank_says_that_it_may_keep_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prototypes", "build", "red", "--preset", PRESET]) == 0
    assert cli.main(["prototypes", "list"]) == 0
    assert "an engine of another package may keep its own elsewhere" in capsys.readouterr().out


def test_what_it_cannot_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = make_engine(load_any_preset(PRESET), Bank(tmp_path / "data/bank"), "cpu")
    assert not isinstance(engine, HasSupportSets | HasKinds)
    assert cli.main(["prototypes", "show", "red", "--preset", PRESET]) == 2
    assert "The engine 'words' of the preset 'words' keeps no support images" in capsys.readouterr().err
    assert cli.main(["prototypes", "build", "red", "--preset", PRESET, "--device", "cuda"]) == 2
    assert "Device 'cuda' cannot be used: words need none. Name another device" in capsys.readouterr().err
