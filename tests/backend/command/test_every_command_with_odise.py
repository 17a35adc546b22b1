"""Every command of `ovdiff` with a preset of the second engine: it works, or it says in words what to do instead.

The commands of the converters use no engine and are not tried here. `ovdiff serve` with this engine is tried by
tests/end_to_end/test_second_engine.py.
"""

import argparse
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.tinyworld.world import render, sample_scene

pytestmark = pytest.mark.slow

PRESET = "odise_tinyworld"
WORDS = '--categories "balloon, sky"'
INSTEAD = "Take a preset of the engine ovdiff, such as tinyworld or fast"
NO_SETS = "has no support sets that people can change"
CONFIG = """<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">
<Label value="balloon"/><Label value="sky"/></BrushLabels></View>"""


@dataclass(frozen=True)
class Tried:
    """A command line and what comes of it.

    Attributes:
        line: the arguments after the command's own name; `--preset` is added where the command has it.
        status: the exit status.
        says: a part of what it prints.
        refused: whether it also says that this engine cannot, and what can.
    """

    line: str
    status: int
    says: str
    refused: bool = False


def _cannot(line: str, says: str) -> Tried:
    return Tried(line, 2, says, refused=True)


TRIED = {
    "segment": Tried(f"scene.png {WORDS} --out out --indexed --coco found.json --instances", 0, "1 segmented"),
    "explain": _cannot(f"scene.png {WORDS} --at 10,10", "cannot say why a place has its label"),
    "diff-predictions": Tried(f"scene.png {WORDS} --after remove=sky", 0, "1 of 1 images change"),
    "novelties": _cannot(f"scene.png {WORDS}", "does not find what a vocabulary lacks"),
    "evaluate": Tried("drawn --limit 1 --out evaluation", 0, "1 images of drawn"),
    "reproduce": Tried("drawn --limit 1 --out reproduction", 0, "prefilter: cannot be compared"),
    "ablate": Tried("drawn --limit 1 --rows full --out ablation", 0, "1 rows, 1 with their seeds"),
    "plan": Tried("--images 100", 2, "Nobody counted what the preset 'odise_tinyworld' costs"),
    "compare-evaluations": Tried("evaluation", 2, "Name the folders of two or more."),
    "prototypes build": Tried('"balloon, sky"', 0, "balloon: ready"),
    "prototypes list": Tried("", 0, "no prototypes in the bank"),
    "prototypes show": _cannot("balloon", "keeps no support images"),
    "prototypes remove": Tried("balloon --yes", 2, "No prototypes of 'balloon'"),
    "prototypes reject": _cannot("balloon 1", NO_SETS),
    "prototypes restore": _cannot("balloon 1", NO_SETS),
    "prototypes add-exemplar": _cannot("balloon scene.png mask.png", NO_SETS),
    "prototypes remove-exemplar": _cannot("balloon scene.png", NO_SETS),
    "prototypes backgrounds": _cannot("balloon", NO_SETS),
    "prototypes ban": _cannot("balloon 1", NO_SETS),
    "prototypes unban": _cannot("balloon 1", NO_SETS),
    "prototypes promote": _cannot("balloon 1 sky", NO_SETS),
    "prototypes diff": Tried("balloon sky", 2, "No prototypes of 'balloon'"),
    "prototypes export": Tried("bank.zip balloon", 2, "No prototypes of 'balloon'"),
    "prototypes import": _cannot("bank.zip", NO_SETS),
    "prototypes curation": _cannot("balloon", NO_SETS),
    "lint": _cannot(WORDS, "makes no forecasts"),
    "next-tasks": _cannot(f"scene.png {WORDS}", "takes no lessons from annotations"),
    "presets list": Tried("", 0, "odise_tinyworld: ODISE on the embedded world"),
    "presets show": Tried(PRESET, 0, 'engine = "odise"'),
    "presets check": Tried(PRESET, 0, "all weights are here"),
    "presets fetch": Tried(f"{PRESET} --to weights", 0, "3/3 head: here already"),
    "presets calibrate": _cannot('"balloon, sky" --out mine.toml', "keeps no support images to fit scores on"),
    "projects list": Tried("", 0, "no projects"),
    "projects forget": Tried("3", 2, "There is no project '3'"),
    "export": Tried("--project 3", 1, "LABEL_STUDIO_API_KEY is not set"),
    "prelabel": Tried("--project 3", 1, "LABEL_STUDIO_API_KEY is not set"),
    "completion": Tried("bash", 0, "_shtab_ovdiff"),
    "learn": _cannot("export.json --label-config config.xml --images .", "takes no lessons from annotations"),
    "lessons list": Tried("", 0, "no lessons"),
    "lessons show": Tried("abcdef", 2, "No lesson 'abcdef'"),
    "lessons on": Tried("abcdef", 2, "No lesson 'abcdef'"),
    "lessons off": Tried("abcdef", 2, "No lesson 'abcdef'"),
    "lessons remove": Tried("abcdef --yes", 2, "No lesson 'abcdef'"),
    "odise train": Tried("--labels no-export.json --out head", 1, "no-export.json"),
    "odise convert": Tried("released.pth --out head", 2, "NON-COMMERCIAL"),
    "settings": Tried("", 0, PRESET),
}
ELSEWHERE = {"serve"}


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """Give each command that runs with settings, and whether it takes a preset."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in (item for group in groups for item in group.choices.items()):
        yield from _leaves(command, (*words, name))
    if not groups and parser.get_default("act") is not None:
        yield " ".join(words), any("--preset" in action.option_strings for action in parser._actions)


COMMANDS = dict(_leaves(cli._parser()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a scene, a mask of its sky, an export and a label config; the preset is the default one, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", "data")
    monkeypatch.setenv("OVDIFF_PRESET", PRESET)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    scene = render(sample_scene(1, "test", things=2), 128)
    sky = scene.mask("sky")
    Image.fromarray(scene.image).save("scene.png")
    Image.fromarray(sky.astype(np.uint8) * 255).save("mask.png")
    value = {"format": "rle", "rle": mask_to_brush_rle(sky), "brushlabels": ["sky"]}
    region = {"id": "r", "from_name": "b", "to_name": "i", "type": "brushlabels", "value": value}
    annotation = {"id": 1, "result": [region | {"original_width": 128, "original_height": 128}]}
    task = {"id": 1, "data": {"image": "/data/local-files/?d=scene.png"}, "annotations": [annotation]}
    Path("export.json").write_text(json.dumps([task]))
    Path("config.xml").write_text(CONFIG)


def test_no_command_is_forgotten() -> None:
    assert set(COMMANDS) == set(TRIED) | ELSEWHERE
    assert sum(tried.refused for tried in TRIED.values()) == 17


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", TRIED)
def test_a_command_works_or_says_what_to_do_instead(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    tried = TRIED[command]
    preset = ["--preset", PRESET] if COMMANDS[command] else []
    status = cli.main([*command.split(), *shlex.split(tried.line), *preset])
    said = capsys.readouterr()
    assert status == tried.status, said.err
    assert tried.says in said.out + said.err
    assert "Traceback" not in said.err
    refusal = f"The engine 'odise' of the preset '{PRESET}' {tried.says}"
    assert (refusal in said.err and INSTEAD in said.err) == tried.refused
    if tried.refused:
        assert not said.out and not Path("data").exists()
