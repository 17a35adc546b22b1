"""Every command of `ovdiff` that answers does so as JSON, too: with --json stdout holds one JSON document and no more.

The commands run one after the other in one folder, with the embedded models and a stand-in for Label Studio.
"""

import argparse
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.command import cli
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.tinyworld.world import render, sample_scene
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.pictures import encoded
from tests.fakes.project_studio import ProjectStudio, running_project

WORDS = '--categories "boat, sky"'
CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">
<Label value="boat"/><Label value="sky"/></BrushLabels></View>"""
EXPORTED = "export.json --label-config config.xml"

WITHOUT = {
    "serve": "it runs until it is ended; what it knows is at /status",
    "completion": "what it prints is a script that a shell reads",
}
"""The commands that answer nothing, and why."""

ELSEWHERE = {
    "lint": "tests/backend/command/test_lint.py::test_the_json_holds_the_whole_forecast_and_nothing_else_is_printed",
    "presets calibrate": "tests/backend/command/test_calibrate.py::test_what_was_fitted_is_told_to_programs",
    "odise train": "tests/backend/command/test_odise_train.py::test_a_head_is_trained_said_to_be_so_and_can_be_used",
    "odise convert": "tests/backend/command/test_odise_convert.py::test_what_was_converted_is_told_to_programs",
}
"""The commands that cost too much with real models, or need what is not here, and the tests that hold their JSON."""

TOLD: dict[str, tuple[str, set[str]]] = {
    "presets list": ("", {"name", "description", "weights"}),
    "presets show": ("tinyworld", {"name", "description", "weights", "preset"}),
    "presets check": ("tinyworld", {"preset", "sources"}),
    "presets fetch": ("tinyworld --to weights", {"preset", "places", "preset_file"}),
    "settings": ("", {"variable", "value", "origin", "unit", "reason"}),
    "prototypes build": ('"boat, sky"', {"category", "prompts", "key", "was_ready", "is_ready", "word", "error"}),
    "prototypes list": ("", {"key", "category", "images", "size_bytes", "judgement", "error"}),
    "prototypes show": ("boat", {"sheet", "key", "category", "images", "refused_images"}),
    "segment": (
        f"scene.png {WORDS} --out out --coco found.json",
        {"images", "categories", "segmented", "failed", "not_done", "coco", "dropped_parts", "hidden_masks"},
    ),
    "explain": (f"scene.png {WORDS} --at 10,10", {"image", "label"}),
    "diff-predictions": (f"scene.png {WORDS} --after remove=sky", {"images", "failed", "not_done"}),
    "novelties": (f"scene.png {WORDS}", {"images", "failed", "not_done", "groups"}),
    "next-tasks": (f"scene.png {WORDS}", {"tasks", "candidates", "taught", "failed", "not_done"}),
    "learn": (f"{EXPORTED} --images .", {"images", "lessons_taken", "already_there", "refused", "contested_px"}),
    "lessons list": ("", {"address", "on", "weight", "source"}),
    "lessons show": ("LESSON", {"address", "present", "cells"}),
    "lessons off": ("LESSON", {"lessons", "on", "weight"}),
    "lessons on": ("LESSON", {"lessons", "on", "weight"}),
    "lessons remove": ("LESSON --yes", {"removed"}),
    "prototypes reject": ("boat 0", {"category", "prompts", "key", "is_ready", "curation"}),
    "prototypes restore": ("boat 0", {"category", "curation"}),
    "prototypes add-exemplar": ("boat photo.jpg mask.png", {"category", "curation"}),
    "prototypes remove-exemplar": ("boat photo.jpg", {"category", "curation"}),
    "prototypes backgrounds": ("boat --out behind.png", {"category", "backgrounds", "sheet"}),
    "prototypes ban": ("boat 4", {"category", "curation"}),
    "prototypes unban": ("boat 0", {"category", "curation"}),
    "prototypes promote": ("boat 4 sky", {"category", "curation"}),
    "prototypes curation": ("boat", {"category", "curation"}),
    "prototypes diff": ("boat sky", {"first", "second", "words", "cosines"}),
    "prototypes export": ("bank.zip", {"file", "keys", "bytes"}),
    "prototypes import": ("bank.zip", {"added", "present", "curated"}),
    "prototypes remove": ("boat --yes", {"removed", "support_sets_removed"}),
    "evaluate": (
        "drawn --preset odise_tinyworld --limit 1 --out evaluation",
        {"dataset", "categories", "preset", "machine", "images", "failed", "figures", "seconds"},
    ),
    "ablate": (
        "drawn --preset odise_tinyworld --limit 1 --rows full --out ablation",
        {"dataset", "preset", "rows", "left_out"},
    ),
    "compare-evaluations": ("evaluation evaluation", {"dataset", "names", "images", "measures", "categories", "notes"}),
    "reproduce": (
        "drawn --preset odise_tinyworld --limit 1 --out reproduction",
        {"dataset", "preset", "reproduced", "comparisons", "stages", "sheets"},
    ),
    "plan": (
        "--images 1e6 --preset fast --gpus 8xH100",
        {"hours", "gpu_hours", "basis", "bottleneck", "at_sizes", "bytes", "memory_bytes", "caching", "stages"},
    ),
    "export": ("--project 1 --out exported", {"tasks", "annotations", "predictions", "written"}),
    "prelabel": ("--project 1 --dry-run", {"project", "predicted", "failures", "seconds"}),
    "doctor": ("", {"ok", "findings"}),
    "projects list": ("", {"uid", "project", "labels"}),
    "projects forget": ("1", {"forgotten"}),
    "convert coco": (f"{EXPORTED} --out coco.json", {"images_in", "regions_out", "left_out", "details", "written"}),
    "convert panoptic": (f"{EXPORTED} --out panoptic", {"images_in", "written"}),
    "convert semantic-png": (f"{EXPORTED} --out semantic", {"images_in", "written"}),
    "convert yolo": (f"{EXPORTED} --out yolo --images .", {"images_in", "mean_iou", "lowest_iou", "written"}),
    "convert voc": (f"{EXPORTED} --out voc", {"images_in", "written"}),
    "convert csv": (f"{EXPORTED} --out regions.csv", {"images_in", "written"}),
    "import coco": ("coco.json --out t1.json --label-config-out c1.xml", {"images_in", "written"}),
    "import panoptic": ("panoptic --out t2.json", {"images_in", "written"}),
    "import semantic-png": ("semantic --out t3.json", {"images_in", "written"}),
    "import yolo": ("yolo --out t4.json", {"images_in", "written"}),
    "join": ("shards --out joined.json", {"shards", "images", "annotations", "left_out", "is_whole", "written"}),
    "thresholds": ("found.json --min-score 0.5 --out fewer.json", {"categories", "annotations_in", "hidden"}),
    "validate": ("broken.json --label-config config.xml", {"file", "kind"}),
    "evaluate-corrections": (f"{EXPORTED} --out report", {"counts", "advice", "written"}),
}
"""The arguments of each command, in the order in which they can run, and names that its answer has."""

FINDS_FAULTS = {"doctor": (0, 1), "validate": (3,), "evaluate-corrections": (0, 3), "convert voc": (0, 3)}
"""The exit status of commands that do not end with 0 here."""


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Give each command, and its options."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in (item for group in groups for item in group.choices.items()):
        yield from _leaves(command, (*words, name))
    if not groups:
        yield " ".join(words), set(parser._option_string_actions)


COMMANDS = dict(_leaves(cli._parser()))


def test_every_command_that_answers_has_json_and_every_command_can_be_quiet() -> None:
    assert {name for name, options in COMMANDS.items() if "--json" not in options} == set(WITHOUT)
    assert [name for name, options in COMMANDS.items() if "--quiet" not in options] == []


def test_no_command_is_forgotten() -> None:
    assert set(COMMANDS) == {*TOLD, *WITHOUT, *ELSEWHERE}
    for test in ELSEWHERE.values():
        path, name = test.split("::")
        assert f"def {name}(" in (Path(__file__).parents[3] / path).read_text()


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a bank, pictures, an export and a label config; a Label Studio with a project of two tasks."""
    scene = render(sample_scene(242, "test", things=2), 128)
    sky = scene.mask("sky")
    Image.fromarray(scene.image).save("scene.png")
    size = {"original_width": 128, "original_height": 128}
    value = {"format": "rle", "rle": mask_to_brush_rle(sky), "brushlabels": ["sky"]}
    region = {"id": "r", "from_name": "b", "to_name": "image", "type": "brushlabels", "value": value, **size}
    prediction = {"id": 5, "model_version": "ovdiff-1", "score": 0.5, "result": [{**region, "score": 0.5}]}
    made: dict[str, Any] = {"id": 1, "result": [region], "completed_by": 7, "parent_prediction": 5}
    image = {"image": "/data/local-files/?d=scene.png"}
    task = {"id": 1, "project": 1, "data": image, "annotations": [made], "predictions": [prediction]}
    Path("export.json").write_text(json.dumps([task]))
    Path("broken.json").write_text('[{"data": {}}]')
    Path("config.xml").write_text(CONFIG)
    rows = {"rows": {"first": 1, "last": 1}, "counts": {"left_out": 0}}
    shard = {"info": rows, "images": [], "categories": [{"id": 1, "name": "boat"}], "annotations": []}
    Path("shards").mkdir()
    Path("shards/shard-000000.json").write_text(json.dumps(shard))
    Path("shards/index.json").write_text('{"shards": [{"file": "shard-000000.json"}]}')
    studio = ProjectStudio(label_config=CONFIG, picture=encoded(scene.image))
    studio.add_tasks(2)
    with running_project(studio):
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        monkeypatch.setenv("OVDIFF_BASIC_PASSWORD", "")
        yield here


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_stdout_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    _store_project()
    wrong, lesson = {}, ""
    for command, (line, names) in TOLD.items():
        capsys.readouterr()
        status = cli.main([*command.split(), *shlex.split(line.replace("LESSON", lesson)), "--json"])
        said = capsys.readouterr()
        try:
            told = json.loads(said.out)
        except ValueError:
            told = []
        rows = told if isinstance(told, list) else [told]
        if status not in FINDS_FAULTS.get(command, (0,)) or not rows or any(names - set(row) for row in rows):
            wrong[command] = (status, said)
        lesson = rows[0]["address"] if command == "lessons list" else lesson
    assert wrong == {}


def _store_project() -> None:
    """Store a project as the service does at its first /setup."""
    from backend.serving.store import Store
    from backend.settings import read_settings

    settings = read_settings()
    Store(settings.state_file, event_rows=settings.prediction.event_rows).save_label_config("1.1700000000", CONFIG)
