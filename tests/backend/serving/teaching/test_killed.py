"""The service is killed while it takes a lesson: after a restart nothing is lost, and nothing is taken twice."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.serving.http.app import create_app
from backend.serving.service import Service
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.learner import LearningEngine
from tests.fakes.project_studio import ProjectStudio
from tests.fakes.teaching import LEARNING, annotate, by_events_alone, hasten, idle, learning_studio, quick_settings
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

def at_work():
    if LearningEngine.learned == 2:  # the second lesson is begun
        print("at work", flush=True)
        time.sleep(3600)

engine.on_segment = at_work
service = create_app(settings, engine).extensions["ovdiff"]
service.setup(PROJECT_UID, LEARNING)
for number in (11, 12, 13):
    service.event("ANNOTATION_CREATED", {"annotation": {"id": number}, "project": {"id": 1}})
time.sleep(3600)
"""


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with learning_studio(3) as found:
        for task in found.tasks:
            annotate(found, task, 10 + task)
        yield found


@pytest.mark.slow
def test_a_service_that_is_killed_takes_the_lessons_that_are_left(
    studio: ProjectStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", SERVICE, studio.url, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "at work\n"
        running.send_signal(signal.SIGKILL)
    hasten(monkeypatch)
    by_events_alone(monkeypatch)  # what was noted is enough
    settings = quick_settings(studio, tmp_path)
    engine = LearningEngine(settings.bank_dir)
    assert [card.source.annotation for card in engine.lessons.cards()] == ["11"]
    monkeypatch.setattr(LearningEngine, "learned", 0)
    service: Service = create_app(settings, engine).extensions["ovdiff"]
    try:
        assert eventually(idle(service), 30)
        assert sorted(card.source.annotation for card in engine.lessons.cards()) == ["11", "12", "13"]
        assert LearningEngine.learned == 2  # the first one was there
        assert service.setup(PROJECT_UID, LEARNING)["model_version"]
    finally:
        service.stop()
