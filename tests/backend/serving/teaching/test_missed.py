"""Annotations of which no event told become lessons, over a small HTTP server in Label Studio's place."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from backend.serving.http.app import create_app
from backend.serving.service import Service
from backend.serving.store import Store
from backend.serving.teaching.learning_projects import LearningProjects, NotYetError
from backend.serving.teaching.missed import EVERY_S, MissedAnnotations
from backend.serving.teaching.notes import Notes
from backend.serving.teaching.tasks import LearningProject
from backend.settings import Settings
from tests.backend.command.learning_export import RED, annotation, region
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.learner import LearningEngine
from tests.fakes.project_studio import Fault, ProjectStudio
from tests.fakes.teaching import LEARNING, annotate, hasten, learning, learning_studio
from tests.fakes.waiting import eventually

ROOT = Path(__file__).parents[4]

SERVICE = """
import sys, time
from pathlib import Path
from backend.serving.http.app import create_app
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.learner import LearningEngine
from tests.fakes.project_studio import ProjectStudio
from tests.fakes.teaching import LEARNING, quick_settings

settings = quick_settings(ProjectStudio(url=sys.argv[1]), Path(sys.argv[2]))
engine = LearningEngine(settings.bank_dir)
service = create_app(settings, engine).extensions["ovdiff"]
service.setup(PROJECT_UID, LEARNING)
ends_s = time.monotonic() + 20
while time.monotonic() < ends_s and service.status()["learning"]["projects"][PROJECT_UID]["lessons"] < 3:
    time.sleep(0.02)
print("learned", flush=True)
time.sleep(3600)
"""

Start = Callable[..., Service]


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with learning_studio(4) as found:
        for task in (1, 2, 3):
            annotate(found, task, 10 + task)
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


@pytest.fixture
def start(settings: Settings, engine: LearningEngine) -> Iterator[Start]:
    """Return what starts the service on this data folder, after it has ended the one before."""
    begun: list[Service] = []

    def make(config: str | None = LEARNING) -> Service:
        for service in begun:
            service.stop()
        begun.append(create_app(settings, engine).extensions["ovdiff"])
        if config is not None:
            begun[-1].setup(PROJECT_UID, config)
        return begun[-1]

    yield make
    for service in begun:
        service.stop()


def sources(engine: LearningEngine) -> list[tuple[str, str]]:
    return sorted((card.source.task, card.source.annotation) for card in engine.lessons.cards())


THREE = [("1", "11"), ("2", "12"), ("3", "13")]


def listings(studio: ProjectStudio, fields: str) -> list[dict[str, str]]:
    return [each.query for each in studio.requests if each.path == "/api/tasks" and each.query["fields"] == fields]


def looked_through(studio: ProjectStudio) -> Callable[[], bool]:
    """Return what says whether the annotated tasks were listed after now."""
    asked = len(listings(studio, "task_only"))
    return lambda: len(listings(studio, "task_only")) > asked


@pytest.mark.slow
def test_what_happened_while_the_service_was_killed_is_learned_after_the_start(
    studio: ProjectStudio, engine: LearningEngine, start: Start, tmp_path: Path
) -> None:
    """One annotation is new, one is changed, one is deleted, and no event tells of it."""
    command = [sys.executable, "-c", SERVICE, studio.url, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "learned\n"
        running.send_signal(signal.SIGKILL)
    assert sources(engine) == THREE
    before = {card.source.task: card.address for card in engine.lessons.cards()}
    annotate(studio, 4, 14)
    annotate(studio, 2, 12, only_red=True, updated_at="2026-11-21T11:00:00Z")
    studio.annotations[3] = []
    start(config=None)  # Label Studio says nothing to it
    assert eventually(lambda: sources(engine) == [("1", "11"), ("2", "12"), ("4", "14")])
    after = {card.source.task: card.address for card in engine.lessons.cards()}
    assert after["1"] == before["1"] and after["2"] != before["2"]


def test_what_was_looked_at_is_not_read_again(studio: ProjectStudio, engine: LearningEngine, start: Start) -> None:
    studio.annotations[3] = [annotation(13, region("red", RED, size=(32, 24)))]
    service = start()
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["refused"] == 1)
    assert eventually(lambda: sources(engine) == THREE[:2] and learning(service)["running"] is None)
    engine.lessons.remove(engine.lessons.addresses()[0])  # a person does not want it
    studio.requests.clear()
    again = looked_through(studio)
    start()
    assert eventually(again) and not eventually(lambda: listings(studio, "all") != [], timeout_s=0.3)
    assert studio.count("GET", "/data/") == 0 and len(sources(engine)) == 1
    assert len(listings(studio, "task_only")) == 1
    for made in studio.annotations.values():
        made[0]["lead_time"] = 5.0  # the tasks change, and what the annotations say does not
    start()
    assert eventually(lambda: listings(studio, "all") != [])
    assert not eventually(lambda: studio.count("GET", "/data/") > 0, timeout_s=0.3) and len(sources(engine)) == 1


def test_a_task_that_is_gone_leaves_no_lesson(studio: ProjectStudio, engine: LearningEngine, start: Start) -> None:
    start()
    assert eventually(lambda: sources(engine) == THREE)
    del studio.tasks[3]
    studio.annotations[1] = []
    start()
    assert eventually(lambda: sources(engine) == THREE[1:2])
    studio.requests.clear()
    again = looked_through(studio)
    start()
    assert eventually(again) and not eventually(lambda: listings(studio, "all") != [], timeout_s=0.3)


def test_a_large_project_is_listed_by_pages_of_bounded_size(
    studio: ProjectStudio, engine: LearningEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.task_pages.MOST_TASKS", 2)
    monkeypatch.setattr("backend.sources.task_pages.FIRST_PAGE_TASKS", 1)
    annotate(studio, 4, 14)
    start()
    assert eventually(lambda: sources(engine) == [*THREE, ("4", "14")])
    assert {query["page_size"] for query in listings(studio, "task_only")} == {"2"}
    assert {query["page_size"] for query in listings(studio, "all")} == {"1"}  # the second is asked for anew
    studio.annotations[1] = studio.annotations[4] = []
    start()
    assert eventually(lambda: sources(engine) == THREE[1:])


def test_a_project_that_begins_to_learn_is_looked_through(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    studio.label_config = LEARNING.replace("yes", "no")
    service = start(studio.label_config)
    assert not eventually(lambda: studio.count("GET", "/api/tasks") > 0, timeout_s=0.3)
    studio.label_config = LEARNING
    service.setup(PROJECT_UID, LEARNING)
    assert eventually(lambda: sources(engine) == THREE)


def test_a_label_studio_that_is_down_at_the_start_is_asked_again(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    studio.before = lambda asked: Fault(403) if asked.path == "/api/tasks" else None
    service = start()
    assert eventually(lambda: "refused the token" in learning(service)["problem"])
    studio.before = lambda asked: None
    assert eventually(lambda: sources(engine) == THREE)
    assert eventually(lambda: learning(service)["problem"] == "")


def test_an_image_that_cannot_be_had_keeps_no_other_one(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    studio.before = lambda asked: Fault(404) if asked.path == "/data/upload/1/1.png" else None
    service = start()
    assert eventually(lambda: sources(engine) == THREE[1:])
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["refused"] == 1)


class Projects:
    """Two projects that learn, one of which waits."""

    def __init__(self) -> None:
        self.wait: dict[str, str] = {}
        self.learn = {"1.5": None, "2.5": None}

    def learning(self) -> dict[str, Any]:
        return dict(self.learn)

    def waiting(self) -> dict[str, str]:
        return self.wait


def test_each_project_is_due_at_the_start_and_once_a_day_and_when_it_learns_again(tmp_path: Path) -> None:
    now_s, projects = [50.0], Projects()
    notes = Notes(Store(tmp_path / "state.sqlite", event_rows=1))
    missed = MissedAnnotations(cast(LearningProjects, projects), notes, clock_s=lambda: now_s[0])
    projects.wait = {"2.5": "the prototypes of boat"}
    assert missed.due() == ["1.5"]
    missed.later("1.5", EVERY_S)
    assert missed.due() == []
    projects.wait = {}
    assert missed.due() == ["2.5"]
    missed.later("2.5", EVERY_S)
    now_s[0] += EVERY_S - 1
    assert missed.due() == []
    now_s[0] += 1
    assert missed.due() == ["1.5", "2.5"]
    missed.later("1.5", EVERY_S)
    del projects.learn["1.5"]
    assert missed.due() == ["2.5"]
    projects.learn["1.5"] = None
    assert missed.due() == ["2.5", "1.5"]


def test_what_a_look_waited_for_is_told_no_more_once_it_went_well(
    studio: ProjectStudio, engine: LearningEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, waits = LearningProjects.project, True

    def project(projects: LearningProjects, number: int) -> LearningProject | None:
        if waits:
            raise NotYetError(PROJECT_UID, "the prototypes of red")
        return whole(projects, number)

    monkeypatch.setattr(LearningProjects, "project", project)
    service = start()
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["waits_for"] == "the prototypes of red")
    waits = False
    assert eventually(lambda: sources(engine) == THREE and learning(service)["running"] is None)
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["waits_for"] == "")
