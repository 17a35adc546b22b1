"""Annotations of a real Label Studio teach the real backend: taken, undone, and all of them by a click."""

from typing import Any

import numpy as np
import pytest
import requests

from backend.demo.project import BRUSH_TAG, IMAGE_TAG, choose_scenes, label_config, write_images
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.bank.lesson_store import lessons_beside
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.end_to_end

_SIZE_PX = 96
_WITHIN_S = 60.0
SILENT = label_config(("sky", "balloon"))
LEARNING = SILENT.replace("<View", '<View learn="yes"', 1)


@pytest.fixture(scope="module")
def project(session: Session, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A project of four drawn scenes that does not learn yet, whose two labels the session's backend has prepared."""
    images = write_images(choose_scenes(4), tmp_path_factory.mktemp("images"), _SIZE_PX)
    made = session.maker.ensure_project("Learning", SILENT, images)
    session.maker.connect(made)
    session.backend.wait_for_prototypes(made, session.maker.console)
    return made


def annotate(session: Session, task: int, rows: int) -> int:
    """Say of a task that its first rows are sky, and the rest nothing that was asked for."""
    mask = np.zeros((_SIZE_PX, _SIZE_PX), dtype=np.bool_)
    mask[:rows] = True
    value = {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["sky"]}
    size = {"original_width": _SIZE_PX, "original_height": _SIZE_PX, "image_rotation": 0}
    region = {"id": "r", "from_name": BRUSH_TAG, "to_name": IMAGE_TAG, "type": "brushlabels", "value": value, **size}
    made = session.maker.api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": [region]})
    return int(made["id"])


def told(session: Session, project: int) -> dict[str, Any]:
    """Return what /status says of learning in a project; nothing if it does not learn."""
    found = requests.get(f"{session.backend.url}/status", timeout=30).json()["learning"]
    of_project = {uid: each for uid, each in found["projects"].items() if uid.startswith(f"{project}.")}
    return next(iter(of_project.values()), {}) | {
        "to_read": sum(found["to_read"].values()),
        "problem": found["problem"],
    }


def test_annotations_teach_and_can_be_undone(session: Session, project: int) -> None:
    api = session.maker.api

    def version() -> str:
        return str(api.backends(project)[0]["model_version"])

    def lessons() -> int:
        found = told(session, project)
        return -1 if found["to_read"] else found.get("lessons", -1)

    first, second, third, fourth = (task.id for task in api.tasks(project))
    untaught = version()
    for task in (first, second):
        annotate(session, task, 40)
    assert told(session, project) == {"to_read": 0, "problem": ""}

    api.set_label_config(project, LEARNING)  # what was marked before is learned, too, though no event tells of it
    assert eventually(lambda: lessons() == 2, _WITHIN_S), told(session, project)
    taught = version()
    assert taught != untaught
    kept = lessons_beside(session.backend.folder / "bank")
    kept.remove(next(card.address for card in kept.cards() if card.source.task == str(first)))
    assert version() != taught
    backend = api.backends(project)[0]["id"]
    api.request("POST", f"/api/ml/{backend}/train", json={})
    assert eventually(lambda: version() == taught, _WITHIN_S), told(session, project)

    annotation = annotate(session, third, 60)
    assert eventually(lambda: lessons() == 3, _WITHIN_S), told(session, project)
    changed = version()
    assert changed not in (taught, untaught)
    assert api.open_task(project, fourth) == 1  # another task is predicted with the lesson
    assert [each["model_version"] for each in api.predictions(fourth)] == [changed]

    api.request("DELETE", f"/api/annotations/{annotation}/")
    assert eventually(lambda: lessons() == 2, _WITHIN_S), told(session, project)
    assert version() == taught
