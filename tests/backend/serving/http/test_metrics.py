"""What `/metrics` says after real requests over a real port."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
        # A rate sees the first failure of a kind only if the kind was there with 0 before.
        assert before["ovdiff_tasks_total", (("asked", "prediction"), ("outcome", "failed"))] == 0
        assert before["ovdiff_task_errors_total", (("error", "ImageFetchError"),)] == 0
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
        dict(labels)["outcome"]: value
        for (name, labels), value in after.items()
        if name == "ovdiff_tasks_total" and value and ("asked", "prediction") in labels
    }
    assert outcomes == {"answered": 2, "failed": 1, "given to another request": 1}
    assert after["ovdiff_task_errors_total", (("error", "ImageFetchError"),)] == 1
    assert after["ovdiff_failed_tasks", ()] == 1
    origins = {
        dict(labels)["origin"]: value
        for (name, labels), value in after.items()
        if name == "ovdiff_segmentations_total" and value
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


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "grafana-dashboard.json").read_text("utf-8"))
    return found


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are(app: Flask, dashboard: dict[str, Any]) -> None:
    """Each label of a query, of what it is summed by, and of a legend belongs to the metric in a real answer."""
    with listening(app, ServerSettings(port=0)) as listener:
        asked(listener, "/setup", {"project": "1.1", "schema": CONFIG})
        service = app.extensions["ovdiff"]
        assert eventually(lambda: service.status()["projects"]["1.1"]["counts"] == {"ready": 1}, timeout_s=20)
        predict(listener, task(1, "/data/upload/1/picture.png"), task(2, "/data/upload/1/gone.png"))
        found = figures_of(listener)
    labels_of: dict[str, set[str]] = {}
    for name, labels in found:
        labels_of.setdefault(name, set()).update(label for label, _ in labels)
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) >= 10
    for target in targets:
        expression = target["expr"]
        metrics = set(re.findall(r"\b(?:ovdiff|process)_\w+", expression))
        assert metrics and metrics <= labels_of.keys(), expression
        grouped = re.findall(r"\bby \(([^)]*)\)", expression)
        labels = {label.strip() for group in grouped for label in group.split(",")}
        labels |= set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", expression))
        shown = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
        known = set.intersection(*(labels_of[metric] for metric in metrics))
        assert labels | shown <= known, target
        assert not grouped or shown <= labels, f"summed away before it is shown: {target}"
        for route in re.findall(r'route="([^"]*)"', expression):
            assert any(dict(each).get("route") == route for _, each in found), target


def test_the_dashboard_is_laid_out_as_grafana_reads_it(dashboard: dict[str, Any]) -> None:
    """Panels of their own numbers on a grid 24 wide, without overlaps, which ask the Prometheus that somebody chose."""
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells
        taken |= cells
