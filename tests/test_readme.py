"""The README's Python, and its commands for corrected annotations and for changing masks, run as they stand there.

Every other command of README.md and of the pages in docs/ is parsed: it exists, and so do its options.
"""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from backend.command import cli
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.tinyworld.world import Rendering, render, sample_scene
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio, running

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/converters/golden"
_CALL = re.compile(r"^ *(ovdiff [a-z].*)$", re.MULTILINE)
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


@pytest.fixture(scope="module")
def after_the_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder in which the README's Python ran, and its result."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        exec(_block("From Python", "python"), names)
    return folder, names["result"]


@pytest.mark.slow
def test_the_python_finds_the_boat_of_the_drawn_scene(
    after_the_python: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = after_the_python
    monkeypatch.chdir(folder)
    scene = render(sample_scene(242, "test", things=2), 256)
    assert np.array_equal(np.asarray(Image.open("examples/scene.png")), scene.image)
    assert result.names == ("boat", "sky", "water") == result.found
    boat, true = result.masks["boat"], scene.mask("boat")
    assert boat.dtype == bool and boat.shape == (256, 256)
    assert (boat & true).sum() / (boat | true).sum() > 0.7
    assert 0.5 < result.scores["boat"] <= 1
    assert (result.label_map == 1).sum() == boat.sum() and result.label_map.dtype == "int32"
    assert len(list(Path("ovdiff-data/bank").glob("*.safetensors"))) == 3


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


@pytest.mark.slow
def test_three_commands_explain_a_mask_and_change_the_next_one(
    after_the_python: tuple[Path, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They use what the README's Python has built, as its page says that they do."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(after_the_python[0], tmp_path, symlinks=True, dirs_exist_ok=True)
    scene = render(sample_scene(242, "test", things=2), 256)
    _write_project(scene)
    explain, reject, learn = _commands("Why this mask, and how to change it")
    with running(FakeLabelStudio()) as server:
        server.files["/data/upload/1/scene.png"] = ("image/png", Path("examples/scene.png").read_bytes())
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        assert cli.main(explain) == 0
        x, y = (int(each) for each in explain[explain.index("--at") + 1].split(","))
        assert scene.mask("boat")[y, x] and "boat" in capsys.readouterr().out.splitlines()[0]
        assert min(Image.open("why.png").size) > 300
        bank = Path("ovdiff-data/bank")
        built = set(bank.glob("*.safetensors"))
        assert cli.main(reject) == 0
        drawn = {path: path.stat().st_mtime_ns for path in (bank / "support").rglob("batch-*/*.png")}
        assert cli.main(learn) == 0
    assert len(set(bank.glob("*.safetensors")) - built) == 1  # the boat without what was rejected
    assert drawn == {path: path.stat().st_mtime_ns for path in (bank / "support").rglob("batch-*/*.png")}
    assert len(list((bank / "lessons").glob("*.safetensors"))) == 1
    assert "1 lessons taken" in capsys.readouterr().out


def _write_project(scene: Rendering) -> None:
    """Write an export of one task, whose image has its true masks as brushes, and its label config."""
    names = ("boat", "sky", "water")
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    tags = f'<Image name="image" value="$image"/><BrushLabels name="label" toName="image">{labels}</BrushLabels>'
    results = [
        {
            "id": name,
            "from_name": "label",
            "to_name": "image",
            "type": "brushlabels",
            "original_width": 256,
            "original_height": 256,
            "value": {"format": "rle", "rle": mask_to_brush_rle(scene.mask(name)), "brushlabels": [name]},
        }
        for name in names
    ]
    task = {"id": 1, "data": {"image": "/data/upload/1/scene.png"}, "annotations": [{"id": 1, "result": results}]}
    Path("project-1").mkdir()
    Path("project-1/export.json").write_text(json.dumps([task]))
    Path("project-1/config.xml").write_text(f"<View>{tags}</View>")


def _lines() -> list[tuple[str, str]]:
    """Return the file and the text of each line that calls `ovdiff` in README.md and docs/."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [(file.name, line) for file in files for line in _CALL.findall(file.read_text("utf-8").replace("\\\n", " "))]


def test_code_inside_a_list_is_part_of_its_item_on_the_site_too() -> None:
    """Python-Markdown asks for four columns; with three, as GitHub takes them, the numbers began anew at 1."""
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        assert not re.findall(r"^ {1,3}```.*", file.read_text("utf-8"), re.MULTILINE), file.name


def test_every_part_of_the_command_is_shown() -> None:
    named = {line.split()[1] for _, line in _lines()}
    assert {"serve", "segment", "prototypes", "presets", "export", "convert", "evaluate-corrections"} <= named
    assert {"import", "validate"} <= named


@pytest.mark.parametrize(("file", "line"), _lines())
def test_the_parser_takes_every_command_as_it_is_written(
    file: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()  # the parser looks for the folder of --images
    words = shlex.split(line.partition(" > ")[0], comments=True)
    assert cli._parser().parse_args(words[1:])


def test_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit):
        cli._parser().parse_args(["segment", "--no-such-option", "scene.png"])
