from typing import Any

import numpy as np
import pytest
from flask import Flask

from backend.errors import NoSuchTaskError, RequestError
from backend.pages.annotated_tasks import marked_image
from backend.serving.service import Service
from converters.encodings.brush import mask_to_brush_rle
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.pictures import red_and_blue

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>'
)
PICTURE = {"image": "/data/upload/1/picture.png"}


def region(label: str, mask: np.ndarray) -> dict[str, Any]:
    height, width = mask.shape
    return {
        "id": label,
        "from_name": "b",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [label]},
    }


def annotated(number: int, *regions: dict[str, Any]) -> dict[str, Any]:
    annotation = {"id": number, "result": list(regions), "updated_at": "2026-11-22T06:00:00Z", "was_cancelled": False}
    return {"id": number, "data": PICTURE, "annotations": [annotation], "predictions": []}


def half(height: int = 48, width: int = 64) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[:, : width // 2] = True
    return mask


@pytest.fixture
def service(app: Flask, label_studio: FakeLabelStudio) -> Service:
    label_studio.label_config = CONFIG
    label_studio.tasks = [
        annotated(3, region("red", half()), region("red", half()[:, ::-1].copy())),
        annotated(5, region("blue", half())),
        {"id": 8, "data": PICTURE, "annotations": [], "predictions": []},
    ]
    found: Service = app.extensions["ovdiff"]
    return found


def test_all_regions_of_a_label_become_one_mask(service: Service) -> None:
    found = marked_image(service, PROJECT_UID, 3, "Red")
    assert (found.pixels == red_and_blue()).all() and found.name.endswith("picture.png")
    assert found.mask.all()
    assert (marked_image(service, PROJECT_UID, 5, "blue").mask == half()).all()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (5, "Task 5 of project 1 has no region of 'red'; its labels are blue. Name another task."),
        (8, "Task 8 of project 1 has no region of 'red'; nobody marked a region there. Name another task."),
    ],
)
def test_a_task_without_the_label_says_what_it_has(service: Service, task: int, said: str) -> None:
    with pytest.raises(RequestError) as raised:
        marked_image(service, PROJECT_UID, task, "red")
    assert str(raised.value) == said


def test_what_is_not_there_is_named(service: Service) -> None:
    with pytest.raises(NoSuchTaskError, match="Project 1 has no task 4"):
        marked_image(service, PROJECT_UID, 4, "red")
    with pytest.raises(RequestError, match="has no number"):
        marked_image(service, "odd", 4, "red")
