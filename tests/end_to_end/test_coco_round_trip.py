"""A COCO file opened in a real Label Studio, corrected there, and written back: nothing else changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.command import cli
from backend.demo.session import Session
from converters.console import LEFT_BEHIND
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.coco_rle import mask_to_coco_rle

pytestmark = pytest.mark.end_to_end

_HEIGHT, _WIDTH = 48, 64
_ROOT = "/data/local-files/?d=photos/"
_ROWS, _COLUMNS = np.indices((_HEIGHT, _WIDTH))
_RING = np.abs(np.hypot(_ROWS - 20, _COLUMNS - 30) - 12) < 4  # a hole, which polygons would lose
_DOTS = (_ROWS % 6 == 0) & (_COLUMNS % 5 == 0)
_CORRECTED = (_ROWS > 30) & (_COLUMNS < 20)
_ORIGINAL: dict[str, Any] = {
    "info": {"year": 2017, "contributor": "someone"},
    "licenses": [{"id": 4, "name": "CC-BY"}],
    "images": [
        {"id": 900, "file_name": "train/été #1 100%.jpg", "width": _WIDTH, "height": _HEIGHT, "license": 4},
        {"id": 17, "file_name": "train/été #2.jpg", "width": _WIDTH, "height": _HEIGHT, "license": 4},
        {"id": 30, "file_name": "empty.jpg", "width": _WIDTH, "height": _HEIGHT, "date_captured": "2013-11-14"},
        {"id": 31, "file_name": "never opened.jpg", "width": _WIDTH, "height": _HEIGHT},
    ],
    "categories": [
        {"id": 44, "name": "red disc", "supercategory": "shape", "keypoints": []},
        {"id": 3, "name": 'a "b" & <c>', "supercategory": ""},
    ],
    "annotations": [
        {"id": 5, "image_id": 900, "category_id": 44, "segmentation": mask_to_coco_rle(_RING), "area": 1.5, "bbox": [],
         "iscrowd": 0, "attributes": {"occluded": True}},
        {"id": 2, "image_id": 900, "category_id": 3, "segmentation": [[3.3, 2.1, 20.8, 5.5, 9.2, 17.9]], "iscrowd": 0},
        {"id": 9, "image_id": 17, "category_id": 44, "segmentation": mask_to_coco_rle(_DOTS), "iscrowd": 1},
        {"id": 8, "image_id": 17, "category_id": 3, "segmentation": mask_to_coco_rle(_RING), "iscrowd": 0, "note": 7},
        {"id": 7, "image_id": 17, "category_id": 3, "segmentation": mask_to_coco_rle(~_RING), "iscrowd": 0},
        {"id": 1, "image_id": 31, "category_id": 3, "segmentation": mask_to_coco_rle(~_RING), "iscrowd": 0},
    ],
}  # fmt: skip


def test_a_coco_file_is_opened_corrected_and_written_back(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("original.json").write_text(json.dumps(_ORIGINAL), encoding="utf-8")
    words = ("--label-config-out", "config.xml", "--as", "predictions", "--image-root", _ROOT)
    # A region has no place for the key "note", which is told; it stays in the file all the same.
    assert cli.main(["import", "coco", "original.json", "--out", "tasks.json", *words]) == LEFT_BEHIND
    api = session.maker.api
    project = api.create_project("COCO round trip", Path("config.xml").read_text("utf-8"))
    tasks = json.loads(Path("tasks.json").read_text("utf-8"))
    assert api.call("POST", f"/api/projects/{project}/import", json=tasks)["task_count"] == len(_ORIGINAL["images"])

    accepted, corrected, empty, _ = api.tasks(project)
    (prediction,) = api.predictions(accepted.id)
    same = [{**result, "origin": "prediction"} for result in prediction["result"]]
    api.create_annotation(accepted.id, same, prediction["id"])
    (prediction,) = api.predictions(corrected.id)
    untouched, crowd, changed, _ = prediction["result"]
    assert crowd["value"] == {"choices": ["crowd"]}
    value = {**changed["value"], "rle": mask_to_brush_rle(_CORRECTED)}
    new = {**untouched, "id": "drawn", "value": {**untouched["value"], "rle": mask_to_brush_rle(_RING)}}
    api.create_annotation(corrected.id, [untouched, crowd, {**changed, "value": value}, new], prediction["id"])
    api.call("POST", f"/api/tasks/{empty.id}/annotations", json={"result": []})

    Path("export.json").write_text(json.dumps(api.export_json(project)), encoding="utf-8")
    words = ("--original", "original.json", "--image-root", _ROOT)
    assert (
        cli.main(["convert", "coco", "export.json", "--label-config", "config.xml", "--out", "new.json", *words]) == 0
    )

    first, second, third, fourth, _, sixth = _ORIGINAL["annotations"]
    shape = {"segmentation": mask_to_coco_rle(_CORRECTED), "area": int(_CORRECTED.sum()), "bbox": [0, 31, 20, 17]}
    shape_of_new = {"segmentation": mask_to_coco_rle(_RING), "area": int(_RING.sum()), "bbox": [15, 5, 31, 31]}
    drawn = {"id": 10, "image_id": 17, "category_id": 44, **shape_of_new, "iscrowd": 0}
    annotations = [first, second, third, {**fourth, **shape}, sixth, drawn]
    assert json.loads(Path("new.json").read_text("utf-8")) == {**_ORIGINAL, "annotations": annotations}
