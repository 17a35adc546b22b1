"""Annotations teach the service, over a small HTTP server in Label Studio's place."""

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.errors import SettingsError, StoreError
from backend.serving.http.app import create_app
from backend.serving.preparing.standing import Standing
from backend.serving.service import Service
from backend.serving.store import Store
from backend.serving.teaching.notes import Notes, ToRead
from backend.serving.teaching.teacher import Teacher
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import LabelStudioSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.vocabulary import Category
from tests.backend.command.learning_export import RED, annotation, region
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.learner import LearningEngine
from tests.fakes.project_studio import Asked, Fault, ProjectStudio
from tests.fakes.teaching import (
    LEARNING,
    annotate,
    by_events_alone,
    hasten,
    idle,
    learning,
    learning_studio,
)
from tests.fakes.waiting import eventually

Start = Callable[..., Service]


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with learning_studio(3) as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)
    by_events_alone(monkeypatch)


@pytest.fixture
def start(settings: Settings, engine: LearningEngine) -> Iterator[Start]:
    """Return what starts the service on this data folder, and waits until the project's words are ready."""
    begun: list[Service] = []

    def make(settings: Settings = settings, engine: FakeEngine = engine, config: str = LEARNING) -> Service:
        begun.append(create_app(settings, engine).extensions["ovdiff"])
        begun[-1].setup(PROJECT_UID, config)
        categories = begun[-1].labelling(PROJECT_UID).categories
        assert eventually(lambda: not begun[-1].standing(categories).pending)
        return begun[-1]

    yield make
    for service in begun:
        service.stop()


def tell(service: Service, action: str, number: int, **more: Any) -> dict[str, str]:
    """Send an event as Label Studio does, with the ids alone."""
    if action == "ANNOTATIONS_DELETED":
        return service.event(action, {"annotations": [{"id": number}], "project": {"id": 1}, **more})
    if action == "TASKS_DELETED":
        return service.event(action, {"tasks": [{"id": number}], "project": {"id": 1}, **more})
    return service.event(action, {"annotation": {"id": number}, "project": {"id": 1}, **more})


def sources(store: LessonStore) -> list[tuple[str, str]]:
    return sorted((card.source.task, card.source.annotation) for card in store.cards())


def test_an_annotation_becomes_a_lesson_and_its_deletion_undoes_it(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    before = service.setup(PROJECT_UID, LEARNING)["model_version"]
    annotate(studio, 1, 11)
    answer = tell(service, "ANNOTATION_CREATED", 11)
    assert answer["detail"] == "what it says will be read from Label Studio; /status says how far that is"
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["lessons"] == 1)
    assert sources(engine.lessons) == [("1", "11")]
    taught = service.setup(PROJECT_UID, LEARNING)["model_version"]
    assert taught != before
    studio.annotations.clear()
    tell(service, "ANNOTATIONS_DELETED", 11)
    assert eventually(lambda: engine.lessons.addresses() == ())
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["lessons"] == 0)
    assert service.setup(PROJECT_UID, LEARNING)["model_version"] == before


def test_the_lesson_is_the_one_of_the_command(
    studio: ProjectStudio, engine: LearningEngine, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same address, so that neither makes a second lesson of an annotation."""
    import json

    from backend import engine as engines
    from backend.command import cli

    service = start()
    annotate(studio, 1, 11)
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: len(engine.lessons.addresses()) == 1)
    found = {path.name: path.read_bytes() for path in engine.lessons.folder.iterdir()}
    task = {**studio.tasks[1], "annotations": studio.annotations[1]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (tmp_path / "config.xml").write_text(LEARNING)
    (tmp_path / "1.png").write_bytes(studio.images["/data/upload/1/1.png"] or b"")
    monkeypatch.setattr(engines, "make_engine", lambda preset, bank, _device: LearningEngine(bank.folder))
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    words = ["learn", str(tmp_path / "export.json"), "--label-config", str(tmp_path / "config.xml")]
    assert cli.main([*words, "--images", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in engine.lessons.folder.iterdir()} == found


def test_a_changed_annotation_replaces_its_lesson(studio: ProjectStudio, engine: LearningEngine, start: Start) -> None:
    service = start()
    annotate(studio, 1, 11)
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: len(engine.lessons.addresses()) == 1)
    (old,) = engine.lessons.addresses()
    annotate(studio, 1, 11, only_red=True, updated_at="2026-11-21T11:00:00Z")
    tell(service, "ANNOTATION_UPDATED", 11)
    assert eventually(lambda: engine.lessons.addresses() not in ((old,), ()) and len(engine.lessons.addresses()) == 1)


def test_another_annotation_of_the_task_takes_the_place_of_one_that_is_deleted(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    annotate(studio, 1, 11, only_red=True)
    annotate(studio, 1, 12)
    tell(service, "ANNOTATION_CREATED", 12)
    assert eventually(lambda: sources(engine.lessons) == [("1", "12")])
    studio.annotations[1].pop()
    tell(service, "ANNOTATIONS_DELETED", 12)
    assert eventually(lambda: sources(engine.lessons) == [("1", "11")])


def test_a_deletion_is_believed_only_if_label_studio_says_so_too(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    annotate(studio, 1, 11)
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: len(engine.lessons.addresses()) == 1)
    for action, number in (("ANNOTATIONS_DELETED", 11), ("TASKS_DELETED", 1)):
        tell(service, action, number)
        assert eventually(idle(service))
        assert sources(engine.lessons) == [("1", "11")]
    del studio.tasks[1]
    tell(service, "TASKS_DELETED", 1)
    assert eventually(lambda: engine.lessons.addresses() == ())


def test_a_hundred_events_of_one_annotation_are_one_piece_of_work(
    studio: ProjectStudio, engine: LearningEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.teaching.teacher.QUIET_S", 3600.0)
    service = start()
    annotate(studio, 1, 11)
    for _ in range(100):
        tell(service, "ANNOTATION_UPDATED", 11)
    assert studio.count("GET", "/api/annotations/") == 0
    monkeypatch.setattr("backend.serving.teaching.teacher.QUIET_S", 0.01)
    assert eventually(idle(service)) and LearningEngine.learned == 1
    assert studio.count("GET", "/api/annotations/") == 1


def test_it_waits_until_no_event_comes_but_not_for_ever(
    settings: Settings, engine: LearningEngine, monkeypatch: pytest.MonkeyPatch, studio: ProjectStudio
) -> None:
    """By an injected clock: events that never stop hold up a look for half a minute and no longer."""
    monkeypatch.setattr("backend.serving.teaching.teacher.QUIET_S", 2.0)
    now_s = [100.0]
    client = LabelStudioClient(settings.label_studio)
    images = ImageSource(Fetcher(client, settings.images))
    notes = Notes(Store(settings.state_file, event_rows=10))
    teacher = Teacher(settings, engine, OneProject(), client, images, notes, clock_s=lambda: now_s[0])
    assert teacher.is_due()  # what is left from before the start
    assert not teacher.is_due()
    event = {"annotation": 11, "project": 1}
    teacher.hear("ANNOTATION_CREATED", event)
    now_s[0] += 1.9
    assert not teacher.is_due()
    now_s[0] += 0.1
    assert teacher.is_due() and not teacher.is_due()
    for _ in range(29):
        teacher.hear("ANNOTATION_CREATED", event)
        assert not teacher.is_due()
        now_s[0] += 1.0
    teacher.hear("ANNOTATION_CREATED", event)
    now_s[0] += 1.0
    assert teacher.is_due()


class OneProject:
    """A service that knows one project, which learns."""

    def labellings(self) -> dict[str, Labelling]:
        return {PROJECT_UID: read_labelling(LEARNING, max_categories=9)}

    def standing(self, categories: Collection[Category]) -> Standing:
        return Standing(dict.fromkeys(categories, "key"), {}, {})

    def is_busy(self) -> bool:
        return False


def test_start_training_takes_all_annotations_and_tries_again_what_was_refused(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    for task in studio.tasks:
        annotate(studio, task, 10 + task)
    studio.annotations[3] = [annotation(13, region("red", RED, size=(32, 24)))]
    answer = service.event("START_TRAINING", {"project": {"id": 1}})
    assert answer["detail"].startswith("all annotations of the project will be read from Label Studio")
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["lessons"] == 2)
    assert eventually(idle(service)) and sources(engine.lessons) == [("1", "11"), ("2", "12")]
    (refusal,) = learning(service)["projects"][PROJECT_UID]["refusals"]
    assert (refusal["task"], refusal["annotation"]) == (3, 13)
    assert refusal["reason"].startswith("The annotation is of 32 x 24 px and its image of 64 x 48 px.")

    tell(service, "ANNOTATION_UPDATED", 13)  # it has not changed: nothing is fetched for it
    fetched = studio.count("GET", "/data/upload/1/3.png")
    assert eventually(idle(service)) and studio.count("GET", "/data/upload/1/3.png") == fetched
    engine.lessons.remove(engine.lessons.addresses()[0])  # a person removed it, and then asks for all
    service.train("1.1795200099")
    assert eventually(
        lambda: studio.count("GET", "/data/upload/1/3.png") > fetched and len(sources(engine.lessons)) == 2
    )


def test_all_annotations_go_page_by_page_and_a_restart_goes_on(
    studio: ProjectStudio, engine: LearningEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.task_pages.FIRST_PAGE_TASKS", 1)
    for task in studio.tasks:
        annotate(studio, task, 10 + task)
    monkeypatch.setattr("backend.serving.service.STOP_S", 0.05)
    at_second, go_on = threading.Event(), threading.Event()

    def before(asked: Asked) -> Fault | None:
        if asked.path == "/data/upload/1/2.png":
            at_second.set()
            assert go_on.wait(60)
        return None

    studio.before = before
    first = start()
    first.train(1)
    assert at_second.wait(60)
    assert learning(first)["running"] == {"project": PROJECT_UID, "done": 1, "tasks": 3}
    first.stop()
    go_on.set()
    assert eventually(lambda: not any(thread.name == "ovdiff-teacher" for thread in threading.enumerate()))
    fetched = studio.count("GET", "/data/upload/1/1.png")
    assert ("3", "13") not in sources(engine.lessons)
    second = start()
    assert eventually(idle(second)) and len(sources(engine.lessons)) == 3
    assert studio.count("GET", "/data/upload/1/1.png") == fetched  # it was done before


def test_more_events_than_the_bound_have_the_project_read(
    studio: ProjectStudio, engine: LearningEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.teaching.notes.MOST_ROWS", 5)
    monkeypatch.setattr("backend.serving.teaching.teacher.QUIET_S", 3600.0)
    service = start()
    for task in studio.tasks:
        annotate(studio, task, 10 + task)
    for number in range(100, 200):
        tell(service, "ANNOTATION_CREATED", number)
    assert learning(service)["to_read"] == {"annotation": 5, "task": 0, "project": 1}
    monkeypatch.setattr("backend.serving.teaching.teacher.QUIET_S", 0.01)
    assert eventually(idle(service)) and len(sources(engine.lessons)) == 3
    assert studio.count("GET", "/api/annotations/") == 5


def test_a_list_that_was_cut_off_has_the_project_read(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    for task in studio.tasks:
        annotate(studio, task, 10 + task)
    service.train(1)
    assert eventually(lambda: len(sources(engine.lessons)) == 3)
    del studio.tasks[1]
    studio.annotations[2] = []
    service.event("TASKS_DELETED", {"tasks": [{"id": 7}]})  # `project` stands behind the list
    assert eventually(lambda: sources(engine.lessons) == [("3", "13")])


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("ANNOTATION_CREATED", {"annotation": {"id": 11}, "project": {"id": 2}}),
        ("START_TRAINING", {"project": {"id": 2}}),
        ("START_TRAINING", {}),
        ("ANNOTATION_CREATED", {"annotation": {}, "project": {"id": 1}}),
        ("SOMETHING", {"annotation": {"id": 11}, "project": {"id": 1}}),
    ],
)
def test_an_event_of_an_unknown_project_asks_label_studio_nothing(
    studio: ProjectStudio, start: Start, action: str, data: dict[str, Any]
) -> None:
    service = start()
    asked = len(studio.requests)
    service.event(action, data)
    assert not any(learning(service)["to_read"].values())
    assert not eventually(lambda: len(studio.requests) > asked, timeout_s=0.2)


def test_an_annotation_of_a_project_that_does_not_learn_is_not_looked_at(
    studio: ProjectStudio, engine: LearningEngine, settings: Settings, start: Start
) -> None:
    annotate(studio, 1, 11)
    studio.label_config = LEARNING.replace("yes", "no")
    service = start(replace(settings, prediction=replace(settings.prediction, learn=True)), config=studio.label_config)
    assert tell(service, "ANNOTATION_CREATED", 11) == {"status": "recorded"}
    detail = service.event("START_TRAINING", {"project": {"id": 1}})["detail"]
    assert detail.startswith('this project does not learn: write learn="yes" into the outermost <View>')
    assert learning(service)["projects"] == {}


def test_a_setting_has_all_projects_learn(
    studio: ProjectStudio, engine: LearningEngine, settings: Settings, start: Start
) -> None:
    annotate(studio, 1, 11)
    studio.label_config = LEARNING.replace(' learn="yes"', "")
    service = start(replace(settings, prediction=replace(settings.prediction, learn=True)), config=studio.label_config)
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: len(sources(engine.lessons)) == 1)


def test_another_project_of_that_number_is_left_alone(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    annotate(studio, 1, 11)
    studio.after = lambda asked: (
        Fault(200, b'{"id": 1, "created_at": "2020-01-01T00:00:00Z", "label_config": "<View/>"}')
        if asked.path == "/api/projects/1/"
        else None
    )
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(idle(service)) and engine.lessons.addresses() == ()


def test_it_waits_for_prototypes_and_says_so(studio: ProjectStudio, engine: LearningEngine, start: Start) -> None:
    engine.failing = frozenset({"blue"})
    service = start()
    annotate(studio, 1, 11)
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(
        lambda: "the prototypes of blue (failed" in learning(service)["projects"][PROJECT_UID]["waits_for"]
    )
    assert studio.count("GET", "/api/annotations/") == 0
    engine.failing = frozenset()
    assert eventually(lambda: service.setup(PROJECT_UID, LEARNING) is not None and len(sources(engine.lessons)) == 1)


def test_a_label_studio_that_is_down_is_asked_again_and_nothing_is_lost(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    annotate(studio, 1, 11)
    studio.before = lambda asked: Fault(403) if asked.path.startswith("/api/annotations") else None
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: "refused the token" in learning(service)["problem"])
    assert learning(service)["to_read"]["annotation"] == 1
    studio.before = lambda asked: None
    assert eventually(idle(service)) and sources(engine.lessons) == [("1", "11")]
    assert learning(service)["problem"] == ""


def test_a_state_file_that_could_not_be_read_for_a_moment_is_no_problem_any_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked, is_locked = Notes.to_read, [], True

    def to_read(notes: Notes) -> list[ToRead]:
        asked.append(threading.current_thread().name)
        if is_locked:
            raise StoreError("It is locked.")
        return whole(notes)

    monkeypatch.setattr(Notes, "to_read", to_read)
    service = start()
    assert eventually(lambda: asked.count("ovdiff-teacher") >= 2)
    assert learning(service)["problem"] == "It is locked."
    is_locked = False
    assert eventually(lambda: learning(service)["problem"] == "")


def test_an_image_that_cannot_be_had_is_tried_again_and_then_refused(
    studio: ProjectStudio, engine: LearningEngine, start: Start
) -> None:
    service = start()
    annotate(studio, 1, 11)
    studio.before = lambda asked: Fault(404) if asked.path.startswith("/data/") else None
    tell(service, "ANNOTATION_CREATED", 11)
    assert eventually(lambda: learning(service)["projects"][PROJECT_UID]["refused"] == 1)
    assert studio.count("GET", "/data/upload/1/1.png") == 5
    assert eventually(idle(service))
    studio.before = lambda asked: None
    service.train(1)
    assert eventually(lambda: sources(engine.lessons) == [("1", "11")])


def test_it_gives_way_to_predictions(studio: ProjectStudio, engine: LearningEngine, start: Start) -> None:
    service = start()
    at_work, go_on = threading.Event(), threading.Event()

    def segmenting() -> None:
        if threading.current_thread().name == "request":
            at_work.set()
            assert go_on.wait(60)

    engine.on_segment = segmenting
    request = threading.Thread(target=service.predict, args=(PROJECT_UID, [studio.tasks[2]], LEARNING), name="request")
    request.start()
    assert at_work.wait(60)
    annotate(studio, 1, 11)
    tell(service, "ANNOTATION_CREATED", 11)
    assert not eventually(lambda: studio.count("GET", "/api/annotations/") > 0, timeout_s=0.3)
    go_on.set()
    request.join()
    assert eventually(lambda: len(sources(engine.lessons)) == 1)


def test_an_engine_that_does_not_learn_says_so_and_events_are_recorded(
    studio: ProjectStudio, settings: Settings, start: Start
) -> None:
    service = start(engine=FakeEngine(settings.bank_dir))
    assert tell(service, "ANNOTATION_CREATED", 11) == {"status": "recorded"}
    words = "The engine 'fake' of the preset 'fake' takes no lessons from annotations; events are recorded."
    assert learning(service)["obstacle"].startswith(words)
    assert service.event("START_TRAINING", {"project": {"id": 1}})["detail"].startswith(words)
    assert not any(thread.name == "ovdiff-teacher" for thread in threading.enumerate())


def test_without_a_token_it_cannot_be_wanted_for_all_projects(
    studio: ProjectStudio, settings: Settings, engine: LearningEngine, start: Start
) -> None:
    without = replace(settings, label_studio=LabelStudioSettings(url=studio.url))
    service = start(without)
    assert learning(service)["obstacle"].startswith("Annotations cannot be read: LABEL_STUDIO_API_KEY is not set.")
    with pytest.raises(SettingsError, match=r"^OVDIFF_LEARN=yes needs LABEL_STUDIO_API_KEY, which is not set"):
        create_app(
            replace(without, data_dir=settings.data_dir / "other", prediction=replace(without.prediction, learn=True)),
            engine,
        )
