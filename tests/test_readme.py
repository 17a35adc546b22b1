"""The README's commands for corrected annotations, run as they stand there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from backend.command import cli

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/converters/golden"
LEFT_BEHIND = 3  # of the golden export: a skipped task, a second annotator, an image without annotations


def _commands(heading: str) -> list[list[str]]:
    """Return the `ovdiff` commands of the first code block under a heading, without their comments."""
    section = (ROOT / "README.md").read_text("utf-8").split(f"## {heading}\n", 1)[1]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    lines = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    return [words[1:] for words in lines if words[:1] == ["ovdiff"]]


def test_three_commands_make_a_coco_file_and_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(GOLDEN / "corrections_api.json", "export.json")
    shutil.copy(GOLDEN / "corrections_config.xml", "config.xml")
    commands = _commands("Corrected annotations")
    assert len(commands) == 3
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
