"""A connected project with three tasks in a fake Label Studio, and an engine that explains."""

import pytest
from flask import Flask

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from tests.fakes.explaining_engine import ExplainingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red" background="#FF8800"/><Label value="blue" threshold="0.9"/><Label value="&lt;i&gt;green"/>'
    "</BrushLabels></View>"
)


@pytest.fixture
def engine(settings: Settings) -> ExplainingEngine:
    return ExplainingEngine(settings.bank_dir)


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, engine: ExplainingEngine, label_studio: FakeLabelStudio) -> Flask:
    return connected(make_app(settings, engine, add_pages=add_pages), label_studio)


def connected(app: Flask, label_studio: FakeLabelStudio, config: str = CONFIG) -> Flask:
    """Connect project 1, which has three tasks of one picture, and wait until its labels are ready."""
    label_studio.label_config = config
    picture = "/data/upload/1/picture.png"
    label_studio.tasks = [{"id": number, "data": {"image": picture}, "total_annotations": 0} for number in (4, 7, 9)]
    client = app.test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": config})
    ready = lambda: client.get("/status").get_json()["projects"][PROJECT_UID]["counts"].get("ready", 0)  # noqa: E731
    assert eventually(lambda: ready() == config.count("<Label "))
    return app
