"""A project of a small Label Studio whose annotations teach: its label config, pictures, and the service over it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.serving.service import Service
from backend.settings import LabelStudioSettings, PredictionSettings, Settings
from tests.backend.command.learning_export import BLUE, CONFIG, RED, annotation, region
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.project_studio import ProjectStudio, running_project

LEARNING = CONFIG.replace("<View>", '<View learn="yes">')
"""A label config that says that annotations teach, in tags of the export of `ovdiff learn`."""


@contextmanager
def learning_studio(tasks: int) -> Iterator[ProjectStudio]:
    """Serve a project that learns; the picture of each task is another one."""
    with running_project(ProjectStudio(label_config=LEARNING)) as studio:
        studio.add_tasks(tasks)
        for number in studio.tasks:
            picture = red_and_blue()
            picture[0, 0] = number
            studio.images[f"/data/upload/1/{number}.png"] = encoded(picture)
        yield studio


def annotate(studio: ProjectStudio, task: int, number: int, *, only_red: bool = False, **more: Any) -> None:
    """Give a task an annotation of this number, in place of an older one."""
    regions = [region("red", RED)] if only_red else [region("red", RED), region("blue", BLUE)]
    made = annotation(number, *regions, **more)
    others = [each for each in studio.annotations.get(task, []) if each["id"] != number]
    studio.annotations[task] = [*others, made]


def quick_settings(studio: ProjectStudio, folder: Path, **more: Any) -> Settings:
    """Return settings for the project, with a short pause after failures."""
    prediction = {"retry_failed_after_s": 0.2, **more}
    return Settings(
        data_dir=folder / "data",
        label_studio=LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN),
        prediction=PredictionSettings(**prediction),
    )


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread look often, and wait for nothing long."""
    for name, seconds in {"LOOK_EVERY_S": 0.02, "QUIET_S": 0.05, "WAIT_S": 0.02, "PAUSE_S": 0.1}.items():
        monkeypatch.setattr(f"backend.serving.teaching.teacher.{name}", seconds)


def by_events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look after annotations of which no event told."""
    monkeypatch.setattr("backend.serving.teaching.missed.MissedAnnotations.due", lambda self: [])


def learning(service: Service) -> dict[str, Any]:
    """Return what /status says of learning."""
    found: dict[str, Any] = service.status()["learning"]
    return found


Idle = Callable[[], bool]


def idle(service: Service) -> Idle:
    """Return what says whether nothing is to be read."""
    return lambda: not any(learning(service)["to_read"].values())
