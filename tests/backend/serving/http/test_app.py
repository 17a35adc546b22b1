import shutil
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from backend.errors import StoreError
from backend.serving.http.app import create_app
from backend.settings import ServerSettings, Settings
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)
TASKS = [{"id": 1, "data": {"image": "/data/upload/1/picture.png"}}]
SETUP = {"project": PROJECT_UID, "schema": CONFIG, "extra_params": None}
PREDICT = {"project": PROJECT_UID, "label_config": CONFIG, "tasks": TASKS, "params": {"context": None}}


def post(app: Flask, path: str, body: Any, **options: Any) -> TestResponse:
    return app.test_client().post(path, json=body, **options)


def test_health(app: Flask) -> None:
    assert app.test_client().get("/health").json == {"status": "UP", "model_class": "OVDiff"}


def test_setup_and_predict_report_the_same_version(app: Flask) -> None:
    results = post(app, "/predict", PREDICT).get_json()["results"]
    version = post(app, "/setup", SETUP).get_json()["model_version"]
    assert [item["model_version"] for item in results] == [version]
    assert app.test_client().get("/versions").get_json() == {"versions": [version]}


def test_versions_before_any_setup_name_the_release(app: Flask) -> None:
    assert app.test_client().get("/versions").get_json() == {"versions": ["ovdiff-0.1.0"]}


def test_status(app: Flask) -> None:
    post(app, "/predict", PREDICT)
    status = app.test_client().get("/status").get_json()
    assert status["projects"][PROJECT_UID]["counts"] == {"ready": 1}
    assert status["built"] == ["red"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/setup", [], "The body is list, expected a JSON object."),
        ("/setup", {"schema": CONFIG}, "The body has None for 'project', expected a text."),
        ("/setup", {"project": "1.2"}, "The body has None for 'schema', expected a text."),
        ("/setup", SETUP | {"schema": "<View/>"}, "The label config shows no <Image>, so there is nothing to segment."),
        ("/predict", PREDICT | {"tasks": {}}, "The body's 'tasks' are no list of objects."),
        ("/predict", PREDICT | {"tasks": [1]}, "The body's 'tasks' are no list of objects."),
        ("/predict", PREDICT | {"params": {"context": 1}}, "params.context is int, expected an object or null."),
        ("/webhook", {"action": 5}, "The body has 5 for 'action', expected a text."),
    ],
)
def test_mistakes_are_told_in_body_and_status_line(app: Flask, path: str, body: Any, message: str) -> None:
    response = post(app, path, body)
    assert response.status == f"400 {message}"
    assert response.get_json() == {"error": message}


def test_a_message_with_other_characters_keeps_the_status_line_plain(app: Flask) -> None:
    config = CONFIG.replace("<Label", '<Label value="bœuf" kind="liquide\u2028é"/><Label')
    response = post(app, "/setup", SETUP | {"schema": config})
    assert response.status_code == 400
    assert response.status.isascii()
    assert "bœuf" in response.get_json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("post", "/setup", {"data": "{broken", "content_type": "application/json"}, 400),
        ("post", "/setup", {"data": "{}", "content_type": "text/plain"}, 415),
        ("get", "/setup", {}, 405),
        ("get", "/nothing", {}, 404),
        ("post", "/predict", {"data": "[" + "1," * 5000 + "1]", "content_type": "application/json"}, 413),
    ],
)
def test_http_errors_are_json(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, method: str, path: str, options: Any, status: int
) -> None:
    small = replace(settings, server=ServerSettings(max_body_bytes=5000))
    response = getattr(make_app(small, engine).test_client(), method)(path, **options)
    assert response.status_code == status
    assert list(response.get_json()) == ["error"]


def test_a_bug_shows_no_traceback(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(app.extensions["ovdiff"], "setup", explode)
    response = post(app, "/setup", SETUP)
    assert response.status_code == 500
    assert response.get_json()["error"].startswith("Internal error ")
    assert "secret" not in response.get_data(as_text=True)
    assert "secret detail" in caplog.text


@pytest.fixture
def guarded(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> Flask:
    return make_app(replace(settings, server=ServerSettings(basic_user="ann", basic_password="pässword")), engine)


@pytest.mark.parametrize("path", ["/health", "/versions", "/status", "/nothing"])
@pytest.mark.parametrize("auth", [None, ("ann", "wrong"), ("bob", "pässword"), ("", "")])
def test_every_route_asks_for_the_password(guarded: Flask, path: str, auth: tuple[str, str] | None) -> None:
    response = guarded.test_client().get(path, auth=auth)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="ovdiff"'
    assert "error" in response.get_json()


def test_the_password_opens(guarded: Flask) -> None:
    assert guarded.test_client().get("/health", auth=("ann", "pässword")).status_code == 200
    assert post(guarded, "/setup", SETUP, auth=("ann", "pässword")).status_code == 200
    assert post(guarded, "/setup", SETUP).status_code == 401


def test_the_webhook_needs_no_password_because_label_studio_sends_none(guarded: Flask) -> None:
    response = post(guarded, "/webhook", {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}})
    assert response.get_json() == {"status": "recorded"}


def test_secrets_do_not_reach_the_log(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    post(app, "/setup", SETUP | {"access_token": "hush-token", "extra_params": {"key": "hush-param"}})
    assert "hush" not in caplog.text


def test_a_broken_state_file_costs_no_prediction(app: Flask, settings: Settings) -> None:
    with sqlite3.connect(settings.state_file) as connection:
        connection.executescript("DROP TABLE project; DROP TABLE model_version; DROP TABLE event;")
    assert post(app, "/setup", SETUP).status_code == 200
    assert post(app, "/predict", PREDICT).get_json()["results"][0]["result"]
    assert post(app, "/webhook", {"action": "TASKS_CREATED"}).status_code == 200
    assert app.test_client().get("/versions").get_json() == {"versions": ["ovdiff-0.1.0"]}


def test_a_state_file_that_is_no_database_stops_the_start(settings: Settings, engine: FakeEngine) -> None:
    settings.data_dir.mkdir()
    settings.state_file.write_bytes(b"no database" * 200)
    with pytest.raises(StoreError, match=r"state\.sqlite"):
        create_app(settings, engine)


def test_ready(app: Flask) -> None:
    assert app.test_client().get("/ready").get_json() == {"status": "READY", "missing": {}}


def test_not_ready_says_what_is_missing_and_why_to_who_knows_the_password(guarded: Flask, settings: Settings) -> None:
    shutil.rmtree(settings.bank_dir, ignore_errors=True)
    settings.bank_dir.write_text("")
    health, stranger = guarded.test_client().get("/health"), guarded.test_client().get("/ready")
    assert (health.status_code, stranger.status_code) == (401, 503)
    assert stranger.status == "503 Not ready. bank: the password shows why"
    assert stranger.get_json()["missing"] == {"bank": "the password shows why"}
    known = guarded.test_client().get("/ready", auth=("ann", "pässword")).get_json()
    assert known["missing"]["bank"].startswith(f"cannot write in {settings.bank_dir}")
    assert known["error"].startswith(f"Not ready. bank: cannot write in {settings.bank_dir}")
    assert guarded.test_client().get("/health", auth=("ann", "pässword")).status_code == 200


def test_a_start_that_fails_leaves_the_data_folder_free(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    settings.data_dir.mkdir()
    settings.state_file.write_bytes(b"no database" * 200)
    with pytest.raises(StoreError, match=r"state\.sqlite"):
        create_app(settings, engine)
    settings.state_file.unlink()
    make_app(settings, engine)
