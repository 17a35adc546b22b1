"""Failures of tasks that were deleted, over a small HTTP server in Label Studio's place."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.serving.deleted_tasks import clear_deleted
from backend.serving.predicting.failures import Failures
from backend.serving.service import Service
from backend.settings import LabelStudioSettings, Settings
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID
from tests.fakes.project_studio import CONFIG, Fault, ProjectStudio, running_project
from tests.fakes.waiting import eventually


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        found.add_tasks(3)
        yield found


@pytest.fixture
def settings(studio: ProjectStudio, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", label_studio=LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))


@pytest.fixture
def service(make_app: MakeApp, settings: Settings) -> Service:
    """A service in which tasks 1, 2 and 3 have failed, for their images cannot be had."""
    found: Service = make_app(settings, FakeEngine(settings.bank_dir)).extensions["ovdiff"]
    found.setup(PROJECT_UID, CONFIG)
    for task in (1, 2, 3):
        found.note_failure(PROJECT_UID, task, "Its image is gone.")
    return found


def failed(service: Service) -> list[int]:
    return [row["task"] for row in service.status()["failed_tasks"]]


@pytest.mark.parametrize("told", [{"project": {"id": 1}}, {}], ids=["whole", "cut off"])
def test_tasks_that_were_deleted_are_no_failures_any_more(
    studio: ProjectStudio, service: Service, told: dict[str, object]
) -> None:
    del studio.tasks[2]
    service.event("TASKS_DELETED", {"tasks": [{"id": 1}, {"id": 2}], **told})  # the event is believed in nothing
    assert eventually(lambda: failed(service) == [3, 1])


def test_an_event_of_another_project_or_without_failures_asks_label_studio_nothing(
    studio: ProjectStudio, service: Service
) -> None:
    service.event("TASKS_DELETED", {"project": {"id": 7}, "tasks": [{"id": 1}]})
    for task in (1, 2, 3):
        service.note_failure(PROJECT_UID, task, None)
    service.event("TASKS_DELETED", {"project": {"id": 1}, "tasks": [{"id": 1}]})
    assert not eventually(lambda: studio.count("GET", "/api/") > 0, timeout_s=0.2)


def test_what_label_studio_cannot_say_stays_a_failure(studio: ProjectStudio, settings: Settings) -> None:
    failures, client = Failures(9), LabelStudioClient(settings.label_studio)
    for project in (PROJECT_UID, "odd"):
        failures.add(project, 9, "Its image is gone.")
    studio.before = lambda asked: Fault(403) if asked.path == "/api/tasks" else None
    for project in (PROJECT_UID, "odd"):
        clear_deleted(client, project, failures)
        assert failures.tasks(project) == [9]
    studio.before = lambda asked: None
    clear_deleted(client, PROJECT_UID, failures)
    assert failures.tasks(PROJECT_UID) == []
    clear_deleted(LabelStudioClient(replace(settings.label_studio, url="http://127.0.0.1:9")), PROJECT_UID, failures)
