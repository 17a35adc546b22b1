"""A real Label Studio with a real backend on the embedded models: what one stores of what the other answers."""

import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from backend.demo import backend_server
from backend.demo.api import StoredTask
from backend.demo.console import standard_console
from backend.demo.errors import ApiError
from backend.demo.processes import ProcessGroups
from backend.demo.project import (
    BACKEND_TITLE,
    BRUSH_TAG,
    IMAGE_TAG,
    DemoScene,
    label_config,
    write_images,
)
from backend.demo.session import Session
from backend.demo.stored import label_map, read_predictions
from converters.datasets.coco import records_to_coco
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.coco_rle import coco_rle_to_mask
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.metrics.confusion import category_ious, confusion_matrix
from ovdiff.bank import Bank
from ovdiff.tinyworld.world import NAMES

pytestmark = pytest.mark.end_to_end

_LABELS = ("balloon", "sky", "grass")
_SIZE_PX = 256
_SCENES = 3


@dataclass(frozen=True)
class Prelabelled:
    """A project whose tasks all have a prediction."""

    session: Session
    project: int
    scenes: list[DemoScene]

    @property
    def version(self) -> str:
        return str(self.session.maker.api.backends(self.project)[0]["model_version"])

    def truth(self, task: StoredTask, name: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        scene = next(scene for scene in self.scenes if scene.file_name == task.file_name)
        return scene.render(_SIZE_PX).label_map == NAMES.index(name)


@pytest.fixture(scope="module")
def prelabelled(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Prelabelled:
    one_thing = (DemoScene(index, things=1) for index in itertools.count())
    suitable = (scene for scene in one_thing if {"balloon", "sky"} <= {*scene.render(64).visible()})
    scenes = list(itertools.islice(suitable, _SCENES))
    images = write_images(scenes, tmp_path_factory.mktemp("images"), _SIZE_PX)
    project = session.maker.ensure_project("End to end", label_config(_LABELS), images)
    session.maker.connect(project)
    session.backend.wait_for_prototypes(project, session.maker.console)
    session.maker.predict(project)
    return Prelabelled(session, project, scenes)


def test_each_label_is_made_once(prelabelled: Prelabelled) -> None:
    built = prelabelled.session.backend.built()
    assert [built.count(name) for name in _LABELS] == [1] * len(_LABELS)
    assert len(Bank(prelabelled.session.backend.folder / "bank").keys()) == len(built)


def test_label_studio_refuses_predictions_that_do_not_fit(prelabelled: Prelabelled) -> None:
    """So what it stores below has passed its own validation."""
    api = prelabelled.session.maker.api
    bad = {"result": [{"from_name": "no such control", "to_name": "image", "type": "brushlabels", "value": {}}]}
    with pytest.raises(ApiError, match="400"):
        api.call("POST", "/api/predictions", json={"task": api.tasks(prelabelled.project)[0].id, **bad})


def test_every_task_has_one_prediction_with_masks_of_its_size(prelabelled: Prelabelled) -> None:
    stored = read_predictions(prelabelled.session.maker.api, prelabelled.project)
    assert [len(item.predictions) for item in stored] == [1] * _SCENES
    for item in stored:
        prediction = item.of_version(prelabelled.version)
        assert 0 <= (prediction.score or 0) <= 1
        assert label_map(prediction.regions, _LABELS, (_SIZE_PX, _SIZE_PX)).any()


@pytest.mark.parametrize("name", ["balloon", "sky"])
def test_masks_are_where_the_objects_are(prelabelled: Prelabelled, name: str) -> None:
    confusion = np.zeros((2, 2), dtype=np.int64)
    for item in read_predictions(prelabelled.session.maker.api, prelabelled.project):
        truth = prelabelled.truth(item.task, name)
        found = label_map(item.predictions[-1].regions, _LABELS, truth.shape) == _LABELS.index(name) + 1
        confusion += confusion_matrix(truth.astype(int), found.astype(int), 1)
    assert category_ious(confusion)[1] > 0.5


def test_opening_a_new_task_is_enough_for_a_prediction(prelabelled: Prelabelled, tmp_path: Path) -> None:
    api, project = prelabelled.session.maker.api, prelabelled.project
    api.upload_images(project, write_images([DemoScene(0)], tmp_path, _SIZE_PX))
    task = api.tasks(project)[-1]
    try:
        api.call("GET", f"/api/tasks/{task.id}")
        assert [p["model_version"] for p in api.predictions(task.id)] == [prelabelled.version]
    finally:
        api.request("DELETE", f"/api/tasks/{task.id}/")


def test_requests_for_one_task_at_the_same_time_leave_one_prediction(prelabelled: Prelabelled, tmp_path: Path) -> None:
    """As a deep link makes a browser ask; whoever asks is shown the prediction.

    Label Studio asks nothing where /health takes it more than a second, as on a busy machine. Then nobody is shown a
    prediction, so other tasks are tried; but two predictions are never right.
    """
    shown: list[int] = []
    for attempt in range(3):
        shown, stored = _open_at_once(prelabelled, tmp_path / str(attempt))
        assert max(stored) <= 1
        if shown == [1] * 5:
            assert stored == [1, 1]
            return
    pytest.fail(f"The predictions that were shown: {shown}.")


def _open_at_once(prelabelled: Prelabelled, folder: Path) -> tuple[list[int], list[int]]:
    """Open one task four times, and another while both are retrieved.

    Returns:
        How many predictions each of the five was shown, and how many are stored for each of the two tasks.
    """
    api, project = prelabelled.session.maker.api, prelabelled.project
    api.upload_images(project, write_images([DemoScene(1), DemoScene(2)], folder, _SIZE_PX))
    opened, retrieved = api.tasks(project)[-2:]
    try:
        with ThreadPoolExecutor(4) as pool:
            shown = list(pool.map(lambda _: api.open_task(project, opened.id), range(4)))
            asked = pool.submit(api.retrieve_predictions, project, [opened.id, retrieved.id])
            shown.append(api.open_task(project, retrieved.id))
            asked.result()
        return shown, [len(api.predictions(task.id)) for task in (opened, retrieved)]
    finally:
        for task in (opened, retrieved):
            api.request("DELETE", f"/api/tasks/{task.id}/")


def test_a_task_that_fails_keeps_nothing_and_takes_nothing_from_the_others(
    prelabelled: Prelabelled, tmp_path: Path
) -> None:
    api, project, backend = prelabelled.session.maker.api, prelabelled.project, prelabelled.session.backend
    api.call("POST", f"/api/projects/{project}/import", json=[{"data": {"image": "/data/upload/999/gone.png"}}])
    api.upload_images(project, write_images([DemoScene(3)], tmp_path, _SIZE_PX))
    failing, good = (task.id for task in api.tasks(project)[-2:])
    try:
        api.retrieve_predictions(project, [failing, good])
        assert api.predictions(failing) == []
        assert [p["model_version"] for p in api.predictions(good)] == [prelabelled.version]
        newest = requests.get(f"{backend.url}/status", timeout=30).json()["failed_tasks"][0]
        assert newest["task"] == failing and "gone.png answered" in newest["reason"]
    finally:
        for task in (failing, good):
            api.request("DELETE", f"/api/tasks/{task}/")


def test_a_correction_comes_back_as_coco_rle(prelabelled: Prelabelled) -> None:
    api, project = prelabelled.session.maker.api, prelabelled.project
    task = api.tasks(project)[0]
    prediction = api.predictions(task.id)[-1]
    truth = prelabelled.truth(task, "sky")
    api.create_annotation(task.id, [_brush("sky", truth)], prediction["id"])
    export = api.export_json(project)
    assert [item["annotations"][0]["parent_prediction"] for item in export] == [prediction["id"]]
    config = parse_label_config(api.label_config(project))
    dataset, counts = records_to_coco(tasks_to_records(export, config), categories_of(config))
    assert dict(counts.left_out) == {}
    (annotation,) = dataset["annotations"]
    assert annotation["category_id"] == _LABELS.index("sky") + 1
    assert np.array_equal(coco_rle_to_mask(annotation["segmentation"]), truth)


def _brush(name: str, mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> dict[str, Any]:
    return {
        "from_name": BRUSH_TAG,
        "to_name": IMAGE_TAG,
        "type": "brushlabels",
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [name]},
    }


@pytest.fixture
def with_added_label(prelabelled: Prelabelled) -> Iterator[str]:
    """The project with one more label, and without it again afterwards."""
    api = prelabelled.session.maker.api
    api.set_label_config(prelabelled.project, label_config((*_LABELS, "snow")))
    yield "snow"
    api.set_label_config(prelabelled.project, label_config(_LABELS))


def test_an_added_label_costs_one_category(prelabelled: Prelabelled, with_added_label: str) -> None:
    maker, backend = prelabelled.session.maker, prelabelled.session.backend
    before = backend.built()
    old_version = read_predictions(maker.api, prelabelled.project)[0].predictions[-1].model_version
    maker.api.backends(prelabelled.project)
    backend.wait_for_prototypes(prelabelled.project, maker.console)
    assert backend.built() == [*before, with_added_label]
    maker.predict(prelabelled.project)
    assert prelabelled.version != old_version
    for item in read_predictions(maker.api, prelabelled.project):
        assert item.of_version(prelabelled.version) == item.predictions[-1]


def test_a_backend_with_a_personal_access_token_reads_the_images(
    prelabelled: Prelabelled, personal_token: str, tmp_path: Path
) -> None:
    """And a backend that finds its prototypes on disk makes none."""
    host, api = prelabelled.session.label_studio, prelabelled.session.maker.api
    personal = replace(host, login=replace(host.login, token=personal_token))
    shutil.copytree(prelabelled.session.backend.folder / "bank", tmp_path / "bank")
    images = write_images([DemoScene(0)], tmp_path / "images", _SIZE_PX)
    with ProcessGroups() as groups:
        other = backend_server.start(tmp_path, personal, groups, standard_console())
        maker = replace(prelabelled.session.maker, backend=other)
        project = maker.ensure_project("Personal access token", label_config(_LABELS), images)
        maker.connect(project)
        maker.predict(project)
        (stored,) = read_predictions(api, project)
        version = str(api.backends(project)[0]["model_version"])
        assert stored.of_version(version).regions
        assert other.built() == []


def test_a_backend_that_moved_is_connected_once(prelabelled: Prelabelled) -> None:
    api, project = prelabelled.session.maker.api, prelabelled.project
    url = prelabelled.session.backend.url
    api.connect_backend(project, url.replace("127.0.0.1", "localhost"), BACKEND_TITLE)
    record = api.connect_backend(project, url, BACKEND_TITLE)
    assert record["state"] == "CO"
    assert [backend["url"] for backend in api.backends(project)] == [url]
    hooks = api.call("GET", "/api/webhooks/", params={"project": project})
    assert [hook["url"] for hook in hooks] == [f"{url}/webhook"]
