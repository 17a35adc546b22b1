"""Crowds, keypoints and attributes of a COCO file: shown and submitted in a real editor, and unchanged afterwards."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver

from backend.command import cli
from backend.demo.session import Session
from tests.end_to_end.editor import SETTLE_S, open_task, press

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

_SQUARE = [[40, 40, 120, 40, 120, 90, 40, 90]]
_ORIGINAL: dict[str, Any] = {
    "images": [{"id": 9, "file_name": "photo.png", "width": 256, "height": 192}],
    "categories": [
        {"id": 3, "name": "cat", "keypoints": ["nose", "left ear", "tail"], "skeleton": [[1, 2]]},
        {"id": 1, "name": "dog"},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 3, "segmentation": _SQUARE, "iscrowd": 1,
         "keypoints": [50, 60, 1, 0, 0, 0, 110, 70, 2], "num_keypoints": 2,
         "attributes": {"state": "wet", "note": "so"}},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [10.5, 20, 30, 40], "area": 1200, "iscrowd": 0},
    ],
}  # fmt: skip


def test_what_a_region_carries_survives_the_editor(
    session: Session, browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("original.json").write_text(json.dumps(_ORIGINAL), encoding="utf-8")
    words = ("--label-config-out", "config.xml", "--as", "predictions")
    assert cli.main(["import", "coco", "original.json", "--out", "tasks.json", *words]) == 0
    (given,) = json.loads(Path("tasks.json").read_text("utf-8"))
    Image.new("RGB", (256, 192), "white").save("photo.png")

    api = session.maker.api
    project = session.maker.ensure_project("Details", Path("config.xml").read_text("utf-8"), [Path("photo.png")])
    (task,) = api.tasks(project)
    api.call("POST", "/api/predictions/", json={"task": task.id, **given["predictions"][0]})
    open_task(browser, session, project, task.id)
    press(browser, "[class*=outliner] canvas, [class*=outliner]")
    press(browser, "[data-testid=bottombar-submit-button]")

    exported = _exported(session, project)
    exported[0]["data"]["image"] = "photo.png"  # it was uploaded under a name of Label Studio's
    Path("export.json").write_text(json.dumps(exported), encoding="utf-8")
    words = ("--original", "original.json", "--out", "new.json")
    assert cli.main(["convert", "coco", "export.json", "--label-config", "config.xml", *words]) == 0
    assert json.loads(Path("new.json").read_text("utf-8")) == _ORIGINAL


def _exported(session: Session, project: int) -> list[dict[str, Any]]:
    """Return the project's export as soon as an annotation is in it."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        exported = session.maker.api.export_json(project)
        if exported and exported[0]["annotations"]:
            return exported
        time.sleep(0.5)
    pytest.fail(f"No annotation was submitted within {SETTLE_S:.0f} s.")
