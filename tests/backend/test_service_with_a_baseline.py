"""The service predicts with a baseline's preset as with any other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from backend.serving.service import Service
from backend.settings import Settings
from tests.fakes.fixtures import label_studio, make_app, settings  # noqa: F401 - fixtures
from tests.fakes.label_studio import PROJECT_UID

pytestmark = pytest.mark.slow

CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">
<Label value="balloon"/><Label value="sky"/></BrushLabels></View>"""


def test_a_task_is_predicted(make_app: Callable[..., Flask], settings: Settings) -> None:  # noqa: F811
    service: Service = make_app(replace(settings, preset="clip_plain_tinyworld"), None).extensions["ovdiff"]
    task: dict[str, Any] = {"id": 1, "data": {"image": "/data/upload/1/picture.png"}}
    (item,) = service.predict(PROJECT_UID, [task], CONFIG)
    labels = {region["value"]["brushlabels"][0] for region in item["result"]}
    assert labels and labels <= {"balloon", "sky"} and 0 <= item["score"] <= 1
    assert item["model_version"] == service.setup(PROJECT_UID, CONFIG)["model_version"]
    (project,) = service.status()["projects"].values()
    assert [row["state"] for row in project["categories"]] == ["ready", "ready"]
