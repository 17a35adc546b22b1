"""The service that predicts whole projects by itself, over a small HTTP server in Label Studio's place."""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from backend.errors import SettingsError
from backend.serving.events import EVENT_BYTES, read_head
from backend.serving.http.app import create_app
from backend.serving.predicting.basis import Basis
from backend.serving.prelabelling.background import LONGEST_PAUSE_S, _counts, _Record
from backend.serving.prelabelling.outcome import Outcome
from backend.serving.prelabelling.run import Run, lock_project
from backend.serving.service import Service
from backend.serving.vocabulary import Labelling
from backend.settings import LabelStudioSettings, PredictionSettings, Settings
from ovdiff.errors import StorageError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID
from tests.fakes.project_studio import CONFIG, Asked, Fault, ProjectStudio, running_project
from tests.fakes.waiting import eventually

Start = Callable[[], Service]


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        found.add_tasks(5)
        yield found


@pytest.fixture
def settings(studio: ProjectStudio, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        label_studio=LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN),
        prediction=PredictionSettings(prelabel=True, retry_failed_after_s=0.1, delete_replaced_after_s=0.0),
    )


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    return FakeEngine(settings.bank_dir)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.serving.prelabelling.background.LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("backend.serving.prelabelling.background.PAUSE_S", 0.05)


@pytest.fixture
def start(settings: Settings, engine: FakeEngine) -> Iterator[Start]:
    """Return what starts the service on this data folder."""
    begun: list[Service] = []

    def make() -> Service:
        begun.append(create_app(settings, engine).extensions["ovdiff"])
        return begun[-1]

    yield make
    for service in begun:
        service.stop()


def versions(studio: ProjectStudio) -> list[list[str | None]]:
    return [studio.versions(task) for task in list(studio.tasks)]


def last(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.status()["prelabelling"]["last"].get(PROJECT_UID, {})
    return found


def test_a_project_is_predicted_once_its_vocabulary_is_ready(
    studio: ProjectStudio, engine: FakeEngine, start: Start
) -> None:
    engine.gate = threading.Event()
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert not eventually(lambda: bool(studio.predictions), timeout_s=0.3)
    assert service.status()["prelabelling"] == {"on": True, "running": None, "last": {}}
    engine.gate.set()
    assert eventually(lambda: last(service).get("predicted") == 5)
    version = service.setup(PROJECT_UID, CONFIG)["model_version"]
    assert versions(studio) == [[version]] * 5
    assert last(service).items() >= {"ended": "", "tasks": 5, "model_version": version, "failures": 0}.items()
    segmented = engine.segmented
    assert not eventually(lambda: engine.segmented > segmented, timeout_s=0.3)


def test_tasks_share_what_the_engine_takes_at_once(studio: ProjectStudio, settings: Settings) -> None:
    engine = TogetherEngine(settings.bank_dir)

    def wait_for_others() -> None:
        assert eventually(lambda: engine.kept >= 4)

    engine.on_segment = wait_for_others
    service: Service = create_app(settings, engine).extensions["ovdiff"]
    try:
        service.setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: last(service).get("predicted") == 5)
    finally:
        service.stop()
    assert engine.segmented == 5 and max(engine.groups) == 3
    assert all(len(each) == 1 for each in versions(studio))


def test_a_changed_label_config_predicts_it_anew(studio: ProjectStudio, start: Start) -> None:
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    studio.label_config = CONFIG.replace('value="blue"', 'value="blue" threshold="0.5"')
    version = service.setup(PROJECT_UID, studio.label_config)["model_version"]
    assert eventually(lambda: versions(studio) == [[version]] * 5)


def test_a_replaced_prediction_is_deleted_later(studio: ProjectStudio, settings: Settings, engine: FakeEngine) -> None:
    """Nothing else happens in the project meanwhile."""
    later = replace(settings, prediction=replace(settings.prediction, delete_replaced_after_s=4.0))
    service: Service = create_app(later, engine).extensions["ovdiff"]
    try:
        old = studio.predict(1, "ovdiff-0.0.9+0123456789")
        service.setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: last(service).get("removed_later") == 1)
        assert old in studio.predictions and len(studio.versions(1)) == 2
        assert eventually(lambda: old not in studio.predictions)
        assert eventually(lambda: last(service).items() >= {"removed": 1, "removed_later": 0, "ended": ""}.items())
    finally:
        service.stop()


def test_new_tasks_are_predicted_when_label_studio_tells_of_them(studio: ProjectStudio, start: Start) -> None:
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    studio.add_tasks(2)
    for project in (7, 1):  # the event is believed in nothing: an unknown project is not looked at
        service.event("TASKS_CREATED", {"project": {"id": project}, "tasks": [{"id": 6}]})
    assert eventually(lambda: all(len(each) == 1 for each in versions(studio)))


def test_new_tasks_of_which_no_event_told_are_found_after_a_while(
    studio: ProjectStudio, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.prelabelling.background.EVERY_S", 0.3)
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    studio.add_tasks(2)
    assert eventually(lambda: all(len(each) == 1 for each in versions(studio)))


@pytest.mark.parametrize("characters", [200, 20_000], ids=["many tasks", "a large task"])
def test_an_import_whose_event_is_cut_off_before_its_project_is_predicted_too(
    studio: ProjectStudio, start: Start, characters: int
) -> None:
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    studio.add_tasks(2)
    tasks = [{"id": number, "data": {"image": "x" * characters}, "project": 1} for number in range(6, 106)]
    event = json.dumps({"action": "TASKS_CREATED", "tasks": tasks, "project": {"id": 1}}).encode()
    service.event("TASKS_CREATED", read_head(event[:EVENT_BYTES]))
    assert eventually(lambda: all(len(each) == 1 for each in versions(studio)))


def test_a_restarted_service_predicts_nothing_twice(studio: ProjectStudio, engine: FakeEngine, start: Start) -> None:
    first = start()
    first.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(first).get("predicted") == 5)
    first.stop()
    segmented = engine.segmented
    second = start()
    assert eventually(lambda: last(second).get("up_to_date") == 5)
    assert engine.segmented == segmented


def test_it_waits_while_somebody_wants_a_prediction(studio: ProjectStudio, engine: FakeEngine, start: Start) -> None:
    """A request that is at work holds it before its next task, not only the models."""
    service = start()
    at_work, go_on = threading.Event(), threading.Event()

    def segmenting() -> None:
        if threading.current_thread().name == "request":
            at_work.set()
            assert go_on.wait(60)

    # Otherwise all tasks may be predicted before the request comes.
    studio.before = lambda asked: Fault(503) if asked.path == "/api/tasks" and not at_work.is_set() else None
    engine.on_segment = segmenting
    engine.gate = threading.Event()
    service.setup(PROJECT_UID, CONFIG)
    for category in service.labelling(PROJECT_UID).categories:
        engine.gate.set()
        engine.build(category)
    task = {"id": 99, "data": {"image": "/data/upload/1/99.png"}}
    request = threading.Thread(target=service.predict, args=(PROJECT_UID, [task], CONFIG), name="request")
    request.start()
    assert at_work.wait(60)
    assert eventually(lambda: service.status()["prelabelling"]["running"] is not None)
    assert not eventually(lambda: engine.segmented > 0 or bool(studio.predictions), timeout_s=0.3)
    go_on.set()
    request.join()
    assert eventually(lambda: last(service).get("predicted") == 5)


class Shared:
    """A service on an engine of groups, whose first task of the background is held in the models until it may go on."""

    def __init__(self, settings: Settings) -> None:
        self.engine, self.order = TogetherEngine(settings.bank_dir), list[str]()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.at_work, self.may_end = threading.Event(), threading.Event()
        self.engine.on_segment = self._segmenting
        self.service: Service = create_app(settings, self.engine).extensions["ovdiff"]
        self.service.setup(PROJECT_UID, CONFIG)
        task = {"id": 99, "data": {"image": "/data/upload/1/99.png"}}
        asked = (PROJECT_UID, [task], CONFIG)
        self.request = threading.Thread(target=self.service.predict, args=asked, name="request")

    def _segmenting(self) -> None:
        is_request = threading.current_thread().name == "request"
        self.order.append("request" if is_request else "background")
        now, wait_for = (self.at_work, self.may_end) if is_request else (self.begun, self.go_on)
        now.set()
        assert wait_for.wait(60)

    def end(self) -> None:
        self.go_on.set()
        self.may_end.set()
        self.service.stop()
        self.request.join()


def test_a_request_waits_for_what_is_begun_and_not_for_what_waits_for_a_thread(
    studio: ProjectStudio, settings: Settings
) -> None:
    studio.add_tasks(13)
    shared = Shared(settings)
    try:
        assert shared.begun.wait(60) and eventually(lambda: shared.engine.kept >= 6)  # as many as there are threads
        shared.request.start()
        assert shared.at_work.wait(60)
        shared.go_on.set()
        assert not eventually(lambda: len(shared.order) > 1 + 6, timeout_s=0.3)
        shared.may_end.set()
        assert eventually(lambda: last(shared.service).get("predicted") == 18)
    finally:
        shared.end()


def test_a_request_overtakes_images_of_the_background_that_wait_for_room(
    studio: ProjectStudio, settings: Settings
) -> None:
    shared = Shared(replace(settings, images=replace(settings.images, pixels_at_once=1)))
    waiting = shared.service.images.room._waiting
    try:
        assert shared.begun.wait(60)
        shared.request.start()
        assert eventually(lambda: bool(waiting))
        shared.go_on.set()
        assert shared.at_work.wait(60)
        assert shared.order == ["background", "request"]
    finally:
        shared.end()


def test_a_run_of_the_command_keeps_it_away(studio: ProjectStudio, settings: Settings, start: Start) -> None:
    lock = lock_project(settings.data_dir, PROJECT_UID)
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    told = f"Another run (process {os.getpid()} on "
    assert eventually(lambda: str(last(service).get("ended")).startswith(told))
    assert not studio.predictions
    lock.release()
    assert eventually(lambda: last(service).get("predicted") == 5)


def test_a_label_studio_that_refuses_is_told_and_asked_again(studio: ProjectStudio, start: Start) -> None:
    studio.before = lambda asked: Fault(403) if asked.method == "POST" else None
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: "refused the token" in str(last(service).get("ended")))
    studio.before = lambda asked: None
    assert eventually(lambda: last(service).get("predicted") == 5)


def test_a_task_that_failed_in_a_run_that_was_ended_is_told_until_it_has_a_prediction(
    studio: ProjectStudio, start: Start
) -> None:
    studio.images = {"/data/upload/1/3.png": None}
    studio.before = lambda asked: Fault(403) if asked.method == "POST" else None
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: [each["task"] for each in service.status()["failed_tasks"]] == [3])
    studio.images, studio.before = {}, lambda asked: None
    assert eventually(lambda: last(service).get("predicted") == 5)
    assert service.status()["failed_tasks"] == []


def test_a_task_that_failed_is_told_and_tried_again(studio: ProjectStudio, start: Start) -> None:
    studio.images = {"/data/upload/1/3.png": None}
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    said = "1 tasks have no prediction; /status lists the reasons under failed_tasks."
    assert eventually(lambda: last(service).get("ended") == said)
    (failed,) = service.status()["failed_tasks"]
    assert (failed["project"], failed["task"]) == (PROJECT_UID, 3) and "answered 404" in failed["reason"]
    assert sorted(each["task"] for each in studio.predictions.values()) == [1, 2, 4, 5]
    begun = len(studio.requests)
    fetched = studio.count("GET", "/data/upload/1/3.png")
    assert eventually(lambda: studio.count("GET", "/data/upload/1/3.png") >= fetched + 4)
    read = [each.query["query"] for each in studio.requests[begun:] if each.path == "/api/tasks"]
    assert len(read) >= 2 and all('"included": [3]' in each for each in read), "the other tasks are not read again"
    assert last(service).items() >= {"tasks": 5, "predicted": 4, "failures": 1}.items()
    studio.images = {}
    assert eventually(lambda: versions(studio) == [[service.setup(PROJECT_UID, CONFIG)["model_version"]]] * 5)
    assert eventually(lambda: last(service).get("ended") == "")
    assert service.status()["failed_tasks"] == [] and last(service).get("predicted") == 5


def test_many_tasks_that_fail_are_tried_again_without_the_others(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in the first run are there others between them; in a row they end no run before its last task."""
    studio.add_tasks(25)
    runs: list[tuple[int | None, bool]] = []
    note_failed = _Record.note_failed

    def noted(record: _Record, outcome: Outcome, now_s: float, retry_s: float, *, is_whole: bool) -> None:
        note_failed(record, outcome, now_s, retry_s, is_whole=is_whole)
        runs.append((outcome.in_all, is_whole))

    def crash() -> None:
        if len(runs) or next(attempts) % 2 or len(studio.predictions) == 15:
            raise RuntimeError("this image crashes")

    attempts = count()
    monkeypatch.setattr(_Record, "note_failed", noted)
    engine.on_segment = crash
    service: Service = create_app(settings, engine).extensions["ovdiff"]
    try:
        service.setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: len(runs) >= 3)
        assert runs[:3] == [(30, True), (15, False), (15, False)]
        assert last(service).items() >= {"tasks": 30, "predicted": 15, "failures": 15}.items()
    finally:
        service.stop()


def test_tasks_that_fail_again_and_again_are_tried_after_pauses_that_double() -> None:
    record, outcome = _Record(), Outcome("v1")
    outcome.note_failure(3, "no picture")
    for number, pause_s in enumerate((300.0, 600.0, 1200.0)):
        record.note_failed(outcome, 1000.0, 300.0, is_whole=not number)
        assert (record.failed, record.failed_at_s) == ({3}, 1000.0 + pause_s)
    for _ in range(1100):
        record.note_failed(outcome, 0.0, 300.0, is_whole=False)
    assert record.failed_at_s == LONGEST_PAUSE_S
    record.note_failed(Outcome("v1"), 0.0, 300.0, is_whole=False)
    assert record.failed_at_s == math.inf


def test_more_failures_than_are_kept_are_tried_again_with_all_other_tasks() -> None:
    record, outcome = _Record(done="v1"), Outcome("v1", failed={3: "no picture"}, failures=2)
    for pause_s in (300.0, 600.0):
        record.note_failed(outcome, 1000.0, 300.0, is_whole=True)
        assert (record.done, record.not_before_s, record.failed_at_s) == ("", 1000.0 + pause_s, math.inf)


def test_a_mistake_in_a_run_ends_it_in_words_and_is_not_repeated_at_once(
    studio: ProjectStudio, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "run", mistake)
        service = start()
        service.setup(PROJECT_UID, CONFIG)
        said = "unexpected RuntimeError; the service's log has the details"
        assert eventually(lambda: last(service).get("ended") == said)
        assert service.status()["prelabelling"]["running"] is None
    assert eventually(lambda: last(service).get("predicted") == 5)


def test_a_project_that_cannot_be_looked_at_keeps_no_other_one_waiting(
    studio: ProjectStudio, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Basis.version

    def away(basis: Basis, labelling: Labelling, ready: Mapping[Category, str]) -> str:
        if any(category.name == "green" for category in labelling.categories):
            raise StorageError("s3://b/bank cannot be listed: no route.", is_away=True)
        return version(basis, labelling, ready)

    service = start()
    monkeypatch.setattr(Basis, "version", away)
    with pytest.raises(StorageError):
        service.setup("0.1600000000", CONFIG.replace("blue", "green"))
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    told = service.status()["prelabelling"]["last"]["0.1600000000"]
    assert told["ended"] == "s3://b/bank cannot be listed: no route."


def test_the_reasons_of_a_run_may_grow_while_its_counts_are_read() -> None:
    class Growing(dict[int, str]):
        def items(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    assert _counts(Outcome("v1", failed=Growing({3: "no picture"}), failures=1))["failures"] == 1


def test_a_label_config_that_only_label_studio_has_is_read_and_prepared_first(
    studio: ProjectStudio, start: Start, engine: FakeEngine
) -> None:
    """No webhook told of the change, and nobody has opened the project since."""
    service = start()
    studio.label_config = CONFIG.replace('<Label value="blue"/>', '<Label value="blue"/><Label value="green"/>')
    service.setup(PROJECT_UID, CONFIG)
    assert eventually(lambda: last(service).get("predicted") == 5)
    assert "green" in engine.built
    version = service.setup(PROJECT_UID, studio.label_config)["model_version"]
    assert versions(studio) == [[version]] * 5
    looks = studio.count("GET", "/api/tasks")
    assert not eventually(lambda: studio.count("GET", "/api/tasks") > looks, timeout_s=0.3)  # no circle


def test_another_project_of_that_number_is_left_alone(studio: ProjectStudio, start: Start) -> None:
    service = start()
    service.setup("1.1600000000", CONFIG)
    ended = "Label Studio has another project of the number 1 now."
    assert eventually(lambda: service.status()["prelabelling"]["last"].get("1.1600000000", {}).get("ended") == ended)
    assert not studio.predictions


def test_a_name_of_a_project_leads_to_no_other_folder(tmp_path: Path) -> None:
    lock_project(tmp_path / "data", "1./../../elsewhere").release()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_it_ends_with_the_service_while_label_studio_is_away(studio: ProjectStudio, start: Start) -> None:
    asked = threading.Event()

    def before(request: Asked) -> Fault | None:
        if request.path == "/api/tasks":
            asked.set()
            return Fault(None)
        return None

    studio.before = before
    service = start()
    service.setup(PROJECT_UID, CONFIG)
    assert asked.wait(60)
    service.stop()
    assert not any(thread.name == "ovdiff-background" for thread in threading.enumerate())


def test_it_is_off_unless_somebody_wants_it(studio: ProjectStudio, settings: Settings, engine: FakeEngine) -> None:
    off = replace(settings, prediction=replace(settings.prediction, prelabel=False))
    service: Service = create_app(off, engine).extensions["ovdiff"]
    try:
        service.setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: len(engine.built) == 2)
        assert service.status()["prelabelling"] == {"on": False, "running": None, "last": {}}
        assert not eventually(lambda: studio.count("GET", "/api/tasks") > 0, timeout_s=0.2)
    finally:
        service.stop()


def test_without_a_token_it_cannot_be_wanted(settings: Settings, engine: FakeEngine) -> None:
    without = replace(settings, label_studio=LabelStudioSettings(url=settings.label_studio.url))
    with pytest.raises(SettingsError, match=r"OVDIFF_PRELABEL=yes needs LABEL_STUDIO_API_KEY"):
        create_app(without, engine)
