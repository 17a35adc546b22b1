"""The routes of tasks through the application: addresses, headers, errors as pages."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from backend.errors import NothingThereError, RequestError
from backend.pages.blueprint import add_pages
from backend.pages.tasks.routes import number_in, place_in
from backend.serving.service import Service
from backend.settings import ServerSettings, Settings
from tests.backend.pages.conftest import HTML, words
from tests.backend.pages.tasks.conftest import connected
from tests.fakes.engine import FakeEngine
from tests.fakes.explaining_engine import ExplainingEngine, ScoringEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio
from tests.fakes.waiting import eventually

TASK = "/page/projects/1/tasks/7"
PICTURE = re.compile(r'src="(/page/pictures/[^"]+)"')


def test_the_tasks_of_a_project_are_listed_from_label_studio(browser: FlaskClient) -> None:
    page = browser.get("/page/projects/1/tasks", headers=HTML)
    assert page.status_code == 200
    assert "Task 4 picture.png none yet Open" in words(page.text)
    assert 'href="/page/projects/1/tasks/9"' in page.text
    later = words(browser.get("/page/projects/1/tasks?after=7", headers=HTML).text)
    assert "Tasks after 7" in later
    assert "Task 9" in later
    assert "Task 4" not in later
    assert 'href="/page/projects/1/tasks"' in browser.get("/", headers=HTML).text, "the overview leads there"


def test_a_number_in_the_field_leads_to_the_task(browser: FlaskClient) -> None:
    answer = browser.get("/page/projects/1/tasks?task=+7+", headers=HTML)
    assert (answer.status_code, answer.headers["Location"]) == (303, TASK)


def test_a_task_shows_its_image_masks_legend_and_version(browser: FlaskClient) -> None:
    page = browser.get(TASK, headers=HTML).text
    said = words(page)
    assert re.search(r"What the service predicts now, version ovdiff-\S+\+[0-9a-f]{10} ", said)
    assert "red 0.75 12.5 %" in said
    assert "blue not shown: its score is below threshold=0.9 0.75 12.5 %" in said
    assert "Nothing of <i>green" in said
    assert "<i>green" not in page, "a label is never HTML"
    assert page.count('type="image"') == 3
    assert "/projects/1/data?task=7" in page


def test_pictures_come_from_the_service_and_only_this_browser_keeps_them(browser: FlaskClient) -> None:
    addresses = set(PICTURE.findall(browser.get(f"{TASK}?x=16&y=24", headers=HTML).text))
    assert len(addresses) >= 4, "the image, its masks, the click's mask, support images"
    for address in addresses:
        picture = browser.get(address)
        assert picture.mimetype == "image/png"
        assert picture.data.startswith(b"\x89PNG")
        assert picture.headers["Cache-Control"] == "private, max-age=3600, immutable"
        assert picture.headers["X-Content-Type-Options"] == "nosniff"
    assert browser.get(TASK, headers=HTML).headers["Cache-Control"] == "no-store"


def test_a_press_on_the_image_shows_the_evidence_of_the_pixel(browser: FlaskClient, engine: ExplainingEngine) -> None:
    said = words(browser.get(f"{TASK}?at600.x=150&at600.y=225", headers=HTML).text)
    assert engine.explained == [(16, 24)]
    assert "Pixel 16, 24 is red" in said
    assert "Winner by votes boat" in said
    assert "Runner-up fox" in said
    assert "Margin 0.100" in said
    assert "part 12 of boat clip, 62 % of the votes" in said
    assert "part check CLIP looks at the whole part, and may give it another name. background changed" in said
    assert "would draw this mask: red, 12.5 % of the image, score 0.75" in said


def test_odise_says_what_it_can(make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio) -> None:
    engine = ScoringEngine(settings.bank_dir)
    browser = connected(make_app(settings, engine, add_pages=add_pages), label_studio).test_client()
    said = words(browser.get(f"{TASK}?x=16&y=24", headers=HTML).text)
    assert "has no prototypes to show" in said
    assert "a word needs 0.25 to be drawn" in said
    assert "<i>green 0.500" in said


def test_an_engine_that_knows_nothing_of_places_says_so(
    make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio
) -> None:
    engine = FakeEngine(settings.bank_dir)
    browser = connected(make_app(settings, engine, add_pages=add_pages), label_studio).test_client()
    assert "The engine fake cannot say why." in words(browser.get(f"{TASK}?x=16&y=24", headers=HTML).text)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/page/projects/2/tasks", 404, "Project 2 is not known here."),
        ("/page/projects/2/tasks/1", 404, "Project 2 is not known here."),
        ("/page/projects/1/tasks/8", 404, "Project 1 has no task 8"),
        ("/page/projects/1/tasks/0", 404, "Project 1 has no task 0"),
        (f"/page/projects/1/tasks/{10**17}", 404, "has no task"),
        (f"/page/projects/{'9' * 5000}/tasks", 404, "is no number of a project"),
        ("/page/projects/1/tasks/" + "9" * 5000, 404, "is no number of a task"),
        ("/page/projects/1/tasks/%D9%A7", 404, "is no number of a task"),
        ("/page/projects/-1/tasks", 404, "is no number of a project"),
        ("/page/projects/1.1795200099/tasks", 404, "is no number of a project"),
        ("/page/projects/1/tasks/<script>", 404, "is no number of a task"),
        ("/page/projects/1/tasks/..%2f..%2fetc", 404, "nothing at"),
        ("/page/projects/1/tasks?task=seven", 404, "'seven' is no number of a task"),
        ("/page/projects/1/tasks?after=-3", 404, "is no number of a task"),
        (f"{TASK}?x=64&y=0", 400, "The pixel 64,0 lies outside the image of 64 x 48 px"),
        (f"{TASK}?x=-1&y=0", 400, "The pixel -1,0 lies outside"),
        (f"{TASK}?x=1", 400, "y='' is no whole number of pixels"),
        (f"{TASK}?x=1e3&y=nan", 400, "x='1e3' is no whole number"),
        (f"{TASK}?at600.x=12", 400, "y='' is no whole number"),
        (f"{TASK}?at600.x=1%00&at600.y=2", 400, "is no whole number"),
        (f"{TASK}?image=other", 404, "No image 'other' of project 1 has labels."),
        ("/page/pictures/../../secret", 404, "nothing at"),
        ("/page/pictures/x.png", 404, "There is no picture of this name."),
        (f"/page/pictures/{'0' * 32}.png", 404, "Load the page that shows it again."),
    ],
)
def test_what_is_not_there_or_outside_is_said_in_words(
    browser: FlaskClient, path: str, status: int, message: str
) -> None:
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == status
    said = words(answer.text) if answer.mimetype == "text/html" else answer.get_json()["error"]
    assert message in said
    assert "Traceback" not in answer.text
    assert "<script>" not in answer.text


def test_label_studio_that_is_down_refuses_or_answers_rubbish_is_said_in_words(
    browser: FlaskClient, label_studio: FakeLabelStudio
) -> None:
    label_studio.task_faults = [500]
    failing = browser.get(TASK, headers=HTML)
    assert failing.status_code == 502
    assert "Label Studio answered 500" in words(failing.text)
    label_studio.task_faults = [401]
    refused = browser.get("/page/projects/1/tasks", headers=HTML)
    assert refused.status_code == 502
    assert "Label Studio refused the token" in words(refused.text)
    assert LEGACY_TOKEN not in refused.text
    label_studio.files.clear()
    gone = browser.get(TASK, headers=HTML)
    assert gone.status_code == 400
    assert "404" in words(gone.text)


def test_without_label_studio_a_page_says_so(
    make_app: MakeApp, settings: Settings, engine: ExplainingEngine, label_studio: FakeLabelStudio
) -> None:
    nowhere = replace(settings, label_studio=replace(settings.label_studio, url="http://127.0.0.1:9"))
    browser = connected(make_app(nowhere, engine, add_pages=add_pages), label_studio).test_client()
    answer = browser.get(TASK, headers=HTML)
    assert answer.status_code == 502
    assert "Label Studio did not answer at http://127.0.0.1:9/api/tasks" in words(answer.text)


@pytest.fixture
def gate(engine: ExplainingEngine) -> Iterator[threading.Event]:
    engine.explain_gate = threading.Event()
    yield engine.explain_gate
    engine.explain_gate.set()


def test_one_person_looks_at_a_time_and_few_wait(
    browser: FlaskClient, engine: ExplainingEngine, gate: threading.Event, service: Service
) -> None:
    """The first one holds the turn and three wait; a fifth is turned away at once, in words."""
    app = browser.application
    with ThreadPoolExecutor(4) as others:
        waiting = [others.submit(lambda: app.test_client().get(f"{TASK}?x=1&y=1").status_code) for _ in range(4)]
        assert eventually(lambda: len(engine.explained) == 1 and service.looking.people == 4)
        answer = browser.get(f"{TASK}?x=1&y=1", headers=HTML)
        assert answer.status_code == 503
        assert "Load this one again in a moment." in words(answer.text)
        assert len(engine.explained) == 1
        gate.set()
        assert [each.result(60) for each in waiting] == [200] * 4
    assert browser.get(TASK).status_code == 200, "the places are free again"


def test_pages_of_tasks_ask_for_the_password(make_app: MakeApp, settings: Settings, engine: ExplainingEngine) -> None:
    guarded = replace(settings, server=ServerSettings(basic_user="ann", basic_password="pass word"))
    browser = make_app(guarded, engine, add_pages=add_pages).test_client()
    for path in (TASK, "/page/projects/1/tasks", f"/page/pictures/{'0' * 32}.png"):
        assert browser.get(path).status_code == 401


@pytest.mark.parametrize("pressed", [{"at320.x": "319", "at320.y": "0"}, {"at600.x": "700", "at600.y": "-0"}])
def test_a_press_at_the_edge_is_the_nearest_pixel(pressed: dict[str, str]) -> None:
    assert place_in(pressed, (64, 48)) == (63, 0)


def test_a_press_tells_the_pixel_in_any_size() -> None:
    assert place_in({"at640.x": "320", "at640.y": "100"}, (64, 48)) == (32, 10)
    assert place_in({"at320.x": "160", "at320.y": "50"}, (64, 48)) == (32, 10)
    assert place_in({"at1.x": "0", "at1.y": "0"}, (64, 48)) == (32, 32)
    assert place_in({"x": "3", "y": "4"}, (64, 48)) == (3, 4)
    assert place_in({}, (64, 48)) is place_in({"x": "", "y": ""}, (64, 48)) is None
    with pytest.raises(RequestError):
        place_in({"at0.x": "1", "at0.y": "1", "x": "a"}, (64, 48))


def test_numbers_in_addresses() -> None:
    assert number_in("0017", "task") == 17
    with pytest.raises(NothingThereError, match="'x' is no number of a task"):
        number_in("x", "task")
