"""The routes of searches through the application: state, start, end, and what is shown of the result."""

import re
import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from flask.testing import FlaskClient

from backend.pages.blueprint import add_pages
from backend.pages.searches import routes
from backend.pages.searches.task_search import TaskSearch
from backend.pages.work import Piece, Work
from backend.serving.service import Service
from backend.settings import Settings
from tests.backend.pages.conftest import HTML, words
from tests.backend.pages.searches.conftest import AddTask
from tests.backend.pages.tasks.conftest import connected
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.searching_engine import BROKEN, SearchingEngine
from tests.fakes.waiting import eventually

NEXT, CANDIDATES = "/page/projects/1/next", "/page/projects/1/candidates"
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


def shown(browser: FlaskClient, path: str) -> str:
    return words(browser.get(path, headers=HTML).text)


def press(browser: FlaskClient, path: str, act: str) -> int:
    found = _TOKEN.search(browser.get(path, headers=HTML).text)
    assert found is not None
    answer = browser.post(f"{path}/{act}", data={"token": found[1]})
    assert answer.headers.get("Location") == path
    return answer.status_code


@pytest.fixture
def gate(engine: SearchingEngine) -> Iterator[threading.Event]:
    engine.look_gate = threading.Event()
    yield engine.look_gate
    engine.look_gate.set()


def test_a_search_goes_on_outside_the_request_and_is_ended_with_what_was_found(
    browser: FlaskClient, engine: SearchingEngine, gate: threading.Event, add_task: AddTask
) -> None:
    for number in range(1, 6):
        add_task(number)
    assert "Nothing was looked at yet" in shown(browser, NEXT)
    assert press(browser, NEXT, "start") == 303
    assert eventually(lambda: engine.looked == 1)
    page = browser.get(NEXT, headers=HTML).text
    assert 'data-live="busy"' in page
    assert 'max="5" value="0"' in page
    assert press(browser, NEXT, "start") == 303, "a second press begins no second search"
    assert press(browser, NEXT, "end") == 303
    assert "It ends after the image that is being looked at." in shown(browser, NEXT)
    gate.set()
    assert eventually(lambda: "Annotate these first" in shown(browser, NEXT))
    said = shown(browser, NEXT)
    assert "1 task looked at." in said
    assert "Task 1 1.png unsure of red/blue; nobody has confirmed red red Annotate" in said
    assert "/projects/1/data?task=1" in browser.get(NEXT, headers=HTML).text
    assert engine.looked == 1


def test_of_two_presses_at_once_the_search_that_runs_is_shown(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, made, ran, gate = threading.Barrier(2), [], [], threading.Event()

    class Slow(Work):
        def of(self, about: Hashable) -> Piece | None:
            found = super().of(about)
            with suppress(threading.BrokenBarrierError):  # if they come one after the other, as they should
                both.wait(0.5)
            return found

    monkeypatch.setattr(routes, "find_next_tasks", lambda search, _engine: ran.append(search) or gate.wait(60))
    monkeypatch.setattr(
        routes, "TaskSearch", lambda *given, **named: made.append(TaskSearch(*given, **named)) or made[-1]
    )
    searches, project = routes.Searches(service, Slow()), service.looking.project(1)
    with ThreadPoolExecutor(2) as pool:
        for press in [pool.submit(searches.start, "next", project) for _ in range(2)]:
            press.result(60)
    try:
        assert eventually(lambda: len(ran) == 1)
        assert made == ran == [searches.of("next", project)]
    finally:
        gate.set()


def test_failures_are_told_with_their_tasks(browser: FlaskClient, add_task: AddTask) -> None:
    add_task(1, (BROKEN, 0))
    press(browser, NEXT, "start")
    assert eventually(lambda: "No task is left to annotate." in shown(browser, NEXT))
    assert "Task 1 This image cannot be looked at." in shown(browser, NEXT)


def test_candidates_are_shown_with_crops_and_lines(browser: FlaskClient, add_task: AddTask) -> None:
    add_task(1)
    add_task(2, (0, 200))
    press(browser, CANDIDATES, "start")
    # Longer than a moment: the first grouping imports scikit-learn, which took 40 s on a machine under load.
    assert eventually(lambda: "in 2 tasks, 2 regions" in shown(browser, CANDIDATES), 90.0)
    page = browser.get(CANDIDATES, headers=HTML).text
    assert 'snow "man"? in 2 tasks' in words(page)
    assert '<Label value="snow &quot;man&quot;"/>' in words(page)
    addresses = re.findall(r'src="(/page/pictures/[^"]+)"', page)
    assert len(addresses) == 3
    assert all(browser.get(address).status_code == 200 for address in addresses)
    assert "/settings/labeling" in page


def test_label_studio_that_is_down_is_told(
    browser: FlaskClient, add_task: AddTask, label_studio: FakeLabelStudio
) -> None:
    label_studio.task_faults = [500]
    press(browser, NEXT, "start")
    assert eventually(lambda: "It failed Label Studio answered 500" in shown(browser, NEXT))
    assert "Look again" in shown(browser, NEXT)


def test_what_the_engine_cannot_do_is_said(
    make_app: MakeApp, settings: Settings, label_studio: FakeLabelStudio
) -> None:
    plain = make_app(settings, FakeEngine(settings.bank_dir), add_pages=add_pages)
    browser = connected(plain, label_studio).test_client()
    for path in (NEXT, CANDIDATES):
        assert "The engine fake cannot do this" in shown(browser, path)
    token = _TOKEN.search(browser.get("/page/projects/1/next").text)
    assert token is None, "there is nothing to press"


@pytest.mark.parametrize("path", ["/page/projects/2/next", "/page/projects/x/candidates", "/page/projects/1/previous"])
def test_what_is_not_there_is_said(browser: FlaskClient, path: str) -> None:
    assert browser.get(path, headers=HTML).status_code == 404


def test_changes_need_a_token_and_something_to_end(browser: FlaskClient, engine: SearchingEngine) -> None:
    assert browser.post(f"{NEXT}/start").status_code == 400
    assert browser.get(f"{NEXT}/start").status_code == 405
    found = _TOKEN.search(browser.get(NEXT, headers=HTML).text)
    assert found is not None
    answer = browser.post(f"{NEXT}/end", data={"token": found[1]}, headers=HTML)
    assert answer.status_code == 404
    assert "No search goes on" in words(answer.text)
    assert engine.looked == 0
