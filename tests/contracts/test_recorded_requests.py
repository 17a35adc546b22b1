"""Replays what Label Studio 1.23.2 really sent, with its headers, and checks answers as Label Studio would.

Each file in `requests/` is one recorded request: method, path, headers, body (long run lengths are cut).
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray
from werkzeug.test import TestResponse

from backend.serving.store import Store
from backend.settings import Settings
from converters.encodings.brush import brush_rle_to_mask
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.pictures import encoded
from tests.fakes.waiting import eventually

REQUESTS = Path(__file__).parent / "requests"
NAMES = sorted(path.stem for path in REQUESTS.glob("*.json"))
WEBHOOKS = [name for name in NAMES if name.startswith("webhook_")]
PREDICTIONS = [name for name in NAMES if name.startswith("predict_")]
SIZE_HW = (480, 640)


def recorded(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((REQUESTS / f"{name}.json").read_text())
    return request


def replay(app: Flask, name: str) -> TestResponse:
    request = recorded(name)
    headers = {key: value for key, value in request["headers"].items() if key != "Content-Length"}
    body = None if request["body"] is None else json.dumps(request["body"])
    return app.test_client().open(request["path"], method=request["method"], headers=headers, data=body)


@cache
def scene_file() -> bytes:
    return encoded(scene())


def scene() -> NDArray[np.uint8]:
    """Return the picture the recorded prompts point at: a red disc, a blue square, and red at the top."""
    image = np.full((*SIZE_HW, 3), 128, dtype=np.uint8)
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    image[(rows - 240) ** 2 + (columns - 200) ** 2 < 100**2] = (255, 0, 0)
    image[140:340, 380:580] = (0, 0, 255)
    image[10:50, 300:340] = (255, 0, 0)
    return image


@pytest.fixture(autouse=True)
def files(label_studio: FakeLabelStudio) -> None:
    """Serve the scene under every address that the recorded tasks hold."""
    for name in PREDICTIONS:
        for task in recorded(name)["body"]["tasks"]:
            label_studio.files[task["data"]["image"]] = ("image/png", scene_file())


def test_every_kind_of_request_is_replayed() -> None:
    assert {"health", "setup", "setup_extra_params_basic_auth", "versions", "predict_batch"} <= set(NAMES)
    assert len(WEBHOOKS) == 7
    assert len(PREDICTIONS) == 6


@pytest.mark.parametrize("name", NAMES)
def test_every_request_is_answered_with_a_json_object(app: Flask, name: str) -> None:
    response = replay(app, name)
    assert response.status_code == 200
    assert isinstance(response.get_json(), dict)


def test_setup_names_a_model_version(app: Flask) -> None:
    assert replay(app, "setup").get_json()["model_version"].startswith("ovdiff-")


def wait_for_prototypes(app: Flask, body: dict[str, Any]) -> None:
    """Ask as for whole predictions: a request with a click in its params waits for nothing."""
    app.test_client().post("/predict", json=body | {"tasks": [], "params": {}})


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_pass_label_studios_own_check(app: Flask, name: str) -> None:
    body = recorded(name)["body"]
    wait_for_prototypes(app, body)
    results = replay(app, name).get_json()["results"]
    assert len(results) == len(body["tasks"])
    interface = LabelInterface(body["label_config"])
    for prediction in results:
        assert interface.validate_prediction(prediction, return_errors=True) == []
        assert "error" not in prediction


@pytest.mark.parametrize("name", ["predict_batch", "predict_single"])
def test_whole_predictions_hold_both_objects(app: Flask, name: str) -> None:
    for prediction in replay(app, name).get_json()["results"]:
        masks = {
            region["value"]["brushlabels"][0]: brush_rle_to_mask(region["value"]["rle"], SIZE_HW)
            for region in prediction["result"]
        }
        assert np.array_equal(masks["blue square"], (scene() == (0, 0, 255)).all(axis=2))
        assert np.array_equal(masks["red disc"], (scene() == (255, 0, 0)).all(axis=2))


@pytest.mark.parametrize(
    ("name", "area_px"),
    [
        ("predict_interactive_keypointlabels", int((scene()[60:] == (255, 0, 0)).all(axis=2).sum())),
        ("predict_interactive_keypointlabels_ui", 40 * 40),
        ("predict_interactive_rectanglelabels", 200 * 200),
    ],
)
def test_a_prompt_gets_the_shape_it_points_at(app: Flask, name: str, area_px: int) -> None:
    body = recorded(name)["body"]
    wait_for_prototypes(app, body)
    (prediction,) = replay(app, name).get_json()["results"]
    (region,) = prediction["result"]
    drawn = body["params"]["context"]["result"][-1]
    assert region["type"] == "brushlabels"
    assert region["value"]["brushlabels"] == drawn["value"][drawn["type"]]
    assert brush_rle_to_mask(region["value"]["rle"], SIZE_HW).sum() == area_px


def test_an_empty_prompt_gets_an_empty_result(app: Flask) -> None:
    (prediction,) = replay(app, "predict_interactive_empty").get_json()["results"]
    assert prediction["result"] == []


def test_a_label_added_in_the_editor_computes_only_that_category(
    app: Flask, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    setup, updated = recorded("setup")["body"], recorded("webhook_PROJECT_UPDATED")["body"]
    assert setup["project"] == PROJECT_UID
    replay(app, "setup")
    app.test_client().post("/predict", json={"project": PROJECT_UID, "label_config": setup["schema"], "tasks": []})
    label_studio.label_config = updated["project"]["label_config"]
    replay(app, "webhook_PROJECT_UPDATED")
    assert eventually(lambda: engine.built == ["red disc", "blue square", "green thing"])


@pytest.mark.parametrize("name", WEBHOOKS)
def test_events_are_remembered_by_their_ids(app: Flask, settings: Settings, name: str) -> None:
    replay(app, name)
    (event,) = Store(settings.state_file, event_rows=10).events()
    assert event.action == recorded(name)["body"]["action"]
    assert event.details["project"] == 1
