"""`ovdiff prelabel` against a small HTTP server; a real Label Studio is in tests/end_to_end/test_prelabel.py."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.command import cli
from backend.command.arguments import prelabel as arguments
from backend.command.prelabel import AGAIN, Wishes, prelabel_project
from backend.errors import LabelStudioAPIError, RequestError, UsageError
from backend.serving.http.app import create_app
from backend.serving.predicting.basis import Basis
from backend.serving.prelabelling.patience import Patience
from backend.serving.prelabelling.plans import Choice
from backend.serving.prelabelling.run import lock_project
from backend.serving.service import Service
from backend.serving.vocabulary import read_labelling
from backend.settings import LabelStudioSettings, PredictionSettings, Settings
from converters.console import answering
from ovdiff.errors import ClusterError, WeightsError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.project_studio import CONFIG, Asked, Fault, ProjectStudio, running_project
from tests.fakes.signals import terminal_signals

OLD = "ovdiff-0.0.9+0123456789"
OTHERS = ("yolo-7", "", None, "ovdiff-mine", "ovdiff-0.0.9+0123456789-by-hand")


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        yield found


@pytest.fixture
def settings(studio: ProjectStudio, tmp_path: Path) -> Settings:
    return settings_for(studio.url, tmp_path)


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    return FakeEngine(settings.bank_dir)


def settings_for(url: str, folder: Path) -> Settings:
    label_studio = LabelStudioSettings(url=url, api_key=LEGACY_TOKEN)
    at_once = PredictionSettings(delete_replaced_after_s=0.0)
    return Settings(data_dir=folder / "data", label_studio=label_studio, prediction=at_once)


def hurried() -> Patience:
    """Wait as long as always, by a clock that nobody has to wait for."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return Patience(clock_s=lambda: now[0], sleep=sleep)


def run(settings: Settings, engine: FakeEngine, query: str | None = None, **wishes: Any) -> None:
    choice = Choice(changed_only=wishes.pop("changed_only", False), unannotated_only=wishes.pop("unannotated", False))
    prelabel_project(Wishes(1, query, choice, **wishes), settings, engine, patience=hurried())


def summary(
    capsys: pytest.CaptureFixture[str], settings: Settings, engine: FakeEngine, query: str | None = None, **wishes: Any
) -> dict[str, Any]:
    capsys.readouterr()
    with answering(as_json=True):
        run(settings, engine, query, **wishes)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def version_of(settings: Settings, engine: FakeEngine, config: str = CONFIG) -> str:
    """Return the version that predictions have once all is built."""
    labelling = read_labelling(config, max_categories=9)
    ready = {category: engine.category_key(category) for category in labelling.categories}
    return Basis(settings, engine).version(labelling, ready)


def mixed(studio: ProjectStudio, count: int) -> list[int]:
    """Give tasks old predictions of ours and others of other people; return the ids of the latter."""
    studio.add_tasks(count)
    theirs = []
    for task in range(1, count + 1):
        if task % 2:
            studio.predict(task, OLD)
        if task % 3 == 0:
            theirs.append(studio.predict(task, OTHERS[task % len(OTHERS)]))
    return theirs


def test_images_may_lie_in_a_folder_of_ones_own(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    studio.add_tasks(3)
    for number in (2, 3):
        (tmp_path / f"{number}.png").write_bytes(encoded(red_and_blue()))
    capsys.readouterr()
    with pytest.raises(RequestError), answering(as_json=True):
        run(settings, engine, images=tmp_path)
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["predicted"], found["failures"]) == (2, 1)
    assert f"its image '/data/upload/1/1.png' is not in {tmp_path}." in captured.err
    assert not [asked for asked in studio.requests if asked.path.startswith("/data/")]  # no image of Label Studio's


def test_each_task_has_the_prediction_that_the_service_would_answer(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(3)
    found = summary(capsys, settings, engine)
    assert (found["predicted"], found["missing"], found["failures"]) == (3, 3, 0)
    app = create_app(settings, engine)
    service: Service = app.extensions["ovdiff"]
    try:
        answers = service.predict(PROJECT_UID, list(studio.tasks.values()), CONFIG)
        assert service.setup(PROJECT_UID, CONFIG)["model_version"] == found["model_version"]
    finally:
        service.stop()
    stored = [{key: each[key] for key in ("result", "score", "model_version")} for each in studio.predictions.values()]
    assert stored == answers and len(stored[0]["result"]) == 2


@pytest.mark.parametrize("too_many", [False, True])
def test_tasks_that_are_segmented_at_once_have_the_predictions_of_tasks_one_after_another(
    too_many: bool, studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(12)
    run(settings, engine)
    alone = [each["result"] for each in studio.predictions.values()]
    studio.predictions.clear()
    together = TogetherEngine(settings.bank_dir, too_many=too_many)

    def wait_for_others() -> None:
        while together.kept < 6:  # the threads of two groups: one waits while the other is segmented
            time.sleep(0.001)

    together.on_segment = wait_for_others
    found = summary(capsys, settings, together)
    assert [each["result"] for each in studio.predictions.values()] == alone
    assert (found["predicted"], found["failures"], together.segmented, together.kept) == (12, 0, 12, 12)
    assert max(together.groups) == 3 and sum(together.groups) <= 12


def test_a_second_run_finds_nothing_to_do_and_loads_no_model(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(5)
    run(settings, engine)
    segmented, before = engine.segmented, dict(studio.predictions)
    found = summary(capsys, settings, engine)
    assert (found["predicted"], found["up_to_date"], found["tasks"]) == (0, 5, 5)
    assert engine.segmented == segmented and studio.predictions == before


def test_old_predictions_of_ours_are_replaced_and_nobody_elses_touched(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    theirs = mixed(studio, 30)
    kept = {number: studio.predictions[number] for number in theirs}
    run(settings, engine)
    version = version_of(settings, engine)
    assert {number: studio.predictions[number] for number in theirs} == kept
    for task in studio.tasks:
        assert studio.versions(task).count(version) == 1 and OLD not in studio.versions(task)


def test_a_prediction_that_an_annotation_began_with_stays(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(2)
    used = studio.predict(1, OLD)
    studio.predict(1, OLD)
    studio.annotations[1] = [{"id": 9, "parent_prediction": used, "result": []}]
    found = summary(capsys, settings, engine)
    version = version_of(settings, engine)
    assert studio.versions(1) == [OLD, version] and used in studio.predictions
    assert (found["kept_for_annotations"], found["removed"]) == (1, 1)
    assert summary(capsys, settings, engine)["predicted"] == 0


def test_what_is_begun_while_it_runs_keeps_its_prediction(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """People submit an annotation, and begin a draft, after the page of these tasks was planned."""
    run(settings, engine)  # builds
    studio.add_tasks(5)
    version = version_of(settings, engine)
    old = [studio.predict(task, OLD) for task in range(1, 5)]
    studio.predict(4, version)  # this task needs no prediction, but has an old one left

    def before(asked: Asked) -> Fault | None:
        if asked.path == "/data/upload/1/5.png" or (asked.method == "DELETE" and not studio.annotations):
            for task in (1, 2):
                studio.annotations[task] = [{"id": task, "parent_prediction": old[task - 1], "result": []}]
            studio.drafts.add(3)
        return None

    studio.before = before
    found = summary(capsys, settings, engine)
    assert [number in studio.predictions for number in old] == [True, True, True, False]
    assert (found["predicted"], found["removed"], found["removed_later"], found["kept_for_annotations"]) == (4, 1, 1, 2)


def test_a_replaced_prediction_stays_while_somebody_may_have_it_open(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = replace(settings, prediction=PredictionSettings())
    studio.add_tasks(2)
    opened, theirs = studio.predict(1, OLD), studio.predict(1, "yolo-7")
    said = summary(capsys, usual, engine, dry_run=True)
    assert (said["removed"], said["removed_later"]) == (0, 1)
    found = summary(capsys, usual, engine)
    assert (found["predicted"], found["removed"], found["removed_later"]) == (2, 0, 1)
    assert {opened, theirs} < set(studio.predictions)
    run(usual, engine)
    assert "that a later run deletes, when nobody has them open any more: 1" in capsys.readouterr().out
    (new,) = (each for each in studio.predictions.values() if each["task"] == 1 and each["id"] not in {opened, theirs})
    for hours, is_there in ((11.9, True), (12.1, False)):
        new["created_at"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
        found = summary(capsys, usual, engine, changed_only=True)
        assert (opened in studio.predictions, found["removed"]) == (is_there, not is_there)
    assert theirs in studio.predictions and new["id"] in studio.predictions


def test_changed_only_and_unannotated_choose(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(4)
    studio.predict(1, OLD)
    studio.predict(2, OLD)
    studio.predict(3, "yolo-7")
    studio.annotations[2] = [{"id": 9, "parent_prediction": None, "result": []}]
    found = summary(capsys, settings, engine, changed_only=True, unannotated=True)
    assert (found["predicted"], found["never_predicted"], found["annotated"]) == (1, 2, 1)
    version = version_of(settings, engine)
    assert [studio.versions(task) for task in (1, 2, 3, 4)] == [[version], [OLD], ["yolo-7"], []]
    assert summary(capsys, settings, engine, changed_only=True)["predicted"] == 1
    assert [studio.versions(task) for task in (2, 3, 4)] == [[version], ["yolo-7"], []]


def test_a_dry_run_counts_and_writes_nothing(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed(studio, 30)
    before = dict(studio.predictions)
    found = summary(capsys, settings, engine, dry_run=True)
    assert (found["missing"], found["outdated"], found["removed"], found["predicted"]) == (15, 15, 15, 0)
    assert studio.predictions == before and not engine.built and engine.segmented == 0
    assert {each.method for each in studio.requests} == {"GET"}
    run(settings, engine)
    found = summary(capsys, settings, engine, dry_run=True)
    assert (found["lacking"], found["up_to_date"]) == (0, 30)  # the version is the one that was foretold


def test_label_studio_is_not_made_to_predict_by_being_asked_for_tasks(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Label Studio would wait for a backend that waits for this run, and a dry run would write."""
    studio.add_tasks(3)
    old = studio.predict(3, OLD)
    asked_back: list[int] = []

    def backend(task: int) -> str:
        asked_back.append(task)
        return OLD

    studio.backend = backend
    assert summary(capsys, settings, engine, dry_run=True)["missing"] == 2
    assert list(studio.predictions) == [old]
    assert summary(capsys, settings, engine)["predicted"] == 3
    assert asked_back == []


def test_a_limit_ends_it_and_the_next_run_goes_on(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(7)
    for predicted, of in ((3, 3), (3, 6), (1, 7), (0, 7)):
        assert summary(capsys, settings, engine, limit=3)["predicted"] == predicted
        assert len(studio.predictions) == of


def test_a_limit_does_not_stick_behind_tasks_that_fail(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(9)
    studio.images = {f"/data/upload/1/{number}.png": None for number in (1, 2, 3)}
    for done in ([4, 5], [4, 5, 6, 7], [4, 5, 6, 7, 8, 9]):
        with pytest.raises(RequestError, match=r"3 of \d tasks have no prediction"):
            run(settings, engine, limit=2)
        assert sorted(each["task"] for each in studio.predictions.values()) == done


def test_a_dry_run_needs_no_lock_and_makes_no_folder(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(2)
    before = settings.data_dir.exists()
    assert summary(capsys, settings, engine, dry_run=True)["missing"] == 2
    assert summary(capsys, settings, engine, dry_run=True, limit=1)["looked_at"] == 1
    assert not before and not settings.data_dir.exists()
    lock = lock_project(settings.data_dir, PROJECT_UID)
    assert summary(capsys, settings, engine, dry_run=True)["missing"] == 2
    lock.release()


@pytest.mark.parametrize(
    ("query", "tasks"),
    [
        ("2", [2]),
        ("1, 2,5-9", [1, 2, 5, 6, 7, 8, 9]),
        ("28-100,29", [28, 29, 30]),
        ("25-5000000000, 3", [3, 25, 26, 27, 28, 29, 30]),
        ('{"items": [{"filter": "filter:tasks:id", "operator": "less", "type": "Number", "value": 3}]}', [1, 2]),
        ("tab=4", [1, 2, 29, 30]),
        ("http://localhost:8080/projects/1/data?tab=4&page=1", [1, 2, 29, 30]),
        ("tab=5", list(range(1, 31))),
    ],
)
def test_a_query_means_some_tasks(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, query: str, tasks: list[int]
) -> None:
    studio.add_tasks(30)
    ends = [("less", 3), ("greater", 28)]
    items = [{"filter": "filter:tasks:id", "operator": op, "type": "Number", "value": value} for op, value in ends]
    studio.views = {
        4: {"id": 4, "project": 1, "data": {"filters": {"conjunction": "or", "items": items}}},
        5: {"id": 5, "project": 1, "data": {"title": "Default"}},
    }
    run(settings, engine, query)
    assert sorted(each["task"] for each in studio.predictions.values()) == tasks


def test_categories_are_built_first_or_refused(studio: ProjectStudio, settings: Settings, engine: FakeEngine) -> None:
    studio.add_tasks(1)
    with pytest.raises(UsageError, match=r"2 categories have no prototypes: red, blue\. Leave out --no-build"):
        run(settings, engine, may_build=False)
    assert not engine.built and not studio.predictions
    run(settings, engine)
    assert engine.built == ["red", "blue"]
    run(settings, engine, may_build=False)


def test_a_category_that_cannot_be_made_is_left_out_and_named(
    studio: ProjectStudio, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(1)
    engine = FakeEngine(settings.bank_dir, failing=frozenset({"blue"}))
    with pytest.raises(RequestError, match=r"leave out categories that could not be made: blue\."):
        run(settings, engine)
    (stored,) = studio.predictions.values()
    assert [region["value"]["brushlabels"] for region in stored["result"]] == [["red"]]
    assert stored["model_version"] != version_of(settings, engine)
    with pytest.raises(RequestError, match="2 of 2 categories could not be built: red, blue"):
        run(settings, FakeEngine(settings.bank_dir, name="b", failing=frozenset({"red", "blue"})))


def test_an_image_that_cannot_be_had_is_told_and_left(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(40)
    studio.images = {"/data/upload/1/3.png": None, "/data/upload/1/4.png": b"no picture"}
    studio.tasks[5]["data"] = {"text": "hello"}
    old = studio.predict(3, OLD)
    with pytest.raises(RequestError, match="3 of 40 tasks have no prediction; they are named above"):
        run(settings, engine)
    said = capsys.readouterr().err
    assert "task 3: " in said and "answered 404" in said
    assert "task 4: 10 bytes that start with 'no picture'" in said and "task 5: The task's data has" in said
    assert len(studio.predictions) == 38 and old in studio.predictions
    assert studio.count("GET", "/data/upload/1/3.png") == 2  # once more at the end, and not more often


@pytest.mark.parametrize(
    ("error", "most", "said"),
    [
        (ClusterError("The head does not answer."), 20, "^The head does not answer. Every other image would fail, too"),
        (RuntimeError("CUDA error"), 35, "^10 images in a row failed, .* The last one: Unexpected RuntimeError"),
    ],
)
def test_what_would_meet_every_task_ends_it(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, error: Exception, most: int, said: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    studio.add_tasks(100)
    studio.images = dict.fromkeys((f"/data/upload/1/{task}.png" for task in (1, 2, 3)), encoded(red_and_blue()[:8]))
    attempts, segment = count(), engine.segment

    def segment_or_fail(image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        next(attempts)
        if len(image) == 8:
            return segment(image, vocabulary)
        raise error

    monkeypatch.setattr(engine, "segment", segment_or_fail)
    with pytest.raises(RequestError, match=said):
        run(settings, engine)
    assert next(attempts) <= most and studio.count("GET", "/data/upload") < 50
    assert len(studio.predictions) == 3, "what was made before is stored"
    assert AGAIN in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("this image crashes"), "^20 of 40 tasks have no prediction; they are named above"),
        (ClusterError("The head does not answer."), "^The head does not answer. Every other image would fail, too"),
    ],
)
def test_tasks_that_fail_twice_are_all_counted_and_named(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, error: Exception, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Others were predicted between them; in the second tries they follow each other, and that ends no run."""
    studio.add_tasks(40)
    attempts = count()

    def fail() -> None:
        attempt = next(attempts)
        if attempt >= 40:
            raise error
        if attempt % 2:
            raise RuntimeError("this image crashes")

    engine.on_segment = fail
    with answering(as_json=True), pytest.raises(RequestError, match=said):
        run(settings, engine)
    found = json.loads(capsys.readouterr().out)
    assert (found["predicted"], found["failures"], len(found["failed"])) == (20, 20, 20)


def test_tasks_that_failed_are_named_where_something_else_ends_the_run(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(2)
    studio.images = {"/data/upload/1/1.png": None}
    studio.before = lambda asked: Fault(403) if asked.method == "POST" else None
    with answering(as_json=True), pytest.raises(LabelStudioAPIError):
        run(settings, engine)
    found = json.loads(capsys.readouterr().out)
    assert [each["task"] for each in found["failed"]] == [1]


@pytest.mark.parametrize("strict", [True, False])
def test_a_prediction_that_label_studio_does_not_take_hides_no_other(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, strict: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(30)
    old = studio.predict(7, OLD)
    studio.strict, studio.takes = strict, lambda item: item["task"] not in (7, 8)
    with pytest.raises(RequestError, match="2 of 30 tasks have no prediction"):
        run(settings, engine)
    assert {each["task"] for each in studio.predictions.values()} == set(range(1, 31)) - {8}
    assert old in studio.predictions
    said = capsys.readouterr().err
    assert ("7 cannot be used" if strict else "did not take the prediction, and says only in its log why") in said


def failing_times(times: int, method: str, part: str, fault: Fault) -> Callable[[Asked], Fault | None]:
    """Return a hook that lets the first requests of a method for a path fail."""
    left = [times]

    def hook(asked: Asked) -> Fault | None:
        if asked.method == method and part in asked.path and left[0]:
            left[0] -= 1
            return fault
        return None

    return hook


DOWN = (Fault(None), Fault(502, b"<html>Bad gateway</html>"), Fault(503))


@pytest.mark.parametrize("fault", DOWN)
@pytest.mark.parametrize(
    ("method", "part"),
    [("GET", "/api/tasks"), ("POST", "/import/"), ("DELETE", "/api/predictions/"), ("GET", "/data/upload/1/2.png")],
)
def test_a_label_studio_that_is_away_for_a_moment_is_waited_for(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, method: str, part: str, fault: Fault
) -> None:
    mixed(studio, 30)
    studio.before = failing_times(1 if "/data/" in part else 3, method, part, fault)
    run(settings, engine)
    version = version_of(settings, engine)
    for task in studio.tasks:
        assert studio.versions(task).count(version) == 1 and OLD not in studio.versions(task)


@pytest.mark.parametrize("fault", DOWN)
def test_a_lost_answer_stores_nothing_twice(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, fault: Fault
) -> None:
    studio.add_tasks(30)
    studio.after = failing_times(1, "POST", "/import/", fault)
    run(settings, engine)
    assert sorted(each["task"] for each in studio.predictions.values()) == list(range(1, 31))


def test_what_a_slow_request_stores_after_it_was_sent_again_is_deleted(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    """Label Studio works on after the client has given up, and is done only after the second request."""
    studio.add_tasks(3)
    late: list[Any] = []

    def before(asked: Asked) -> Fault | None:
        if asked.method == "POST" and not late:
            late.append(asked.body)
            return Fault(504)
        return None

    def after(asked: Asked) -> Fault | None:
        if asked.method == "POST" and len(late) == 1:
            late.append(studio.answer(Asked("POST", asked.path, {}, late[0])))
        return None

    studio.before, studio.after = before, after
    run(settings, engine)
    assert len(late) == 2 and sorted(each["task"] for each in studio.predictions.values()) == [1, 2, 3]


def test_a_label_studio_that_stays_away_ends_it_in_words_and_the_next_run_goes_on(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(50)
    imports = [0]

    def before(asked: Asked) -> Fault | None:
        imports[0] += asked.method == "POST"
        return Fault(None) if imports[0] > 1 else None

    studio.before = before
    with pytest.raises(LabelStudioAPIError, match=r"was asked again for \d+ s\. Run the same command again"):
        run(settings, engine)
    said = capsys.readouterr().out
    assert "predicted and stored: 20" in said and "then ended by an error" in said
    assert len(studio.predictions) == 20
    studio.before = lambda asked: None
    run(settings, engine)
    assert sorted(each["task"] for each in studio.predictions.values()) == list(range(1, 51))


@pytest.mark.parametrize(
    ("part", "body", "said"),
    [
        ("/api/tasks", b"<html>", "did not answer with JSON"),
        ("/api/tasks", b"[]", "answered with list"),
        ("/api/tasks", b'{"tasks": [{"id": 0}], "total": 1}', "was asked for the tasks after 0"),
        ("/api/tasks", b'{"tasks": [{"id": 1}], "total": 1}', "total_predictions=None, expected a number"),
        ("/import/", b"{}", "did not answer how many it took"),
        ("/import/", b'"' + b"x" * 2**26, "more than"),
        ("/api/projects/1/", b"{}", "did not answer with a project"),
    ],
)
def test_rubbish_ends_it_in_words(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, part: str, body: bytes, said: str
) -> None:
    studio.add_tasks(2)
    studio.before = lambda asked: Fault(200, body) if part in asked.path else None
    with pytest.raises(LabelStudioAPIError, match=said):
        run(settings, engine)


def test_a_task_without_readable_predictions_ends_it_in_words(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    studio.add_tasks(1)
    studio.predict(1, OLD)
    task = {"id": 1, "predictions": [{}], "annotations": []}
    body = json.dumps({"tasks": [task], "total": 1}).encode()
    studio.before = lambda asked: Fault(200, body) if asked.query.get("fields") == "all" else None
    with pytest.raises(LabelStudioAPIError, match="gave task 1 without readable predictions and annotations"):
        run(settings, engine)
    assert studio.versions(1) == [OLD]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("boats", "means no tasks: expected ids"),
        (" , ", "names no task"),
        ("5-", "'5-' is no id of a task"),
        ("9-5", "'9-5' is no id of a task"),
        ("9" * 30, "is no id of a task"),
        ("{", "is no JSON"),
        ('{"items": [1]}', "are no conditions of a filter"),
        ('{"conjunction": "xor", "items": []}', "is no filter of tasks"),
        (
            '{"items": [{"filter": "filter:tasks:nope", "operator": "equal", "type": "x", "value": 1}]}',
            "cannot use this",
        ),
        ("tab=77", "has no tab 77"),
        ("tab=6", "is of project 2, not of 1"),
        ("tab=" + "9" * 5000, "means no tasks"),
    ],
)
def test_a_query_that_means_nothing_is_named(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, query: str, said: str
) -> None:
    studio.add_tasks(1)
    studio.views = {6: {"id": 6, "project": 2, "data": {}}}
    with pytest.raises(UsageError, match=said):
        run(settings, engine, query)


def test_a_project_that_changes_meanwhile_ends_it_before_anything_false_is_stored(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    mixed(studio, 50)
    changed = CONFIG.replace('value="blue"', 'value="blue" threshold="0.5"')

    def after(asked: Asked) -> Fault | None:
        if asked.method == "POST":
            studio.label_config = changed
        return None

    studio.after = after
    with pytest.raises(
        RequestError, match=r"changed while this ran\. 20 predictions were stored under .* Run the same"
    ):
        run(settings, engine)
    first, second = (version_of(settings, engine, config) for config in (CONFIG, changed))
    assert sum(studio.versions(task).count(first) for task in studio.tasks) == 20
    run(settings, engine)
    assert all(studio.versions(task).count(second) == 1 and first not in studio.versions(task) for task in studio.tasks)


def test_a_change_is_seen_before_anything_of_the_new_version_is_taken_for_old(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    """The second page has predictions that the service stored after the change."""
    run(settings, engine)  # builds
    studio.add_tasks(201)
    changed = CONFIG.replace('value="blue"', 'value="blue" threshold="0.5"')
    first, second = (version_of(settings, engine, config) for config in (CONFIG, changed))
    for task in studio.tasks:
        studio.predict(task, first)
    new = studio.predict(201, second)

    def after(asked: Asked) -> Fault | None:
        if asked.path == "/api/tasks" and asked.query["page_size"] == "200":
            studio.label_config = changed
        return None

    studio.after = after
    with pytest.raises(RequestError, match="changed while this ran"):
        run(settings, engine)
    assert new in studio.predictions


@dataclass
class LoadingEngine(FakeEngine):
    """Its models do not load."""

    loads: int = 0

    def load_models(self) -> None:
        self.loads += 1
        raise WeightsError("The weights are not there.")


def test_models_are_loaded_before_the_first_task_and_only_for_one(studio: ProjectStudio, settings: Settings) -> None:
    engine = LoadingEngine(settings.bank_dir)
    run(settings, engine)
    assert engine.loads == 0  # no task
    studio.add_tasks(3)
    with pytest.raises(WeightsError, match="are not there"):
        run(settings, engine)
    assert (engine.loads, engine.segmented) == (1, 0)
    for task in studio.tasks:
        studio.predict(task, version_of(settings, engine))
    run(settings, engine)
    assert engine.loads == 1


def test_only_one_run_at_a_time_works_on_a_project(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine
) -> None:
    studio.add_tasks(1)
    other = lock_project(settings.data_dir, PROJECT_UID)
    with pytest.raises(UsageError, match=rf"Another run \(process {os.getpid()} on .*\) predicts this project already"):
        run(settings, engine)
    other.release()
    run(settings, engine)
    assert len(studio.predictions) == 1


def test_a_prediction_that_comes_in_meanwhile_is_not_stored_again(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person opens a task, and the service answers, after the run has planned the task."""
    studio.add_tasks(3)
    version = version_of(settings, engine)

    def before(asked: Asked) -> Fault | None:
        if asked.path == "/data/upload/1/2.png":
            studio.predict(2, version)
        return None

    studio.before = before
    found = summary(capsys, settings, engine)
    assert (found["predicted"], found["stored_meanwhile"]) == (2, 1)
    assert [studio.versions(task) for task in (1, 2, 3)] == [[version]] * 3


def run_elsewhere(url: str, folder: Path, output: Path, engine: type[FakeEngine] = FakeEngine) -> None:
    """Run in a process of its own."""
    with terminal_signals(), output.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        settings = settings_for(url, folder)
        run(settings, engine(settings.bank_dir))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Return what starts processes that have imported already, so that many of them can be killed in a test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


STAGES: tuple[tuple[str, str, str, int], ...] = (  # when, method, part of the path, and which request of these
    ("before", "GET", "/api/tasks", 2),
    ("before", "GET", "/data/", 5),
    ("before", "POST", "/import/", 1),
    ("after", "POST", "/import/", 1),
    ("before", "DELETE", "/api/predictions/", 3),
    ("after", "DELETE", "/api/predictions/", 3),
    ("after", "POST", "/import/", 2),
)


def test_a_run_that_is_killed_at_any_moment_loses_nothing_and_goes_on(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, tmp_path: Path, processes: ForkServerContext
) -> None:
    """Each stage kills the next run. After each every task has a prediction of ours, and theirs are untouched.

    Every second run segments several images at once.
    """
    theirs = mixed(studio, 60)
    for task in studio.tasks:
        if OLD not in studio.versions(task):
            studio.predict(task, OLD)
    kept, version = {number: studio.predictions[number] for number in theirs}, version_of(settings, engine)
    for (when, method, part, which), kind in zip(STAGES, cycle((FakeEngine, TogetherEngine))):
        given = studio.url, tmp_path, tmp_path / "output", kind
        running = processes.Process(target=run_elsewhere, args=given)
        seen = [0]

        def kill(asked: Asked) -> Fault | None:
            seen[0] += asked.method == method and part in asked.path  # noqa: B023 — used in this turn alone
            if seen[0] == which:  # noqa: B023
                running.kill()  # noqa: B023
                return Fault(None)
            return None

        setattr(studio, when, kill)
        running.start()
        running.join(120)
        assert running.exitcode == -signal.SIGKILL, (when, method, part)
        studio.before = studio.after = lambda asked: None
        assert {number: studio.predictions[number] for number in theirs} == kept
        assert all({OLD, version} & set(studio.versions(task)) for task in studio.tasks)
        assert all(studio.versions(task).count(version) <= 1 for task in studio.tasks)
    run(settings, engine)
    assert {number: studio.predictions[number] for number in theirs} == kept
    for task in studio.tasks:
        assert studio.versions(task).count(version) == 1 and OLD not in studio.versions(task)


def test_ctrl_c_waits_for_no_image_of_a_server_that_says_nothing(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(3)
    silent, answered, images = threading.Event(), list[bool](), count()

    def interrupt(asked: Asked) -> Fault | None:
        if asked.path.startswith("/data/"):
            if next(images) == 0:  # one Ctrl-C, however many are on their way
                os.kill(os.getpid(), signal.SIGINT)
            answered.append(silent.wait(20))
        return None

    studio.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(settings, engine)
    assert answered == [] and "Run the same command again" in capsys.readouterr().out
    silent.set()


def test_ctrl_c_ends_it_and_says_what_was_done(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, tmp_path: Path, processes: ForkServerContext
) -> None:
    studio.add_tasks(60)
    output, stored = tmp_path / "output", threading.Event()
    running = processes.Process(target=run_elsewhere, args=(studio.url, tmp_path, output))

    def interrupt(asked: Asked) -> Fault | None:
        if asked.method == "POST" and not stored.is_set():
            stored.set()
            os.kill(running.pid or 0, signal.SIGINT)
        return None

    studio.before = interrupt
    running.start()
    running.join(120)
    said = output.read_text()
    assert running.exitcode == 1  # by a KeyboardInterrupt, of which `cli.main` makes the status 130
    assert "then ended by Ctrl-C" in said and "Run the same command again" in said
    assert len(studio.predictions) <= 20
    studio.before = lambda asked: None
    run(settings, engine)
    assert sorted(each["task"] for each in studio.predictions.values()) == list(range(1, 61))


@pytest.fixture
def command_line(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Return what runs the command line on this engine."""
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("OVDIFF_DELETE_REPLACED_AFTER_S", "0")
    monkeypatch.setattr(arguments, "engine_of", lambda options, settings: engine)
    return lambda *words: cli.main(["prelabel", *words])


def test_the_command_line_says_what_was_done_and_how_it_ended(
    studio: ProjectStudio, command_line: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(3)
    studio.predict(2, OLD)
    assert command_line("--project", "1", "--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "looked at: 3 of 3 tasks",
        "would be predicted: 3 (2 without a prediction of ovdiff, 1 with an old one)",
        "old predictions of ovdiff that would be deleted: 1",
    ]
    assert command_line("--project", "1", "--no-build") == 2
    assert "have no prototypes: red, blue" in capsys.readouterr().err
    studio.images["/data/upload/1/3.png"] = None
    assert command_line("--project", "1") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[2].startswith("project 1, model version ovdiff-") and said[3] == "looked at: 3 of 3 tasks"
    assert said[4].startswith("predicted and stored: 2, in ") and said[6:] == ["without a prediction: 1"]
    del studio.images["/data/upload/1/3.png"]
    assert command_line("--project", "1", "--json", "--limit", "5", "--changed-only", "--unannotated") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["project"], found["predicted"], found["never_predicted"]) == (1, 0, 1)
    assert command_line("--project", "7") == 1
    assert "answered 404" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--project", "0"], ["--project", "1", "--limit", "0"], []])
def test_a_number_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["prelabel", *words])


def test_json_is_all_that_comes_to_stdout(
    studio: ProjectStudio, settings: Settings, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.add_tasks(1)
    assert summary(capsys, settings, engine)["predicted"] == 1  # the categories were built, too
    assert engine.has(Category("red"))
