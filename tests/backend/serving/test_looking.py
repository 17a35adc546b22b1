"""A task as a person looks at it. What its pages show is tested in tests/backend/pages/tasks."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backend.errors import BusyError, ImageFetchError, NothingThereError, RequestError
from backend.serving.looking import Looking
from backend.serving.service import Service
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.waiting import eventually

TWO_IMAGES = (
    '<View><Image name="one" value="$image"/><Image name="two" value="$other"/><BrushLabels name="b" toName="one">'
    '<Label value="red"/></BrushLabels><BrushLabels name="c" toName="two"><Label value="blue"/></BrushLabels></View>'
)
PICTURE = "/data/upload/1/picture.png"


@pytest.fixture
def project(service: Service, label_studio: FakeLabelStudio) -> Service:
    """The service with a project of two images a task, and its labels ready."""
    label_studio.tasks = [{"id": 7, "data": {"image": PICTURE, "other": "/data/upload/1/gone.png"}}]
    service.setup(PROJECT_UID, TWO_IMAGES)
    counts = lambda: service.status()["projects"][PROJECT_UID]["counts"]  # noqa: E731
    assert eventually(lambda: counts().get("ready") == 2)
    return service


def test_an_image_of_a_task_is_seen_with_its_segmentation(project: Service) -> None:
    with project.looking.opened(1, 7) as sight:
        assert (sight.images, sight.image) == (("one", "two"), "one")
        assert sight.pixels.shape == (48, 64, 3)
        assert sight.segmentation.label_map[24, 16] == 1
        assert [category.name for category in sight.vocabulary.categories] == ["red"]
        assert sight.snapshot.version == project.setup(PROJECT_UID, TWO_IMAGES)["model_version"]
        assert sight.project.uid == PROJECT_UID
    assert project.looking.people == 0


def test_a_second_look_computes_nothing_and_a_prediction_neither(project: Service, engine: FakeEngine) -> None:
    for _ in range(2):
        with project.looking.opened(1, 7):
            pass
    assert engine.segmented == 1


def test_an_image_that_cannot_be_fetched_is_an_error_and_the_turn_ends(project: Service) -> None:
    with pytest.raises(ImageFetchError), project.looking.opened(1, 7, "two"):
        pass
    with project.looking.opened(1, 7, "one"):
        pass


@pytest.mark.parametrize(("number", "image"), [(2, ""), (1, "three")])
def test_what_is_not_known_is_not_there(project: Service, number: int, image: str) -> None:
    with pytest.raises(NothingThereError), project.looking.opened(number, 7, image):
        pass


def test_a_project_without_a_usable_label_config_or_a_ready_label_is_refused(
    service: Service, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    label_studio.tasks = [{"id": 7, "data": {"image": PICTURE}}]
    with pytest.raises(RequestError):
        service.setup(PROJECT_UID, "<View/>")
    with pytest.raises(RequestError, match="No label config of project 1 could be used"), service.looking.opened(1, 7):
        pass
    engine.gate = threading.Event()
    service.setup(PROJECT_UID, TWO_IMAGES)
    try:
        with pytest.raises(RequestError, match="No label of project 1 is ready yet: "), service.looking.opened(1, 7):
            pass
    finally:
        engine.gate.set()


def test_whoever_waits_too_long_for_a_turn_is_sent_away(project: Service) -> None:
    whole: Any = project
    looking = Looking(
        whole._projects, whole.looking._label_studio, whole.looking._images, whole.looking._recent,
        snapshot=whole._snapshot, clock_s=whole._clock_s, within_s=0.05,
    )  # fmt: skip

    def look() -> None:
        with looking.opened(1, 7):
            pass

    with ThreadPoolExecutor(1) as other, looking._place.place(until_s=float("inf")) as has_place:
        assert has_place
        with pytest.raises(BusyError, match="Load this one again in a moment"):
            other.submit(look).result(60)
    assert looking.people == 0
