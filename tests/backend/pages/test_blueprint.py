import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from backend.pages.blueprint import add_pages
from backend.serving.looking import Looking
from backend.settings import ServerSettings, Settings
from ovdiff.bank.judgement import Judgement
from ovdiff.vocabulary import Category
from tests.backend.pages.conftest import HTML, words
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="&lt;b&gt;blue" treshold="0.5"/></BrushLabels></View>'
)


def connect(browser: FlaskClient, config: str = CONFIG) -> None:
    browser.post("/setup", json={"project": PROJECT_UID, "schema": config})
    browser.post("/predict", json={"project": PROJECT_UID, "label_config": config, "tasks": []})


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/plain"])
def test_a_program_at_the_root_is_told_of_health(browser: FlaskClient, accept: str) -> None:
    """As by the server of label-studio-ml; Label Studio 1.23.2 itself asks /health, with */*."""
    answer = browser.get("/", headers={"Accept": accept})
    assert answer.json == browser.get("/health").json == {"status": "UP", "model_class": "OVDiff"}
    assert "Accept" in answer.headers["Vary"]


def test_without_a_project_the_page_says_how_to_connect_one(browser: FlaskClient) -> None:
    page = browser.get("/", headers=HTML)
    assert page.mimetype == "text/html"
    assert "No project is connected yet" in words(page.text)
    assert "http://localhost/" in words(page.text)


def test_the_first_page_shows_projects_with_labels_warnings_and_stores(browser: FlaskClient) -> None:
    connect(browser)
    page = browser.get("/", headers=HTML).text
    said = words(page)
    assert "2 of 2 labels are ready" in said
    assert "Project 1" in said
    assert "red ready thing a table of known words its name known CLIP agrees with 100 %" in said
    assert "<b>blue ready" in said, "a label's name is shown as it is"
    assert "<b>blue" not in page, "and is never HTML"
    assert "treshold=\"0.5\" of the label '<b>blue'" in said
    assert "prototype sets 5" in said or "prototype sets 4" in said


def test_failures_and_the_queue_are_shown(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> None:
    engine.failing = frozenset({"red"})
    browser = make_app(settings, engine, add_pages=add_pages).test_client()
    connect(browser)
    image = {"image": "http://10.0.0.1/a.png"}
    browser.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": [{"id": 7, "data": image}]})
    page = browser.get("/", headers=HTML).text
    said = words(page)
    assert "1 labels failed" in said
    assert said.startswith("2 things need you 1 of 2 labels are made."), "the first words tell whether it is ready"
    assert "Project 1, red No support image of 'red' has any foreground. Look at it" in said
    assert f'href="/page/category?project={PROJECT_UID}&amp;name=red" aria-label="Look at red"' in page
    assert "Project 1, task 7 http://10.0.0.1/a.png is on 10.0.0.1" in said
    assert f'href="{settings.label_studio.url}/projects/1/data?task=7"' in page


def test_what_waits_is_shown_in_the_order_of_its_turns(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    import threading

    engine.gate = threading.Event()
    browser = make_app(settings, engine, add_pages=add_pages).test_client()
    three = CONFIG.replace("<Label", '<Label value="green"/><Label', 1)
    browser.post("/setup", json={"project": PROJECT_UID, "schema": three})
    try:
        assert eventually(lambda: "being made" in words(browser.get("/", headers=HTML).text))
        page = browser.get("/", headers=HTML).text
        assert "Queue Projects take turns, a label at a time. 2 wait. red Project 1 <b>blue Project 1" in words(page)
        assert 'data-live="busy"' in page
        assert 'value="50"' in page
    finally:
        engine.gate.set()


@pytest.mark.parametrize("path", ["/", "/page/static/page.css", "/page/static/live.js"])
def test_pages_ask_for_the_password_and_show_no_token(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, path: str
) -> None:
    guarded = replace(settings, server=ServerSettings(basic_user="ann", basic_password="pass word"))
    browser = make_app(guarded, engine, add_pages=add_pages).test_client()
    refused = browser.get(path, headers=HTML)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="ovdiff"'
    page = browser.get(path, headers=HTML, auth=("ann", "pass word"))
    assert page.status_code == 200
    assert LEGACY_TOKEN not in page.text
    assert "pass word" not in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_a_page_asks_for_nothing_from_elsewhere_and_holds_no_script(browser: FlaskClient) -> None:
    connect(browser)
    page = browser.get("/", headers=HTML).text
    loads: list[str] = []

    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            given = dict(attributes)
            assert "style" not in given
            assert not any(name.startswith("on") for name in given)
            if tag in ("script", "img", "link", "iframe", "form"):
                loads.append(str(given.get("src") or given.get("href") or given.get("action")))

    Loads().feed(page)
    assert loads
    assert all(address.startswith("/page/static/") for address in loads), loads
    assert all(browser.get(address).status_code == 200 for address in loads)


def test_the_routes_for_programs_keep_their_answers(browser: FlaskClient) -> None:
    """Errors of pages are pages; those of the protocol stay JSON."""
    assert browser.post("/setup", json=[]).get_json() == {"error": "The body is list, expected a JSON object."}
    assert "Content-Security-Policy" not in browser.get("/status").headers


def test_pages_take_only_their_share_of_the_threads(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(replace(settings, server=ServerSettings(threads=20)), engine, add_pages=add_pages)
    connect(app.test_client())
    waiting, gate, whole = threading.Semaphore(0), threading.Event(), engine.judgement

    def held(category: Category) -> Judgement | None:
        waiting.release()
        gate.wait(60)
        return whole(category)

    page = f"/page/category?project={PROJECT_UID}&name=red"
    assert eventually(lambda: "State ready" in words(app.test_client().get(page).text))
    monkeypatch.setattr(engine, "judgement", held)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(lambda: app.test_client().get(page).status_code) for _ in range(2)]
        try:
            assert all(waiting.acquire(timeout=60) for _ in asked)
            browser = app.test_client()
            for path in (page, "/page/projects/1/tasks", "/page/category/support.png"):
                turned_away = browser.get(path)
                assert turned_away.status_code == 503
                assert "2 pages or pictures of pages are being answered or wait for their turn" in turned_away.text
            assert browser.get("/", headers={"Accept": "*/*"}).status_code == 200
            assert browser.get("/page/static/page.css").status_code == 200
            assert browser.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG}).status_code == 200
        finally:
            gate.set()
        assert [future.result(60) for future in asked] == [200, 200]
    answers = [app.test_client().get(path).status_code for path in ("/page/category?project=9", page) * 3]
    assert answers == [400, 200] * 3, "everybody gives the place back, also who is refused"


@pytest.mark.parametrize(
    ("most_bytes", "said"), [(3000, "the form has 5"), (2**31, "a field is too long")], ids=["the form", "a field"]
)
def test_a_form_that_is_too_large_is_refused_on_a_page(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, most_bytes: int, said: str
) -> None:
    limited = replace(settings, server=ServerSettings(max_body_bytes=most_bytes))
    browser = make_app(limited, engine, add_pages=add_pages).test_client()
    form = {"why": "x" * 505_000}
    answer = browser.post("/page/category/reject", data=form, content_type="multipart/form-data")
    assert answer.status_code == 413
    assert f"Nothing was changed: {said}" in words(answer.text)


def test_a_fault_that_nobody_foresaw_is_a_page_with_the_number_of_the_log(
    browser: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    connect(browser)
    monkeypatch.setattr(Looking, "project", fail)
    answer = browser.get("/page/projects/1/tasks")
    assert answer.status_code == 500 and answer.mimetype == "text/html"
    number = words(answer.text).partition("Internal error ")[2][:8]
    assert f"Error {number} in GET /page/projects/1/tasks" in caplog.text
    assert "secret" not in answer.text and "To the overview" in words(answer.text)
