"""A project with tasks whose pictures differ in their first pixel, and an engine that looks at them."""

from collections.abc import Callable

import pytest
from flask import Flask

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from tests.backend.pages.tasks.conftest import connected
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.searching_engine import SearchingEngine

AddTask = Callable[..., None]


@pytest.fixture
def engine(settings: Settings) -> SearchingEngine:
    return SearchingEngine(settings.bank_dir)


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, engine: SearchingEngine, label_studio: FakeLabelStudio) -> Flask:
    app = connected(make_app(settings, engine, add_pages=add_pages), label_studio)
    label_studio.tasks.clear()
    return app


@pytest.fixture
def add_task(label_studio: FakeLabelStudio) -> AddTask:
    """Add a task to the project; `first` is the red and green of its picture's first pixel."""

    def add(number: int, first: tuple[int, int] = (0, 0), *, annotations: int = 0, missing: bool = False) -> None:
        picture = red_and_blue()
        picture[0, 0, :2] = first
        address = f"/data/upload/1/{number}.png"
        if not missing:
            label_studio.files[address] = ("image/png", encoded(picture))
        label_studio.tasks.append({"id": number, "data": {"image": address}, "total_annotations": annotations})

    return add
