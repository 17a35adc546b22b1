"""`ovdiff explain` on the embedded models: a real image in; text, JSON and a picture out. Bad places are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend import engine as engines
from backend.command import cli
from ovdiff.bank import Bank
from ovdiff.presets import Preset
from ovdiff.tinyworld.world import render, sample_scene
from tests.fakes.engine import FakeEngine

PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 5\n'
WORDS = ["--categories", "balloon, sky"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    Image.fromarray(render(sample_scene(1, "test", things=2), 128).image).save(folder / "scene.png")
    Image.fromarray(np.pad(np.full((40, 128), 255, np.uint8), ((0, 88), (0, 0)))).save(folder / "top.png")
    (folder / "quick.toml").write_text(PRESET)
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(folder / "data"))


def _run(*arguments: str) -> int:
    return cli.main(["explain", *arguments, "--preset", "quick.toml", "--bank", "bank"])


@pytest.mark.slow
def test_a_pixel_as_text_and_picture_and_a_region_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("scene.png", *WORDS, "--at", "60,10", "--out", "why.png") == 0
    text = capsys.readouterr().out
    label = text.split("scene.png at 60,10: ")[1].splitlines()[0]
    assert label in ("balloon", "sky", "background")
    assert "votes " in text and "stable_diffusion" in text and "part check" in text and "picture: why.png" in text
    assert Image.open("why.png").width > 1000
    assert _run("scene.png", *WORDS, "--region", "top.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pixels"] == 40 * 128 and found["image"] == "scene.png"
    for rival in found["rivals"]:
        total = sum(vote["weight"] * vote["scores"][rival["name"]] for vote in found["votes"])
        assert total == pytest.approx(rival["score"], abs=1e-5)
    assert all(source["images"] for source in found["prototypes"])
    assert cli.main(["segment", "scene.png", *WORDS, "--preset", "quick.toml", "--bank", "bank", "--indexed"]) == 0
    drawn = np.asarray(Image.open("scene.indexed.png"))[10, 60]
    assert label == ("background", "balloon", "sky")[drawn]


@pytest.mark.slow
def test_a_place_outside_and_a_mask_of_another_size_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("scene.png", *WORDS, "--at", "128,5") == 1
    assert "scene.png: The pixel (128, 5) lies outside the image of 128 x 128 px" in capsys.readouterr().err
    Image.fromarray(np.full((20, 30), 255, np.uint8)).save("small.png")
    assert _run("scene.png", *WORDS, "--region", "small.png") == 1
    assert "shape (20, 30), and the image (128, 128)" in capsys.readouterr().err
    Image.fromarray(np.zeros((128, 128), np.uint8)).save("empty.png")
    assert _run("scene.png", *WORDS, "--region", "empty.png") == 1
    assert "mask is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["scene.png", *WORDS, "--at", "left"], 2, "expected a pixel X,Y such as 120,80, got 'left'"),
        (["scene.png", *WORDS, "--at", "1,2", "--region", "top.png"], 2, "not allowed with argument"),
        (["scene.png", *WORDS], 2, "one of the arguments --at --region is required"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(*arguments)
    assert caught.value.code == status and message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["none.png", *WORDS, "--at", "1,2"], 1, "none.png: it cannot be read: No such file"),
        (["quick.toml", *WORDS, "--at", "1,2"], 1, "quick.toml: "),
        (["scene.png", *WORDS, "--region", "none.png"], 1, "--region none.png: "),
        (["scene.png", *WORDS, "--at", "128,5"], 1, "scene.png: The pixel (128, 5) lies outside the image"),
        (["scene.png", *WORDS, "--at", "1,2", "--out", "why.jpg"], 2, "--out is 'why.jpg'; expected"),
    ],
)
def test_files_that_cannot_be_used_are_refused_before_anything_is_built(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.command.explain.build_missing", lambda *_: pytest.fail("something was built"))
    assert _run(*arguments) == status
    assert message in capsys.readouterr().err


def test_an_engine_that_cannot_explain_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(preset: Preset, bank: Bank, device: str) -> FakeEngine:
        return FakeEngine(bank.folder, preset.name)

    monkeypatch.setattr(engines, "make_engine", make)
    assert _run("scene.png", *WORDS, "--at", "1,2") == 2
    assert "The engine 'fake' of the preset 'quick' cannot say why a place has its label." in capsys.readouterr().err
