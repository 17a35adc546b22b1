"""Commands of `ovdiff` with a baseline: those that every engine can do work, the others say in words what to do.

All commands with an engine besides OVDiff are tried by tests/backend/command/test_every_command_with_odise.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from ovdiff.tinyworld.world import render, sample_scene

pytestmark = pytest.mark.slow

PRESET = ["--preset", "clip_surgery_tinyworld"]
WORDS = ["--categories", "balloon, sky, grass"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", "data")
    Image.fromarray(render(sample_scene(1, "test", things=2), 128).image).save("scene.png")


@pytest.mark.usefixtures("here")
def test_an_image_is_segmented(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["--out", "masks", "--indexed", "--coco", "found.json"]
    assert cli.main(["segment", "scene.png", *WORDS, *outputs, *PRESET]) == 0
    assert "1 segmented" in capsys.readouterr().out
    labels = np.asarray(Image.open("masks/scene.indexed.png"))
    assert labels.shape == (128, 128) and labels.any() and labels.max() <= 3
    found = json.loads(Path("found.json").read_text())
    assert {entry["category_id"] for entry in found["annotations"]} == set(np.unique(labels[labels > 0]).tolist())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["prototypes", "build", "balloon"], 0, "balloon: ready"),
        (["diff-predictions", "scene.png", *WORDS, "--after", "remove=sky"], 0, "of 1 images change"),
        (["explain", "scene.png", *WORDS, "--at", "9,9"], 2, "cannot say why a place has its label"),
        (["segment", "scene.png", *WORDS, "--coco", "found.json", "--instances"], 2, "clip_dense"),
        (["lint", *WORDS], 2, "makes no forecasts"),
    ],
)
def test_commands_work_or_say_what_to_do(
    line: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*line, *PRESET]) == status
    said = capsys.readouterr()
    assert says in said.out + said.err and "Traceback" not in said.err


@pytest.mark.usefixtures("here")
def test_it_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "drawn", "--limit", "2", "--out", "result", *PRESET]) == 0
    assert "mIoU" in capsys.readouterr().out
    figures = json.loads(Path("result/result.json").read_text())
    assert figures["preset"]["name"] == PRESET[1] and 0 < figures["figures"]["measures"]["miou"] < 1


@pytest.mark.usefixtures("here")
def test_weights_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets", "check", "clip_surgery_tinyworld"]) == 0
    assert "all weights are here" in capsys.readouterr().out
