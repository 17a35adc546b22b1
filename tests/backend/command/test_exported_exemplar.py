import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.exported_exemplar import AnnotatedTask, exported_exemplar
from backend.errors import UsageError
from tests.backend.command.conftest import run_prototypes

CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">
<Label value="Boat"/><Label value="sky"/></RectangleLabels></View>"""


def _box(label: str, x: float, y: float, width: float, height: float) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 120, "original_height": 90}
    return {"id": f"{x}", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value, **size}


@pytest.fixture
def task(tmp_path: Path) -> AnnotatedTask:
    """An export with a task of two boats and a sky, annotated twice, and one that nobody annotated."""
    older = {"id": 1, "updated_at": "2026-01-01", "result": [_box("Boat", 0, 0, 100, 100)]}
    newer = {"id": 2, "updated_at": "2026-01-02"}
    newer["result"] = [_box("Boat", 10, 50, 20, 20), _box("sky", 0, 0, 100, 30), _box("Boat", 50, 50, 10, 40)]
    data = {"image": "/data/upload/1/0123abcd-photo.png"}
    tasks = [{"id": 12, "data": data, "annotations": [older, newer]}, {"id": 13, "data": data, "annotations": []}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    (tmp_path / "config.xml").write_text(CONFIG)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (120, 90), "navy").save(tmp_path / "pictures/photo.png")
    return AnnotatedTask(tmp_path / "export.json", tmp_path / "config.xml", 12, tmp_path / "pictures")


def test_all_regions_of_the_label_in_the_newest_annotation_are_the_mask(task: AnnotatedTask) -> None:
    image, mask, name = exported_exemplar(task, "boat")
    expected = np.zeros((90, 120), np.bool_)
    expected[45:63, 12:36] = expected[45:81, 60:72] = True
    assert image.shape == (90, 120, 3) and name == "photo.png" and (mask == expected).all()


@pytest.mark.parametrize(
    ("number", "label", "said"),
    [
        (
            12,
            "car",
            r"Task 12 of .*export\.json has no region of 'car'; its labels are Boat, sky\. --label",
        ),
        (13, "boat", "nobody has marked a region there"),
        (14, "boat", "has no task 14 with an image"),
    ],
)
def test_what_is_not_in_the_export_is_said(task: AnnotatedTask, number: int, label: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        exported_exemplar(AnnotatedTask(task.export, task.label_config, number, task.images), label)


def test_an_image_that_is_not_there_is_said(task: AnnotatedTask, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no file '0123abcd-photo\.png'; name the folder .* with --images"):
        exported_exemplar(AnnotatedTask(task.export, task.label_config, 12, tmp_path / "empty"), "boat")


def test_the_command_takes_a_task(task: AnnotatedTask, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--export", str(task.export), "--label-config", str(task.label_config), "--images", str(task.images)]
    assert run_prototypes(capsys, "add-exemplar", "boat", *asked, "--task", "12")[0] == "boat: 1 exemplar"
    assert run_prototypes(capsys, "curation", "boat")[1].endswith("from task 12 of export.json")
    for wrong in (["boat", *asked], ["boat", "photo.jpg"], ["boat", "a.jpg", "mask.png", *asked, "--task", "12"]):
        assert cli.main(["prototypes", "add-exemplar", *wrong]) == 2
        assert "Give an image and its mask, or --export, --task and --label-config" in capsys.readouterr().err
