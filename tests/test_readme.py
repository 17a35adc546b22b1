"""The README's Python, and its commands for corrected annotations, run as they stand there."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from backend.command import cli
from ovdiff.tinyworld.world import render, sample_scene
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio, running

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/converters/golden"
LEFT_BEHIND = 3  # of the golden export: a skipped task, a second annotator, an image without annotations


def _block(heading: str, language: str) -> str:
    """Return the first code block of a language under a heading."""
    section = (ROOT / "README.md").read_text("utf-8").split(f"## {heading}\n", 1)[1]
    block = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1]


def _commands(heading: str) -> list[list[str]]:
    """Return the `ovdiff` commands of the first code block under a heading, without their comments."""
    lines = [shlex.split(line, comments=True) for line in _block(heading, "bash").splitlines()]
    return [words[1:] for words in lines if words[:1] == ["ovdiff"]]


@pytest.mark.slow
def test_the_python_finds_the_ball_of_a_drawn_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scene = render(sample_scene(33, "test", things=2), 256)
    Image.fromarray(scene.image).save("scene.png")
    names: dict[str, Any] = {}
    exec(_block("From Python", "python"), names)
    result = names["result"]
    assert result.names == ("ball", "sky") == result.found
    ball, true = result.masks["ball"], scene.mask("ball")
    assert ball.dtype == bool and ball.shape == (256, 256)
    assert (ball & true).sum() / (ball | true).sum() > 0.7
    assert 0.5 < result.scores["ball"] <= 1
    assert (result.label_map == 1).sum() == ball.sum() and result.label_map.dtype == "int32"
    assert len(list(Path("ovdiff-data/bank").glob("*.safetensors"))) == 2


def test_three_commands_make_a_coco_file_and_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = FakeLabelStudio(
        label_config=(GOLDEN / "corrections_config.xml").read_text("utf-8"),
        tasks=json.loads((GOLDEN / "corrections_api.json").read_text("utf-8")),
    )
    commands = _commands("Corrected annotations")
    assert len(commands) == 3
    with running(project):
        monkeypatch.setenv("LABEL_STUDIO_URL", project.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        assert [cli.main(words) for words in commands] == [0, LEFT_BEHIND, 0]
    dataset = COCO("coco.json")
    assert len(dataset.getImgIds()) == 3
    assert len(dataset.getAnnIds()) == 6
    assert "What the corrections say" in Path("report/corrections.html").read_text("utf-8")


def test_the_parser_knows_every_command_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"^ovdiff ([a-z-]+)", text, re.MULTILINE))
    assert {"segment", "prototypes", "presets", "convert", "validate", "evaluate-corrections"} <= named
    for command in named:
        with pytest.raises(SystemExit) as stopped:
            cli.main([command, "--help"])
        assert stopped.value.code == 0
