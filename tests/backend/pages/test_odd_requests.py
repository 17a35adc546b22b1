"""Every route of the pages answers whatever a form or an address holds with a page, never with a fault of its own."""

import io
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>'
)
FIELDS = (
    "project",
    "name",
    "number",
    "value",
    "places",
    "key",
    "why",
    "task",
    "from",
    "change",
    "prompts",
    "image",
    "tried",
    "x",
    "y",
)
FILES = ("image", "mask")
WORDS = st.one_of(
    st.sampled_from(
        [PROJECT_UID, "red", "blue", "0", "1", "reject", "ban", "add-annotated", "trial", "", "-1", "9" * 30]
    ),
    st.integers().map(str),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
BYTES = st.one_of(st.just(b""), st.binary(max_size=40), st.just(b"\x89PNG\r\n\x1a\n"))


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio) -> Flask:
    label_studio.label_config = CONFIG
    label_studio.tasks = [{"id": 1, "data": {"image": "/data/upload/1/picture.png"}, "annotations": []}]
    made = make_app(settings, CuratingEngine(settings.bank_dir), add_pages=add_pages)
    client = made.test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})
    return made


def routes(app: Flask) -> list[tuple[str, str]]:
    """Return the method and the path of each route, with the names of its parts in angle brackets."""
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<any\(([^)]*)\):\w+>", lambda match: match[1].split(",")[0].strip(" '\""), rule.rule)
        if path.startswith("/page/") and "static" not in path:
            found += [(method, path) for method in sorted(rule.methods or ()) if method in ("GET", "POST")]
    return sorted(found)


def token(browser: FlaskClient) -> str:
    page = browser.get("/page/category", query_string={"project": PROJECT_UID, "name": "red"}).text
    return re.findall(r'name="token" value="([^"]+)"', page)[0]


def test_no_request_breaks_a_page(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    browser = app.test_client()
    known, signed = routes(app), token(browser)
    assert ("POST", "/page/category/reject") in known and ("GET", "/page/preview") in known

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        route=st.sampled_from(known),
        part=WORDS,
        fields=st.dictionaries(st.sampled_from(FIELDS), WORDS, max_size=6),
        files=st.dictionaries(st.sampled_from(FILES), BYTES, max_size=2),
        is_about_red=st.booleans(),
    )
    def asked(
        route: tuple[str, str], part: str, fields: dict[str, str], files: dict[str, bytes], is_about_red: bool
    ) -> None:
        method, path = route
        path = re.sub(r"<[^>]+>", lambda _: re.sub(r"[/?#%\s\x00-\x1f\\]", "_", part) or "0", path)
        given_fields = fields | ({"project": PROJECT_UID, "name": "red"} if is_about_red else {})
        if method == "GET":
            answer = browser.get(path, query_string=given_fields)
        else:
            uploads = {name: (io.BytesIO(data), f"{name}.png") for name, data in files.items()}
            answer = browser.post(path, data={**given_fields, **uploads, "token": signed})
        assert answer.status_code < 500 or answer.status_code in (502, 503), (method, path, given_fields, answer.text)
        assert "Traceback" not in answer.get_data(as_text=True)

    asked()
    assert [record for record in caplog.records if "unexpected" in record.getMessage().lower()] == []
