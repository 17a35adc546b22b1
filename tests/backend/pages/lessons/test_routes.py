"""The routes of lessons through the application."""

import re
import threading

import pytest
from flask.testing import FlaskClient

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from ovdiff.bank.lessons import Lesson
from ovdiff.learning.curve_points import CurvePoint, RightShares
from ovdiff.vocabulary import Vocabulary
from tests.backend.pages.conftest import HTML, words
from tests.backend.pages.lessons.conftest import WORDS, take
from tests.backend.pages.tasks.conftest import connected
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.learner import LearningEngine
from tests.fakes.waiting import eventually

LIST = "/page/projects/1/lessons"
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


def version(browser: FlaskClient) -> str:
    return str(browser.get("/status").get_json()["projects"][PROJECT_UID]["model_version"])


def token(browser: FlaskClient) -> str:
    found = _TOKEN.search(browser.get(LIST, headers=HTML).text)
    assert found is not None
    return found[1]


def test_the_page_tells_task_person_and_what_was_corrected(browser: FlaskClient, lessons: list[Lesson]) -> None:
    page = browser.get(LIST, headers=HTML)
    said = words(page.text)
    assert "2 of 2 lessons count" in said
    assert "2 people annotated" in said
    assert "Task 4 counts ann, 2026-11-21 10:00 The prediction was right." in said
    assert "Task 7 counts bob <b>, 2026-11-21 10:00 12 % was red and is blue ." in said
    assert "<b>, 2026" not in page.text, "a name is never HTML"
    assert 'href="/page/projects/1/tasks/7"' in page.text
    assert f'href="{LIST}"' in browser.get("/", headers=HTML).text


def test_a_lesson_is_switched_off_and_predictions_carry_another_version(
    browser: FlaskClient, engine: LearningEngine, lessons: list[Lesson]
) -> None:
    before, form = version(browser), {"token": token(browser), "lesson": lessons[1].address, "act": "off"}
    answer = browser.post(f"{LIST}/change", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{LIST}#list")
    assert not engine.lessons.card(lessons[1].address).on
    assert version(browser) != before
    assert "1 of 2 lessons count" in words(browser.get(LIST, headers=HTML).text)
    browser.post(f"{LIST}/change", data=form | {"act": "on"})
    assert version(browser) == before


def test_lessons_of_a_person_are_switched_together_and_the_filter_stays(
    browser: FlaskClient, engine: LearningEngine, lessons: list[Lesson]
) -> None:
    shown = words(browser.get(f"{LIST}?person=ann", headers=HTML).text)
    assert "All 1 that fit: Switch off Switch on" in shown
    assert "Task 7" not in shown
    answer = browser.post(f"{LIST}/change", data={"token": token(browser), "person": "ann", "act": "off"})
    assert answer.headers["Location"] == f"{LIST}?person=ann#list"
    assert [engine.lessons.card(each.address).on for each in lessons] == [False, True, True]


def test_a_removed_lesson_is_gone(browser: FlaskClient, engine: LearningEngine, lessons: list[Lesson]) -> None:
    browser.post(f"{LIST}/change", data={"token": token(browser), "lesson": lessons[0].address, "act": "remove"})
    assert lessons[0].address not in engine.lessons.addresses()
    again = browser.post(
        f"{LIST}/change",
        data={"token": token(browser), "lesson": lessons[0].address, "act": "remove"},
        headers=HTML,
    )
    assert again.status_code == 404
    assert "it may have been removed" in words(again.text)


def test_another_site_changes_nothing(browser: FlaskClient, engine: LearningEngine, lessons: list[Lesson]) -> None:
    for form in ({}, {"token": "stolen"}):
        answer = browser.post(f"{LIST}/change", data={**form, "lesson": lessons[0].address, "act": "remove"})
        assert answer.status_code == 400
    assert browser.get(f"{LIST}/change?lesson={lessons[0].address}&act=remove").status_code == 405
    assert len(engine.lessons.addresses()) == 3


@pytest.mark.parametrize(
    ("form", "status", "message"),
    [
        ({"act": "off"}, 400, "No lesson is named"),
        ({"act": "melt", "task": "4"}, 400, "'melt' is nothing that is done to lessons"),
        ({"act": "off", "lesson": "../../x"}, 404, "has no lesson '../../x'"),
        ({"act": "off", "lesson": ["a"] * 201}, 400, "201 lessons are named; at most 200"),
    ],
)
def test_what_cannot_be_done_is_said(
    browser: FlaskClient, lessons: list[Lesson], form: dict[str, object], status: int, message: str
) -> None:
    answer = browser.post(f"{LIST}/change", data={"token": token(browser), **form}, headers=HTML)
    assert answer.status_code == status
    assert message in words(answer.text)


@pytest.mark.parametrize("query", ["?page=0", "?page=99999999", "?task=%00", "?person=%F0%9F%92%A9", "?task=4&page=1"])
def test_odd_questions_get_a_page(browser: FlaskClient, lessons: list[Lesson], query: str) -> None:
    assert browser.get(LIST + query, headers=HTML).status_code == 200
    assert browser.get(f"{LIST}?page=x", headers=HTML).status_code == 404


def test_without_lessons_the_page_says_how_they_come(browser: FlaskClient) -> None:
    assert "ovdiff learn project-1/export.json" in words(browser.get(LIST, headers=HTML).text)


def test_an_engine_without_lessons_says_so(
    make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio
) -> None:
    browser = connected(
        make_app(settings, FakeEngine(settings.bank_dir), add_pages=add_pages), label_studio
    ).test_client()
    page = browser.get(LIST, headers=HTML)
    assert "The engine fake keeps no lessons" in words(page.text)
    assert browser.get("/page/projects/5/lessons").status_code == 404


class CurvedEngine(LearningEngine):
    """Waits at its gate before it tells a curve."""

    asked: Vocabulary | None = None

    def learning_curve(self, vocabulary: Vocabulary) -> tuple[CurvePoint, ...]:
        if self.gate is not None:
            self.gate.wait(60)
        self.asked = vocabulary
        return (
            CurvePoint(1, {"clip": RightShares(0.7, 0.7, False)}),
            CurvePoint(2, {"clip": RightShares(0.7, 0.9, True)}),
        )


def test_the_learning_curve_is_measured_outside_the_request(
    make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio
) -> None:
    engine = CurvedEngine(settings.bank_dir)
    browser = connected(make_app(settings, engine, add_pages=add_pages), label_studio).test_client()
    assert "Do they help?" not in words(browser.get(LIST, headers=HTML).text), "there is no lesson yet"
    for category in WORDS.categories:
        engine.build(category)
    take(engine, 4, "ann", swapped=True)
    engine.gate = threading.Event()
    answer = browser.post(f"{LIST}/curve", data={"token": token(browser)})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{LIST}#curve")
    going = browser.get(LIST, headers=HTML).text
    assert "The learning curve is being measured This goes on by itself" in words(going)
    assert 'data-live="busy"' in going
    engine.gate.set()
    assert eventually(lambda: "Measure it again" in words(browser.get(LIST, headers=HTML).text))
    page = browser.get(LIST, headers=HTML).text
    assert "Lessons Without With 1 70.0 % 70.0 % 2 70.0 % 90.0 %" in words(page)
    assert 'class="after" points="24.0,' in page
    assert engine.asked is not None
    assert engine.asked.names == ("red", "blue", "<i>green")


def test_an_engine_without_a_curve_refuses(browser: FlaskClient, lessons: list[Lesson]) -> None:
    assert "Do they help?" not in words(browser.get(LIST, headers=HTML).text)
    answer = browser.post(f"{LIST}/curve", data={"token": token(browser)}, headers=HTML)
    assert answer.status_code == 400
    assert "The engine 'fake' has no learning curve" in words(answer.text)
