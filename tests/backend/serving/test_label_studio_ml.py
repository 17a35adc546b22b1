import sys
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from backend.serving.label_studio_ml import adapter_class
from backend.serving.service import Service
from tests.fakes.label_studio import FakeLabelStudio

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)
TASK = {"id": 1, "data": {"image": "/data/upload/1/picture.png"}}


class Base:
    """What label-studio-ml 2.x's LabelStudioMLBase does for its subclasses, as far as we use it."""

    cache: dict[str, str] = {}  # noqa: RUF012 — shared by all instances, as theirs is

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        if label_config is not None:
            self.use_label_config(label_config)
        self.setup()

    def setup(self) -> None: ...

    def use_label_config(self, label_config: str) -> None:
        self.set("label_config", label_config)

    def set(self, key: str, value: str) -> None:
        self.cache[key] = value

    @property
    def label_config(self) -> str | None:
        return self.cache.get("label_config")


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put a module in the place of label_studio_ml.model."""
    model: Any = ModuleType("label_studio_ml.model")
    model.LabelStudioMLBase = Base
    monkeypatch.setattr(Base, "cache", {})
    monkeypatch.setitem(sys.modules, "label_studio_ml", ModuleType("label_studio_ml"))
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", model)
    return model


@pytest.mark.usefixtures("framework")
def test_requests_reach_the_service(service: Service, label_studio: FakeLabelStudio) -> None:
    backend = adapter_class(service)
    (item,) = backend("1", CONFIG).predict([TASK], context=None, login=None)
    assert [region["value"]["brushlabels"] for region in item["result"]] == [["red"]]
    backend("1", CONFIG)
    assert Base.cache["model_version"] == item["model_version"]
    assert backend("1", CONFIG).fit("START_TRAINING", {"project": {"id": 1}}, job_id="x")["status"] == "recorded"


@pytest.mark.usefixtures("framework")
def test_only_setup_puts_a_label_config_in_force(service: Service) -> None:
    backend, other = adapter_class(service), CONFIG.replace("red", "blue")

    def names() -> list[str]:
        return [category["name"] for category in service.status()["projects"]["7"]["categories"]]

    flask = Flask("framework")
    with flask.test_request_context("/setup", method="POST"):
        backend("7", CONFIG)
    for path in ("/predict", "/webhook"):
        with flask.test_request_context(path, method="POST"):
            backend("7", other).predict([], context=None)
            assert names() == ["red"]
    with flask.test_request_context("/ovdiff/setup", method="POST"):
        backend("7", other)
    assert names() == ["blue"]


@pytest.mark.usefixtures("framework")
def test_a_prediction_uses_its_own_config_and_not_the_one_that_all_requests_share(service: Service) -> None:
    backend = adapter_class(service)
    first = backend("1", CONFIG)
    backend("1", CONFIG.replace("red", "blue"))
    (item,) = first.predict([TASK], context=None)
    assert [region["value"]["brushlabels"] for region in item["result"]] == [["red"]]


def test_without_the_framework_the_error_says_what_to_install(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "label_studio_ml", None)
    with pytest.raises(ImportError, match=r"HumanSignal/label-studio-ml-backend .*`ovdiff serve` works without it"):
        adapter_class(service)


def test_version_1_is_refused(service: Service, framework: Any) -> None:
    framework.LabelStudioMLBase = object
    with pytest.raises(ImportError, match=r"label-studio-ml 2\.x is needed"):
        adapter_class(service)
