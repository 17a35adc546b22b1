"""What `/metrics` says after real requests over a real port."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from backend.serving.http.connections import Listener
from backend.serving.http.metrics import METHODS
from backend.settings import ServerSettings, Settings
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.sockets import ask, get, listening, post
from tests.fakes.waiting import eventually

ROOT = Path(__file__).parents[4]
CONFIG = """<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"><Label value="red"/></BrushLabels>
</View>"""
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(text: str) -> Figures:
    """Return each sample's value by its name and labels."""
    families = text_string_to_metric_families(text)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def figures_of(listener: Listener) -> Figures:
    head, _, body = ask(listener, get("/metrics")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"text/plain" in head
    return scraped(body.decode())


def asked(listener: Listener, path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    return ask(listener, post(path, len(data)), data)


def task(number: int, image: str) -> dict[str, object]:
    return {"id": number, "data": {"image": image}}


def predict(listener: Listener, *tasks: dict[str, object]) -> bytes:
    return asked(listener, "/predict", {"project": "1.1", "label_config": CONFIG, "tasks": tasks})


def test_real_requests_are_counted(app: Flask, settings: Settings) -> None:
    fine, broken = "/data/upload/1/picture.png", "/data/upload/1/gone.png"
    with listening(app, ServerSettings(port=0)) as listener:
        before = figures_of(listener)
        assert before["ovdiff_builds_total", (("result", "built"),)] == 0
        asked(listener, "/setup", {"project": "1.1", "schema": CONFIG})
        service = app.extensions["ovdiff"]
        assert eventually(lambda: service.status()["projects"]["1.1"]["counts"] == {"ready": 1}, timeout_s=20)
        for tasks in ([task(1, fine)], [task(3, fine), task(2, broken)], [task(1, fine)]):
            assert predict(listener, *tasks).startswith(b"HTTP/1.1 200")
        asked(listener, "/setup", {"project": "1.1"})
        ask(listener, get("/nowhere/a"))
        ask(listener, get("/nowhere/b"))
        after = figures_of(listener)

    def requests(route: str, method: str, status: int) -> float:
        return after["ovdiff_requests_total", (("method", method), ("route", route), ("status", str(status)))]

    assert (requests("/predict", "POST", 200), requests("/setup", "POST", 200), requests("/setup", "POST", 400)) == (
        3,
        1,
        1,
    )
    assert requests("other", "GET", 404) == 2  # not a label for each path that a stranger thinks of
    assert requests("/metrics", "GET", 200) == 1  # the first; this one is not answered yet
    assert after["ovdiff_request_seconds_count", (("route", "/predict"),)] == 3
    assert after["ovdiff_request_seconds_sum", (("route", "/predict"),)] > 0
    outcomes = {
        dict(labels)["outcome"]: value for (name, labels), value in after.items() if name == "ovdiff_tasks_total"
    }
    assert outcomes == {"answered": 2, "failed": 1, "given to another request": 1}
    assert after["ovdiff_task_errors_total", (("error", "ImageFetchError"),)] == 1
    assert after["ovdiff_failed_tasks", ()] == 1
    origins = {
        dict(labels)["origin"]: value for (name, labels), value in after.items() if name == "ovdiff_segmentations_total"
    }
    assert origins == {"computed": 1, "fetched again, the same": 1, "stored prediction": 1}
    assert after["ovdiff_builds_total", (("result", "built"),)] == 1
    assert after["ovdiff_build_seconds_total", ()] > 0 and after["ovdiff_queue_categories", ()] == 0
    assert after["ovdiff_remembered_bytes", ()] > 0 and after["ovdiff_projects", ()] == 1
    assert after["ovdiff_received_bytes_total", ()] > 2 * len(CONFIG)
    assert after["ovdiff_sent_bytes_total", ()] > before["ovdiff_sent_bytes_total", ()]
    assert after["ovdiff_ready", ()] == 1
    assert after["process_resident_memory_bytes", ()] > 1 << 20
    assert not any(name.endswith("_created") for name, _ in after)


def test_a_build_that_fails_is_counted(app: Flask, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(engine, "build", fail)
    with listening(app, ServerSettings(port=0)) as listener:
        asked(listener, "/setup", {"project": "1.1", "schema": CONFIG})

        def failed() -> bool:
            return figures_of(listener)["ovdiff_builds_total", (("result", "failed"),)] >= 1

        assert eventually(failed, timeout_s=20)


Ask = Callable[..., int]


@pytest.fixture
def status_of(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> Ask:
    """Return a function that asks for /metrics under settings of the server, and returns the status."""

    def status(*, is_open: bool, password: str = "") -> int:
        server = replace(settings.server, basic_user="ann", basic_password="secret", open_metrics=is_open)
        app = make_app(replace(settings, server=server), engine)
        headers = {}
        if password:
            headers["Authorization"] = f"Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}"
        return Client(app).get("/metrics", headers=headers).status_code

    return status


@pytest.mark.parametrize(
    ("is_open", "password", "status"),
    [(False, "", 401), (False, "wrong", 401), (False, "secret", 200), (True, "", 200)],
)
def test_the_password_is_asked_for_unless_a_setting_says_otherwise(
    is_open: bool, password: str, status: int, status_of: Ask
) -> None:
    assert status_of(is_open=is_open, password=password) == status


def test_refusals_are_counted_and_odd_methods_are_one(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    server = replace(settings.server, basic_user="ann", basic_password="secret", open_metrics=True)
    client = Client(make_app(replace(settings, server=server), engine))
    client.get("/status")
    for method in ("BREW", "WHEN"):
        client.open("/status", method=method)
    found = scraped(client.get("/metrics").text)
    assert found["ovdiff_requests_total", (("method", "GET"), ("route", "/status"), ("status", "401"))] == 1
    methods = {dict(labels)["method"] for name, labels in found if name == "ovdiff_requests_total"}
    assert methods <= METHODS | {"other"}


def test_the_dashboard_asks_for_metrics_that_there_are(app: Flask) -> None:
    dashboard = json.loads((ROOT / "grafana-dashboard.json").read_text("utf-8"))
    client = Client(app)
    client.get("/status")
    names = {name for name, _ in scraped(client.get("/metrics").text)}
    declared = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE")}
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) >= 10
    for expression in targets:
        asked_for = {word for word in _words(expression) if word.startswith(("ovdiff_", "process_"))}
        assert asked_for and asked_for <= names | declared, expression


def _words(expression: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in expression).split()
