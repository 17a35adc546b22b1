"""A backend with the second engine as a process of its own, behind a real Label Studio: nothing is built, all is there.

Tested besides: what an edit of the labels, a smart tool and an event do to it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from backend.demo import backend_server
from backend.demo.api import StoredTask
from backend.demo.backend_server import BackendServer
from backend.demo.console import standard_console
from backend.demo.engines import ENGINES, SECOND
from backend.demo.processes import ProcessGroups
from backend.demo.project import DemoScene, ProjectMaker, write_images
from backend.demo.session import Session
from backend.serving.predicting.given import STORING_S
from converters.encodings.brush import brush_rle_to_mask
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.end_to_end

Mask = NDArray[np.bool_]

SCENES = (DemoScene(111, things=1), DemoScene(1, things=1))  # a large balloon in the sky; sky without a balloon
SIZE_PX = 256
LABELS = ("balloon", "sky")


def config(*names: str, hotkey: str = "") -> str:
    """Return a label config with brushes, and with both smart tools."""
    labels = "".join(f'<Label value="{name}"{hotkey}/>' for name in names)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<BrushLabels name="label" toName="image">{labels}</BrushLabels>'
        f'<KeyPointLabels name="click" toName="image" smart="true">{labels}</KeyPointLabels>'
        f'<RectangleLabels name="box" toName="image" smart="true">{labels}</RectangleLabels></View>'
    )


@dataclass(frozen=True)
class Connected:
    """A project that the second engine's backend is connected to."""

    maker: ProjectMaker
    backend: BackendServer
    project: int

    @property
    def tasks(self) -> list[StoredTask]:
        return self.maker.api.tasks(self.project)

    def version(self) -> str:
        """Return the version that the backend answers to Label Studio's /setup."""
        return str(self.maker.api.backends(self.project)[0]["model_version"])

    def status(self) -> dict[str, Any]:
        """Return what the backend says of this project."""
        projects = self.whole_status()["projects"]
        return next(dict(each) for uid, each in projects.items() if uid.startswith(f"{self.project}."))

    def whole_status(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.backend.url}/status", timeout=30).json())

    def predicted(self) -> dict[str, Any]:
        """Have the first task predicted, and return its newest prediction."""
        self.maker.predict(self.project, self.tasks[:1])
        return self.maker.api.predictions(self.tasks[0].id)[-1]

    def use(self, *names: str, hotkey: str = "") -> None:
        self.maker.api.set_label_config(self.project, config(*names, hotkey=hotkey))


@pytest.fixture(scope="module")
def backend(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendServer]:
    with ProcessGroups() as groups:
        folder = tmp_path_factory.mktemp("odise")
        yield backend_server.start(folder, session.label_studio, groups, standard_console(), settings=ENGINES[SECOND])


@pytest.fixture
def connected(session: Session, backend: BackendServer, tmp_path: Path) -> Iterator[Connected]:
    """A new project of two scenes and two labels."""
    maker = replace(session.maker, backend=backend)
    project = maker.api.create_project("The second engine", config(*LABELS))
    maker.api.upload_images(project, write_images(SCENES, tmp_path, SIZE_PX))
    maker.connect(project)
    yield Connected(maker, backend, project)
    maker.api.disconnect_backends(project)
    maker.api.request("DELETE", f"/api/projects/{project}/")


def masks(result: list[dict[str, Any]], name: str) -> list[Mask]:
    """Return the masks of the regions that have a label."""
    regions = [region for region in result if region["value"].get("brushlabels") == [name]]
    return [brush_rle_to_mask(region["value"]["rle"], (SIZE_PX, SIZE_PX)) for region in regions]


def truth(name: str, scene: int = 0) -> Mask:
    return SCENES[scene].render(SIZE_PX).mask(name)


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def without_ids(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in region.items() if key != "id"} for region in result]


def test_setup_and_predict_give_masks_at_once_and_nothing_is_built(connected: Connected) -> None:
    api = connected.maker.api
    assert [category.state for category in connected.backend.categories(connected.project)] == ["ready", "ready"]
    assert [api.open_task(connected.project, task.id) for task in connected.tasks] == [1, 1]
    stored = [api.predictions(task.id) for task in connected.tasks]
    assert [[item["model_version"] for item in each] for each in stored] == [[connected.version()]] * 2
    assert iou(masks(stored[0][0]["result"], "balloon")[0], truth("balloon")) > 0.7
    assert masks(stored[1][0]["result"], "balloon") == []
    assert all(iou(masks(each[0]["result"], "sky")[0], truth("sky", i)) > 0.8 for i, each in enumerate(stored))
    assert connected.backend.built() == []
    assert not list(connected.backend.folder.glob("bank/*"))


def test_status_is_true_for_an_engine_that_has_nothing_to_build(connected: Connected) -> None:
    connected.predicted()
    status, whole = connected.status(), connected.whole_status()
    assert (status["error"], status["warnings"], status["counts"]) == (None, [], {"ready": 2})
    assert status["model_version"] == connected.version()
    told = [(each["name"], each["kind"], each["state"], each["reason"]) for each in status["categories"]]
    assert told == [("balloon", "thing", "ready", ""), ("sky", "stuff", "ready", "")]
    assert whole["anchors"] == {"words": 0, "built": 0, "advice": ""}
    assert (whole["built"], whole["failed_tasks"]) == ([], [])
    assert requests.get(f"{connected.backend.url}/ready", timeout=30).status_code == 200


def test_an_edit_of_the_labels_takes_effect_at_the_next_predict_and_the_version_follows(connected: Connected) -> None:
    first = connected.predicted()
    connected.use("sky", "balloon", hotkey=' hotkey="9"')  # the same words
    assert connected.version() == first["model_version"]
    connected.use("balloon")
    less = connected.predicted()
    assert masks(less["result"], "sky") == [] and masks(less["result"], "balloon")
    connected.use(*LABELS)
    assert connected.version() == first["model_version"]
    connected.maker.api.request("DELETE", f"/api/predictions/{first['id']}/")  # or Label Studio would not ask again
    time.sleep(STORING_S)  # a result that was given a moment ago is left out, and this engine needs less
    again = connected.predicted()
    connected.use(*LABELS, "grass")
    more = connected.predicted()
    versions = [each["model_version"] for each in (first, less, again, more)]
    assert versions[0] == versions[2] and len(set(versions)) == 3
    assert connected.version() == versions[3]
    assert without_ids(again["result"]) == without_ids(first["result"])
    assert connected.backend.built() == []


def _prompt(kind: str, tool: str, value: dict[str, float]) -> dict[str, Any]:
    prompt = {"type": kind, "from_name": tool, "to_name": "image", "origin": "manual"}
    return prompt | {"value": value | {kind: ["balloon"]}}


@pytest.mark.parametrize("tool", ["click", "box"])
def test_a_smart_tool_is_answered_with_the_mask_at_its_place(connected: Connected, tool: str) -> None:
    rows, columns = np.nonzero(truth("balloon"))
    scale = 100 / SIZE_PX
    if tool == "click":
        place = {"x": float(columns.mean()) * scale, "y": float(rows.mean()) * scale, "width": 0.2}
        prompt = _prompt("keypointlabels", tool, place)
    else:
        corner = {"x": float(columns.min()) * scale, "y": float(rows.min()) * scale}
        size = {"width": float(np.ptp(columns) + 1) * scale, "height": float(np.ptp(rows) + 1) * scale}
        prompt = _prompt("rectanglelabels", tool, {**corner, **size, "rotation": 0})
    connected.maker.api.make_interactive(connected.project)
    (region,) = connected.maker.api.click(connected.project, connected.tasks[0].id, prompt)
    (mask,) = masks([region], "balloon")
    assert iou(mask, truth("balloon")) > 0.7
    beside = _prompt("keypointlabels", "click", {"x": 2.0, "y": 98.0, "width": 0.2})
    assert connected.maker.api.click(connected.project, connected.tasks[0].id, beside) == []


def test_training_and_annotations_change_nothing(connected: Connected) -> None:
    """Label Studio sends both events itself, as when a person presses the button or submits a task."""
    api, first = connected.maker.api, connected.predicted()
    api.create_annotation(connected.tasks[0].id, first["result"], first["id"])
    api.request("POST", f"/api/ml/{api.backends(connected.project)[0]['id']}/train", json={})
    for event in ("START_TRAINING", "ANNOTATION_CREATED"):
        assert eventually(lambda event=event: f"Event '{event}'" in connected.backend.log(), timeout_s=60)
    assert connected.version() == first["model_version"]
    connected.maker.predict(connected.project, connected.tasks[1:])
    (second,) = api.predictions(connected.tasks[1].id)
    assert second["model_version"] == first["model_version"]
    assert connected.backend.built() == []
    log = connected.backend.log()
    assert "Traceback" not in log and " ERROR " not in log
