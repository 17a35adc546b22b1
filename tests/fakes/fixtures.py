"""Fixtures of the tests that run the backend on fakes; conftest files import what they need."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from backend.serving.http.app import create_app
from backend.serving.service import Service
from backend.settings import LabelStudioSettings, PredictionSettings, Settings
from ovdiff.engines import SegmentationEngine
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio, running
from tests.fakes.pictures import encoded, red_and_blue

MakeApp = Callable[..., Flask]


@pytest.fixture
def label_studio() -> Iterator[FakeLabelStudio]:
    """A Label Studio with one uploaded picture, /data/upload/1/picture.png."""
    picture = ("image/png", encoded(red_and_blue()))
    with running(FakeLabelStudio(files={"/data/upload/1/picture.png": picture})) as fake:
        yield fake


@pytest.fixture
def settings(tmp_path: Path, label_studio: FakeLabelStudio) -> Settings:
    """Settings for the fake Label Studio, with waits short enough for tests."""
    return Settings(
        data_dir=tmp_path / "data",
        label_studio=LabelStudioSettings(url=label_studio.url, api_key=LEGACY_TOKEN),
        prediction=PredictionSettings(wait_for_prototypes_s=5.0, answer_within_s=20.0),
    )


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    return FakeEngine(settings.bank_dir)


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Return `create_app`; the background threads of what it makes end with the test."""
    services: list[Service] = []

    def make(settings: Settings, engine: SegmentationEngine, **options: Any) -> Flask:
        app = create_app(settings, engine, **options)
        services.append(app.extensions["ovdiff"])
        return app

    yield make
    for service in services:
        service.stop()


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> Flask:
    return make_app(settings, engine)


@pytest.fixture
def service(app: Flask) -> Service:
    found: Service = app.extensions["ovdiff"]
    return found
