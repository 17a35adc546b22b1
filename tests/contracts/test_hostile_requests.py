"""Recorded requests, changed as a hostile or broken client would: none is answered with a 500 or a traceback.

The changes are drawn from a seed that each test names, so a failure comes again; its message holds the request. Each
test draws 250 of them; `make fuzz` draws 10,000.
"""

import io
import json
import logging
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from backend.pages.blueprint import add_pages
from backend.settings import PredictionSettings, ServerSettings, Settings
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.learner import LearningEngine
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.teaching import LEARNING, annotate, hasten, idle, learning_studio, quick_settings
from tests.fakes.waiting import eventually

RECORDED = Path(__file__).parent / "requests"
REQUESTS = [json.loads(path.read_text()) for path in sorted(RECORDED.glob("*.json"))]
POSTED = [request for request in REQUESTS if request["body"] is not None]
PICTURE = "/data/upload/1/picture.png"
BUSY = 503


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, -0.0, 1e308, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, -(10**400)),
    *("", " ", "\x00", "\ud800", "a\udfffb", "œ", "\u202e", "x" * 100_000, "1e999", "NaN", "\r\nSet-Cookie: a=b"),
    *([], {}, [[]], [None], {"": None}, {"id": 10**400}, {"id": "\ud800"}, deep(300), {"result": deep(100)}),
    *("http://[::1", "http://" + "a" * 300 + "/", "http://\ud800/", "//", "http:///x", "http://127.0.0.1:99999/"),
    *(PICTURE, PICTURE + "\ud800", "/data/../etc/passwd", "file:///etc/passwd", "s3://", "s3://b/\ud800", "gs://b/k"),
    *("http://storage.googleapis.com\\@x/", "http://user:pa ss@x/", "http://1.2.3.4.5/", "http://%00/", "data:,x"),
    *("keypointlabels", "rectanglelabels", "prediction", "PROJECT_UPDATED", "<View/>", "<View>" * 500),
    '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i"><Label value="&#x1F;"/></BrushLabels></View>',
    '<View><Image name="i" value="i"/><BrushLabels name="\x01" toName="i"><Label value="\ud800"/></BrushLabels></View>',
    '<!DOCTYPE v [<!ENTITY a "&b;&b;"><!ENTITY b "&a;">]><View>&a;</View>',
]
CONTENT_TYPES = [
    "",
    "text/plain",
    "application/json; charset=latin-1",
    "application/json; charset=\xff",
    "multipart/form-data",
]
HEADERS = [
    *(("Host", "["), ("Host", ""), ("Host", "a b"), ("Host", "x" * 300), ("Host", "\xff"), ("Accept", "\xff")),
    *(("Authorization", "Basic \xff"), ("Authorization", "Digest a=b,"), ("Authorization", "Basic")),
    *(("Content-Encoding", "gzip"), ("Content-Length", "5"), ("Content-Length", "-1"), ("Content-Length", "x")),
    *(("Transfer-Encoding", "chunked"), ("Range", "bytes=-1"), ("If-Modified-Since", "\xff"), ("Cookie", "=;\xff")),
    *(("X-Forwarded-For", "\xff"), ("X-HTTP-Method-Override", "PATCH"), ("Origin", "null"), ("Date", "never")),
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NOTHING", "\xff"]
PATHS = [
    "/",
    "//",
    "/predict/",
    "/setup?x",
    "/health",
    "/status",
    "/versions",
    "/ready",
    "/metrics",
    "/train",
    "/webhook/..",
    "/%00",
    "/%ff",
    "/\xff",
]
QUERIES = ["", "a", "a=%ff", "&&==", "%", "a[]=1" * 1000, "\xff"]


@pytest.fixture
def hostile_app(
    make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> Flask:
    """The service on a fake engine; it waits for nothing, and knows the pictures of the recorded tasks."""
    for task in (task for request in POSTED for task in request["body"].get("tasks", [])):
        if "image" in task.get("data", {}):
            label_studio.files[task["data"]["image"]] = ("image/png", encoded(red_and_blue()))
    monkeypatch.setattr("backend.serving.predicting.answers.STORING_S", 0.0)  # a task twice in a request waits for it
    quick = PredictionSettings(wait_for_prototypes_s=0.0, answer_within_s=5.0, partial_predictions=True)
    app = make_app(replace(settings, prediction=quick), CuratingEngine(settings.bank_dir), add_pages=add_pages)
    (setup,) = (
        request["body"] for request in REQUESTS if request["path"] == "/setup" and not request["body"]["extra_params"]
    )
    app.test_client().post("/setup", json=setup)
    status = app.extensions["ovdiff"].status
    assert eventually(lambda: all(project["counts"].keys() == {"ready"} for project in status()["projects"].values()))
    return app


@pytest.fixture
def bugs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged with a traceback is a bug, also where the client sees only an error of one task."""
    caplog.set_level(logging.ERROR)
    return caplog


def changed(value: Any, random: Random) -> Any:
    """Return a JSON value with one place in it replaced, left out or doubled."""
    value = deepcopy(value)
    parent, key = value, None
    while isinstance(parent, dict | list) and parent:
        place = random.choice(list(parent)) if isinstance(parent, dict) else random.randrange(len(parent))
        inner = parent[place]
        if isinstance(inner, dict | list) and inner and random.random() < 0.8:
            parent = inner
            continue
        key = place
        break
    if key is None:
        return random.choice(VALUES)
    match random.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.append(parent[key])
        case 1:
            parent[str(random.choice(VALUES))[:50]] = parent[key]
        case _:
            parent[key] = random.choice(VALUES)
    return value


def check(response: TestResponse, sent: object) -> None:
    """Require an answer that a client can read, and no bug."""
    told = f"{sent!r:.3000}"
    assert response.status_code < 500 or response.status_code == BUSY, told
    text = response.get_data(as_text=True)
    assert "Traceback" not in text, told
    if text and response.status_code != 200:
        assert isinstance(json.loads(text)["error"], str), told
    elif text and response.mimetype != "text/plain":  # /metrics is no JSON
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the answer to {told}"))


def no_bug(log: pytest.LogCaptureFixture, sent: object) -> None:
    logged = [record.getMessage() for record in log.records if record.exc_info]
    assert not logged, f"{logged} after {sent!r:.3000}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hostile_values(hostile_app: Flask, bugs: pytest.LogCaptureFixture, seed: int, rounds: int) -> None:
    random, client = Random(seed), hostile_app.test_client()
    for _ in range(rounds):
        request = random.choice(POSTED)
        body = request["body"]
        for _ in range(random.choice([1, 1, 1, 2, 5])):
            body = changed(body, random)
        check(client.post(request["path"], data=json.dumps(body), content_type="application/json"), body)
        no_bug(bugs, body)
    check(client.get("/status"), "/status")
    no_bug(bugs, "/status")


def test_hostile_events_only_have_label_studio_asked_about_the_project_that_learns(
    make_app: MakeApp, tmp_path: Path, bugs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """Whatever an event says, what follows is a bounded number of reads; a lesson stays as the annotation has it."""
    hasten(monkeypatch)
    random = Random(9)
    events = [request["body"] for request in POSTED if request["path"] == "/webhook"]
    with learning_studio(2) as studio:
        annotate(studio, 1, 1)
        settings = quick_settings(studio, tmp_path)
        engine = LearningEngine(settings.bank_dir)
        app = make_app(settings, engine)
        client, service = app.test_client(), app.extensions["ovdiff"]
        client.post("/setup", json={"project": PROJECT_UID, "schema": LEARNING})
        for _ in range(rounds // 4):
            body = changed(random.choice(events), random)
            check(client.post("/webhook", data=json.dumps(body), content_type="application/json"), body)
            body = {"project": random.choice([*VALUES, {"id": random.choice(VALUES)}])}
            check(client.post("/train", data=json.dumps(body), content_type="application/json"), body)
        assert eventually(idle(service), 30)
        assert [card.source.annotation for card in engine.lessons.cards()] == ["1"]
        assert {request.method for request in studio.requests} == {"GET"}
        asked = {request.path for request in studio.requests if not request.path.startswith("/api/annotations/")}
        assert asked <= {"/api/projects/1/", "/api/tasks", "/data/upload/1/1.png"}
    no_bug(bugs, "events")


@pytest.mark.parametrize("name", ["keypointlabels", "rectanglelabels"])
def test_hostile_clicks(hostile_app: Flask, bugs: pytest.LogCaptureFixture, name: str) -> None:
    """Every value at every place of what somebody drew."""
    client = hostile_app.test_client()
    request = json.loads((RECORDED / f"predict_interactive_{name}.json").read_text())
    for place in ("x", "y", "width", "height", "rotation", name, "to_name", "type", "origin", "is_positive", "value"):
        for value in VALUES:
            body = deepcopy(request["body"])
            region = body["params"]["context"]["result"][-1]
            (region["value"] if place in region["value"] else region)[place] = value
            check(client.post("/predict", data=json.dumps(body), content_type="application/json"), (place, value))
            no_bug(bugs, (place, value))


def test_hostile_texts(hostile_app: Flask, bugs: pytest.LogCaptureFixture, rounds: int) -> None:
    random, client = Random(4), hostile_app.test_client()
    for _ in range(rounds):
        request = random.choice(POSTED)
        text = json.dumps(request["body"], ensure_ascii=False)
        place = random.randrange(len(text))
        match random.randrange(8):
            case 0:
                data = text[:place].encode()
            case 1:
                data = text.encode()[:place] + bytes([random.randrange(256)]) + text.encode()[place + 1 :]
            case 2:
                levels = random.choice([50, 900, 1500, 20_000])
                key = json.dumps(random.choice(["project", "x"]))
                data = f"{text[:-1]}, {key}: {'[' * levels}{']' * levels}}}".encode()
            case 3:
                key = json.dumps(random.choice(list(request["body"])))
                data = (
                    f"{text[:-1]}, {key}: {random.choice(['NaN', '-Infinity', '1e999', '9' * 5000, '[]'])}}}".encode()
                )
            case 4:
                data = text.encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))
            case 5:
                data = text.replace("1", random.choice(["1e400", "NaN", '"\\ud800"', "-0", "1" * 400])).encode()
            case 6:
                data = text.replace("image", "im\udfffage").encode(errors="surrogatepass")
            case _:
                data = bytes(random.randrange(256) for _ in range(place % 500))
        check(client.post(request["path"], data=data, content_type="application/json"), data)
        no_bug(bugs, data)


_FIELD = re.compile(
    r'(?:request\.(?:args|form|values|files)|given)(?:\.get(?:list)?\(|\[)"(\w+)"'
    r'|"(\w+)" in request\.|asked_number\("(\w+)"\)'
)
BY_HAND = {
    *(
        "project",
        "name",
        "number",
        "value",
        "why",
        "task",
        "from",
        "change",
        "prompts",
        "alone",
        "tried",
        "key",
        "places",
        "drawn",
        "seen",
        "into",
    ),
    *("after", "image", "mask", "lesson", "act", "person", "page", "x", "y", "at600.x", "at600.y"),
}
"""Fields that the pages are known to read; some of them by names that no pattern finds in the code."""


def fields_in_code() -> set[str]:
    """Return the fields that the modules of the pages read, as far as their code names them."""
    files = Path(add_pages.__code__.co_filename).parent.rglob("*.py")
    return {name for path in files for found in _FIELD.findall(path.read_text("utf-8")) for name in found if name}


FIELDS = sorted(fields_in_code() | BY_HAND)
"""The fields of the pages' forms and addresses."""


def test_the_fields_of_all_pages_are_found() -> None:
    found = fields_in_code()
    assert found >= {
        "project",
        "name",
        "value",
        "why",
        "alone",
        "tried",
        "key",
        "places",
        "after",
        "lesson",
        "act",
        "x",
    }
    assert found - BY_HAND == set(), "a new field: name it in BY_HAND"


def page_value(random: Random, field: str, known: dict[str, list[str]]) -> str:
    if known.get(field) and random.random() < 0.6:
        return random.choice(known[field])
    texts = [value for value in VALUES if isinstance(value, str)]
    return str(random.choice([*texts, *"0123", "-1", "99999999999999999999", "1.5"]))[:5000]


def uploads(random: Random) -> dict[str, Any]:
    body = random.choice([b"", b"\x89PNG", encoded(red_and_blue()), bytes(1000)])
    return {name: (io.BytesIO(body), random.choice(["a.png", "../a", ""])) for name in ("image", "mask")}


@pytest.mark.parametrize("seed", [6, 7])
def test_hostile_visitors_of_pages(hostile_app: Flask, bugs: pytest.LogCaptureFixture, seed: int, rounds: int) -> None:
    """Every route of the pages, with the token of a form or without it."""
    random, client = Random(seed), hostile_app.test_client()
    project = next(iter(hostile_app.extensions["ovdiff"].status()["projects"]))
    known = {"project": [project], "name": ["red disc", "blue square"], "token": [""]}
    routes = [rule for rule in hostile_app.url_map.iter_rules() if rule.endpoint.startswith("pages.")]
    assert len(routes) > 10
    for _ in range(rounds):
        rule = random.choice(routes)
        place = quote(page_value(random, "", known)[:50].encode(errors="replace"))
        path = re.sub(r"<[^>]*>", place, rule.rule)
        fields = {field: page_value(random, field, known) for field in random.sample(FIELDS, random.randrange(5))}
        fields |= {"project": project, "name": random.choice(known["name"])} if random.random() < 0.5 else {}
        fields["token"] = random.choice(known["token"])
        fields |= {field: known[field][-1] for field in ("drawn", "seen") if known.get(field) and random.random() < 0.5}
        sent = (path, rule.methods, fields)
        bytes_of = {name: text.encode(errors="surrogatepass") for name, text in fields.items()}
        if "POST" in (rule.methods or ()) and random.random() < 0.9:
            response = client.post(path, data=bytes_of | (uploads(random) if random.random() < 0.3 else {}))
        else:
            accept = random.choice(["text/html", "*/*", "image/png", "\xff"])
            response = client.get(path, query_string=urlencode(bytes_of), headers={"Accept": accept})
        text = response.get_data().decode(errors="replace")  # a picture's bytes as well
        assert response.status_code < 500 or response.status_code == BUSY, f"{sent!r:.3000}"
        assert "Traceback" not in text, f"{sent!r:.3000}"
        for field in ("token", "drawn", "seen"):  # a form that was shown is sent as it was shown, or later
            known.setdefault(field, []).extend(re.findall(rf'name="{field}" value="([^"]+)"', text)[:1])
        no_bug(bugs, sent)
    assert len(known["token"]) > 1


@pytest.mark.parametrize("guarded", [False, True])
def test_hostile_envelopes(
    make_app: MakeApp,
    settings: Settings,
    engine: FakeEngine,
    bugs: pytest.LogCaptureFixture,
    guarded: bool,
    rounds: int,
) -> None:
    server = ServerSettings(basic_user="ann", basic_password="secret") if guarded else settings.server
    random, client = Random(5), make_app(replace(settings, server=server), engine).test_client()
    for _ in range(rounds):
        request = random.choice(REQUESTS)
        headers = random.sample(HEADERS, random.choice([0, 1, 2]))
        content_type = random.choice([*CONTENT_TYPES, "application/json", "application/json"])
        path = random.choice([request["path"], request["path"], *PATHS])
        method = random.choice([request["method"], request["method"], *METHODS])
        sent = (method, path, random.choice(QUERIES), content_type, headers)
        data = json.dumps(request["body"])
        options: dict[str, Any] = {"headers": headers, "content_type": content_type, "data": data}
        check(client.open(path if "?" in path else f"{path}?{sent[2]}", method=method, **options), sent)
        no_bug(bugs, sent)
