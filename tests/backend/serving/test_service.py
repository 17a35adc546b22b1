import json
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backend.errors import BusyError, SettingsError, UnusableLabelConfigError
from backend.serving.service import Service
from backend.settings import OutputSettings, PredictionSettings, ServerSettings, Settings
from ovdiff.errors import StorageError
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.learner import LearningEngine
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.waiting import eventually


def config(*labels: str, control: str = "BrushLabels") -> str:
    body = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="image" value="$image"/><{control} name="b" toName="image">{body}</{control}></View>'


def task(number: int = 1, image: str = "/data/upload/1/picture.png") -> dict[str, Any]:
    return {"id": number, "data": {"image": image}}


RED_BLUE = config("red", "blue")


def labels(item: dict[str, Any]) -> list[str]:
    return [region["value"]["brushlabels"][0] for region in item["result"]]


def wait_until_ready(service: Service, project: str, label_config: str) -> str:
    """Return the model version once all categories are ready."""
    service.setup(project, label_config)
    service.predict(project, [], label_config)
    return service.setup(project, label_config)["model_version"]


def all_are_ready(service: Service) -> bool:
    """Return whether every category of the project is ready; for a service that waits for none of them itself."""
    categories = service.status()["projects"][PROJECT_UID]["categories"]
    return all(category["state"] == "ready" for category in categories)


def test_a_task_is_predicted(service: Service) -> None:
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert labels(item) == ["blue", "red"]
    assert item["score"] > 0
    assert item["model_version"] == service.setup(PROJECT_UID, RED_BLUE)["model_version"]
    assert "warning" not in item
    assert "error" not in item


def test_each_object_is_a_region_where_the_setting_asks_for_it(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    """And the model version is another one, so that tasks are predicted anew."""
    two = red_and_blue()
    two[:, 32:] = two[:, :32]  # two red rectangles
    label_studio.files["/data/upload/1/two.png"] = ("image/png", encoded(two))
    tasks = [task(image="/data/upload/1/two.png")]
    whole, told_apart = (
        make_app(replace(settings, data_dir=settings.data_dir / per, output=OutputSettings(regions_per=per)), engine)
        .extensions["ovdiff"]
        .predict(PROJECT_UID, tasks, RED_BLUE)[0]
        for per in ("category", "object")
    )
    assert [len(item["result"]) for item in (whole, told_apart)] == [1, 2]
    assert whole["model_version"] != told_apart["model_version"]


def test_a_lesson_makes_another_version_for_the_projects_whose_words_it_teaches(
    make_app: MakeApp, settings: Settings
) -> None:
    engine = LearningEngine(settings.bank_dir)
    service = make_app(settings, engine).extensions["ovdiff"]
    green = config("green")
    before = [wait_until_ready(service, PROJECT_UID, RED_BLUE), wait_until_ready(service, "2", green)]
    words = Vocabulary(["red", "blue"])
    engine.learn(red_and_blue(), Annotation(np.ones((48, 64), dtype=np.int32), words))
    after = [service.setup(PROJECT_UID, RED_BLUE)["model_version"], service.setup("2", green)["model_version"]]
    assert after[0] != before[0] and after[1] == before[1]
    engine.lessons.remove(engine.lessons.addresses()[0])
    assert service.setup(PROJECT_UID, RED_BLUE)["model_version"] == before[0]


def test_objects_of_an_engine_that_cannot_tell_them_apart_are_refused_at_once(
    make_app: MakeApp, settings: Settings
) -> None:
    class Plain(FakeEngine):
        with_instances = None  # type: ignore[assignment]

    with pytest.raises(SettingsError, match=r"REGIONS_PER='object', but the engine 'fake' does not tell objects apart"):
        make_app(replace(settings, output=OutputSettings(regions_per="object")), Plain(settings.bank_dir))


def test_setup_returns_at_once_and_names_another_version_when_more_is_ready(
    service: Service, engine: FakeEngine
) -> None:
    engine.gate = threading.Event()
    early = service.setup(PROJECT_UID, RED_BLUE)["model_version"]
    engine.gate.set()
    assert wait_until_ready(service, PROJECT_UID, RED_BLUE) != early


@pytest.mark.parametrize("count", [1, 3])
def test_a_task_opened_too_early_has_no_result_and_is_answered_in_full_later(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, count: int
) -> None:
    """Label Studio stores no item without a result, so it asks again."""
    impatient = replace(settings, prediction=replace(settings.prediction, wait_for_prototypes_s=0.05))
    service = make_app(impatient, engine).extensions["ovdiff"]
    service.setup(PROJECT_UID, config("red"))
    assert eventually(lambda: all_are_ready(service))
    engine.gate = threading.Event()
    service.setup(PROJECT_UID, RED_BLUE)
    assert eventually(lambda: '"generating"' in json.dumps(service.status()))
    tasks = [task(number) for number in range(count)]
    early = service.predict(PROJECT_UID, tasks, RED_BLUE)
    assert [sorted(item) for item in early] == [["error", "model_version"]] * count
    assert early[0]["error"] == "Not every category is ready: blue (building: generating, 50%)."
    engine.gate.set()
    assert eventually(lambda: all_are_ready(service))
    assert [labels(item) for item in service.predict(PROJECT_UID, tasks, RED_BLUE)] == [["blue", "red"]] * count


def test_a_partial_prediction_is_stored_where_the_setting_asks_for_it(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    partial = replace(settings.prediction, wait_for_prototypes_s=0.05, partial_predictions=True)
    service = make_app(replace(settings, prediction=partial), engine).extensions["ovdiff"]
    service.setup(PROJECT_UID, config("red"))
    assert eventually(lambda: all_are_ready(service))
    first = service.setup(PROJECT_UID, config("red"))["model_version"]
    engine.gate = threading.Event()
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert labels(item) == ["red"] and "blue" in item["warning"] and item["model_version"] != first
    engine.gate.set()
    assert eventually(lambda: wait_until_ready(service, PROJECT_UID, RED_BLUE) != item["model_version"])


def test_a_category_that_failed_does_not_hold_up_its_project_while_it_is_tried_again(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    engine.failing = frozenset({"blue"})
    restless = replace(settings, prediction=replace(settings.prediction, retry_failed_after_s=0.1))
    service = make_app(restless, engine).extensions["ovdiff"]
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    engine.gate = threading.Event()

    def is_tried_again() -> bool:
        service.setup(PROJECT_UID, RED_BLUE)
        return '"generating"' in json.dumps(service.status())

    assert eventually(is_tried_again)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    engine.gate.set()
    assert labels(item) == ["red"] and "blue (building" in item["warning"]


def test_what_is_ready_is_answered_and_the_rest_named(service: Service, engine: FakeEngine) -> None:
    engine.failing = frozenset({"blue"})
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert labels(item) == ["red"]
    why = "failed: No support image of 'blue' has any foreground."
    assert item["warning"] == f"not ready, so not looked for: blue ({why})"


def test_a_failing_task_does_not_touch_the_others(service: Service, label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/upload/1/page.html"] = ("text/html", b"<html>")
    tasks = [
        task(1),
        task(2, "/data/upload/1/missing.png"),
        {"id": 3, "data": {"text": "no image"}},
        {"id": 4},
        task(5, "/data/upload/1/page.html"),
        {"data": {"image": ["/data/upload/1/picture.png"]}},
        task(7),
    ]
    items = service.predict(PROJECT_UID, tasks, RED_BLUE)
    assert ["result" in item for item in items] == [True, False, False, False, False, False, True]
    assert [labels(item) for item in (items[0], items[-1])] == [["blue", "red"]] * 2
    errors = [item.get("error", "") for item in items]
    assert "answered 404" in errors[1]
    assert "The task's data has None for 'image'" in errors[2]
    assert "['text']" in errors[2]
    assert errors[3] == "The task has no data."
    assert "are no picture" in errors[4]
    assert "a list of images" in errors[5]
    failed = service.status()["failed_tasks"]
    assert [row["task"] for row in failed] == [None, 5, 4, 3, 2]
    assert [row["reason"] for row in failed] == errors[5:0:-1]
    assert {row["project"] for row in failed} == {PROJECT_UID}
    label_studio.files["/data/upload/1/missing.png"] = label_studio.files["/data/upload/1/picture.png"]
    assert labels(service.predict(PROJECT_UID, [tasks[1]], RED_BLUE)[0]) == ["blue", "red"]
    assert [row["task"] for row in service.status()["failed_tasks"]] == [None, 5, 4, 3]


def test_tasks_of_a_forgotten_project_are_no_failures_any_more(service: Service) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    service.predict(PROJECT_UID, [{"id": 3, "data": {}}], RED_BLUE)
    assert [row["task"] for row in service.status()["failed_tasks"]] == [3]
    service._projects.forget(PROJECT_UID)
    assert service.status()["failed_tasks"] == []
    assert service.figures().failed_tasks == 0


def test_an_unexpected_failure_shows_no_details(
    service: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(engine, "segment", explode)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert item["error"] == "Unexpected RuntimeError; the service's log has the details."
    assert "secret detail" in caplog.text


def limited(attributes: str) -> str:
    return RED_BLUE.replace('value="red"', f'value="red" {attributes}')


def test_a_changed_threshold_is_answered_anew_without_running_a_model(service: Service, engine: FakeEngine) -> None:
    """The fake's score of what it finds is 0.75. Label Studio asks again, because the version is another one."""
    before = wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert (labels(item), engine.segmented, len(engine.built)) == (["blue", "red"], 1, 2)
    for attributes, expected in (
        ('threshold="0.8"', ["blue"]),
        ('threshold="0.75"', ["blue", "red"]),
        ('min_area_px="100000"', ["blue"]),
    ):
        version = service.setup(PROJECT_UID, limited(attributes))["model_version"]
        (item,) = service.predict(PROJECT_UID, [task()], limited(attributes))
        assert (labels(item), item["model_version"]) == (expected, version)
        assert version != before
    assert (engine.segmented, len(engine.built)) == (1, 2)


def test_what_was_hidden_is_in_the_item_and_in_the_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (item,) = service.predict(PROJECT_UID, [task()], limited('threshold="0.8"'))
    assert item["hidden"] == "red: score 0.75, below threshold=0.8"
    assert "1 task asked for, 1 answered (regions hidden by limits in 1), 0 left" in caplog.text


def test_a_click_is_answered_whatever_the_threshold(service: Service) -> None:
    """A person who clicks on an object has decided that it is there."""
    strict = limited('threshold="1" min_area_px="100000"')
    wait_until_ready(service, PROJECT_UID, strict)
    value = {"x": 25, "y": 50, "width": 0.2, "keypointlabels": ["red"]}
    context = {"result": [{"type": "keypointlabels", "from_name": "k", "to_name": "image", "value": value}]}
    (item,) = service.predict(PROJECT_UID, [task()], strict, context)
    assert labels(item) == ["red"]


def test_an_attribute_that_nobody_reads_is_said_wherever_a_person_may_look(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    misspelled = limited('prompt="a ruby" treshold="0.5"')
    warnings = [
        "prompt=\"a ruby\" of the label 'red' of <brushlabels name='b'> is not read. Write prompts=\"a ruby\".",
        "treshold=\"0.5\" of the label 'red' of <brushlabels name='b'> is not read. Write threshold=\"0.5\".",
    ]
    answer = service.setup(PROJECT_UID, misspelled)
    assert answer["warnings"] == warnings
    assert answer["model_version"].endswith(" (not read: prompt=, treshold=, typo?)")
    assert service.status()["projects"][PROJECT_UID]["warnings"] == warnings
    (item,) = service.predict(PROJECT_UID, [task()], misspelled)
    assert item["model_version"] == service.setup(PROJECT_UID, misspelled)["model_version"]
    assert caplog.text.count(warnings[0]) == 1  # /setup comes with every page of a project
    assert set(service.setup(PROJECT_UID, RED_BLUE)) == {"model_version"}
    assert service.status()["projects"][PROJECT_UID]["warnings"] == []


def test_an_impossible_threshold_is_refused_like_an_impossible_prompt(service: Service) -> None:
    with pytest.raises(UnusableLabelConfigError, match="expected threshold= of the label 'red'"):
        service.setup(PROJECT_UID, limited('threshold="high"'))
    assert "got 'high'" in service.status()["projects"][PROJECT_UID]["error"]


def test_an_unusable_label_config_gives_an_item_a_task(service: Service) -> None:
    items = service.predict(PROJECT_UID, [task(1), task(2)], "<View/>")
    assert ["result" in item for item in items] == [False, False]
    assert "shows no <Image>" in items[0]["error"]


def test_setup_refuses_an_unusable_label_config_and_keeps_what_was(service: Service, engine: FakeEngine) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    with pytest.raises(UnusableLabelConfigError, match="shows no <Image>"):
        service.setup(PROJECT_UID, "<View/>")
    project = service.status()["projects"][PROJECT_UID]
    assert "shows no <Image>" in project["error"]
    assert project["counts"] == {"ready": 2}


def test_a_label_added_computes_only_that_category(service: Service, engine: FakeEngine) -> None:
    first = wait_until_ready(service, PROJECT_UID, RED_BLUE)
    second = wait_until_ready(service, PROJECT_UID, config("red", "blue", "green"))
    assert engine.built == ["red", "blue", "green"]
    assert first != second
    assert service.status()["built"] == ["red", "blue", "green"]


def test_a_restart_keeps_projects_and_prototypes(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> None:
    before = make_app(settings, engine).extensions["ovdiff"]
    version = wait_until_ready(before, PROJECT_UID, RED_BLUE)
    before.stop()
    restarted = FakeEngine(settings.bank_dir)
    after = make_app(settings, restarted).extensions["ovdiff"]
    project = after.status()["projects"][PROJECT_UID]
    assert (project["model_version"], project["counts"]) == (version, {"ready": 2})
    assert labels(after.predict(PROJECT_UID, [task()], RED_BLUE)[0]) == ["blue", "red"]
    assert restarted.built == []
    assert version in after.versions()["versions"]


def test_a_restart_goes_on_with_what_was_not_ready(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> None:
    engine.failing = frozenset({"blue"})
    before = make_app(settings, engine).extensions["ovdiff"]
    wait_until_ready(before, PROJECT_UID, RED_BLUE)
    before.stop()
    restarted = FakeEngine(settings.bank_dir)
    make_app(settings, restarted)
    assert eventually(lambda: restarted.built == ["blue"])


def test_eight_threads_at_once(service: Service, engine: FakeEngine) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: service.predict(PROJECT_UID, [task(n)], RED_BLUE), range(16)))
    assert [labels(items[0]) for items in answers] == [["blue", "red"]] * 16
    assert len({items[0]["model_version"] for items in answers}) == 1
    assert engine.built == ["red", "blue"]


def held(engine: FakeEngine) -> tuple[threading.Event, threading.Event]:
    """Make the engine wait; return the events that it waits, and that it may go on."""
    waits, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        waits.set()
        go_on.wait(60)

    engine.on_segment = hold
    return waits, go_on


def test_beyond_three_quarters_of_the_threads_predictions_are_turned_away_and_clicks_are_not(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    service = make_app(replace(settings, server=ServerSettings(threads=9)), engine).extensions["ovdiff"]
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    waits, go_on = held(engine)
    with ThreadPoolExecutor(7) as pool:
        asked = [pool.submit(service.predict, PROJECT_UID, [task(number)], RED_BLUE) for number in range(6)]
        try:
            assert waits.wait(60)
            assert eventually(lambda: service._requests.in_use == service._settings.server.prediction_requests)
            with pytest.raises(BusyError, match=r"6 requests for predictions are .*OVDIFF_THREADS"):
                service.predict(PROJECT_UID, [task(9)], RED_BLUE)
            click_on = pool.submit(service.predict, PROJECT_UID, [task(9)], RED_BLUE, click(25, 50))
            assert eventually(lambda: service._clicks.in_use == service._settings.server.click_requests)
            with pytest.raises(BusyError, match=r"1 clicks are .*OVDIFF_THREADS"):
                service.predict(PROJECT_UID, [task(9)], RED_BLUE, click(25, 50))
        finally:
            go_on.set()
        assert [labels(future.result(60)[0]) for future in asked] == [["blue", "red"]] * 6
        assert labels(click_on.result(60)[0]) == ["red"]
    assert labels(service.predict(PROJECT_UID, [task(9)], RED_BLUE)[0]) == ["blue", "red"]


def test_a_second_identical_request_does_no_second_work_and_one_of_the_two_has_the_result(
    service: Service, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    """As a deep link to a task makes Label Studio ask; it stores every result that it is given."""
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    waits, go_on = held(engine)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(service.predict, PROJECT_UID, [task()], RED_BLUE) for _ in range(2)]
        assert waits.wait(60)
        assert eventually(lambda: service._requests.in_use == 2)
        go_on.set()
        done, _ = wait(asked, return_when=FIRST_COMPLETED)
        assert ["result" in future.result()[0] for future in done] == [True]
        items = [future.result(60)[0] for future in asked]
    assert sorted("result" in item for item in items) == [False, True]
    assert engine.segmented == 1
    assert "/data/upload/1/picture.png" in label_studio.paths()


def test_a_request_that_waits_for_prototypes_holds_no_place(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    narrow = replace(settings, prediction=replace(settings.prediction, prediction_slots=1))
    service = make_app(narrow, engine).extensions["ovdiff"]
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    engine.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(service.predict, "2.1795200100", [task(1)], config("green"))
        try:
            assert eventually(lambda: '"generating"' in json.dumps(service.status()))
            assert labels(service.predict(PROJECT_UID, [task(2)], RED_BLUE)[0]) == ["blue", "red"]
            assert not early.done()
        finally:
            engine.gate.set()
        assert early.result(60)[0]["result"] == []


def test_every_image_of_a_task_is_predicted(service: Service, label_studio: FakeLabelStudio) -> None:
    label_studio.files["/data/upload/1/second.png"] = ("image/png", encoded(red_and_blue(32, 20)))
    two = (
        '<View><Image name="first" value="$a"/><Image name="second" value="$b"/>'
        '<BrushLabels name="x" toName="first"><Label value="red"/></BrushLabels>'
        '<PolygonLabels name="y" toName="second"><Label value="red"/><Label value="blue"/></PolygonLabels></View>'
    )
    data = {"a": "/data/upload/1/picture.png", "b": "/data/upload/1/second.png"}
    (item,) = service.predict(PROJECT_UID, [{"id": 1, "data": data}], two)
    found = [(r["to_name"], r["from_name"], r["original_width"]) for r in item["result"]]
    assert found == [("first", "x", 64), ("second", "y", 32), ("second", "y", 32)]


def test_an_image_of_whose_categories_none_is_ready_does_not_fail_the_others(
    service: Service, engine: FakeEngine
) -> None:
    engine.failing = frozenset({"blue"})
    two = (
        '<View><Image name="first" value="$a"/><Image name="second" value="$b"/>'
        '<BrushLabels name="x" toName="first"><Label value="red"/></BrushLabels>'
        '<BrushLabels name="y" toName="second"><Label value="blue"/></BrushLabels></View>'
    )
    data = {"a": "/data/upload/1/picture.png", "b": "/data/upload/1/picture.png"}
    (item,) = service.predict(PROJECT_UID, [{"id": 1, "data": data}], two)
    assert [(region["to_name"], region["from_name"]) for region in item["result"]] == [("first", "x")]
    assert item["score"] > 0 and "error" not in item and "blue (failed" in item["warning"]


def click(x: float, y: float, label: str = "red") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}
    region = {"type": "keypointlabels", "from_name": "k", "to_name": "image", "origin": "manual", "value": value}
    return {"result": [region]}


def test_a_click_is_answered_with_one_region(service: Service) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(25, 50))
    assert labels(item) == ["red"]
    assert item["result"][0]["from_name"] == "b"


@pytest.mark.parametrize("context", [{}, {"result": []}, click(50, 50), click(25, 50, label="unheard of")])
def test_a_click_on_nothing_is_answered_with_nothing(service: Service, context: dict[str, Any]) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE, context)
    assert item["result"] == []
    assert "error" not in item


def test_a_second_click_fetches_and_segments_nothing(
    service: Service, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (first,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(25, 50))
    asked = len(label_studio.requests)
    (second,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(25, 50))
    (other,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(75, 50, "blue"))
    assert (len(label_studio.requests), engine.segmented) == (asked, 1)
    assert first == second and labels(first) == ["red"] and labels(other) == ["blue"]


def test_a_click_on_a_task_that_was_just_opened_segments_nothing(service: Service, engine: FakeEngine) -> None:
    service.predict(PROJECT_UID, [task()], RED_BLUE)
    assert labels(service.predict(PROJECT_UID, [task()], RED_BLUE, click(25, 50))[0]) == ["red"]
    assert engine.segmented == 1


def test_a_click_does_not_wait_for_prototypes(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> None:
    """A click that waited would be answered after a minute, when this test has long given up."""
    patient = PredictionSettings(wait_for_prototypes_s=60.0, answer_within_s=95.0)
    service = make_app(replace(settings, prediction=patient), engine).extensions["ovdiff"]
    engine.gate = threading.Event()
    service.setup(PROJECT_UID, RED_BLUE)
    assert eventually(lambda: '"generating"' in json.dumps(service.status()))
    with ThreadPoolExecutor(1) as pool:
        try:
            asked = pool.submit(service.predict, PROJECT_UID, [task()], RED_BLUE, click(25, 50))
            (item,) = asked.result(timeout=20.0)
        finally:
            engine.gate.set()
    assert item["result"] == []
    assert item["error"] == "'red' is not ready (building: generating, 50%)."


def test_a_click_for_a_category_that_failed_says_why(service: Service, engine: FakeEngine) -> None:
    engine.failing = frozenset({"blue"})
    service.predict(PROJECT_UID, [], RED_BLUE)
    (item,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(75, 50, label="blue"))
    assert item["error"] == "'blue' is not ready (failed: No support image of 'blue' has any foreground.)."
    (other,) = service.predict(PROJECT_UID, [task()], RED_BLUE, click(25, 50))
    assert labels(other) == ["red"] and "error" not in other


def test_labels_that_change_their_order_or_colour_predict_nothing_anew(service: Service, engine: FakeEngine) -> None:
    ties = ['<Label value="first" prompts="red"/>', '<Label value="second" prompts="a red"/>', '<Label value="blue"/>']
    frame = '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">{}</BrushLabels></View>'
    before = frame.format("".join(ties))
    after = frame.format("".join(reversed(ties)).replace("<Label", '<Label background="#123456"'))
    version = wait_until_ready(service, PROJECT_UID, before)
    (item,) = service.predict(PROJECT_UID, [task()], before)
    built = list(engine.built)
    assert wait_until_ready(service, PROJECT_UID, after) == version
    (again,) = service.predict(PROJECT_UID, [task(2)], after)
    assert [region["value"] for region in again["result"]] == [region["value"] for region in item["result"]]
    assert again | {"result": []} == item | {"result": []}
    assert engine.built == built


def test_a_late_request_changes_nothing_but_its_own_answer(service: Service, engine: FakeEngine) -> None:
    wait_until_ready(service, PROJECT_UID, config("red", "blue", "green"))
    version = wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (late,) = service.predict(PROJECT_UID, [task()], config("red", "green"))
    assert labels(late) == ["red"]
    project = service.status()["projects"][PROJECT_UID]
    assert [category["name"] for category in project["categories"]] == ["red", "blue"]
    assert project["model_version"] == version != late["model_version"]
    assert engine.built == ["red", "blue", "green"]


def test_a_late_request_neither_orders_what_is_not_in_force_nor_waits_for_it(
    service: Service, engine: FakeEngine
) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    (item,) = service.predict(PROJECT_UID, [task()], config("red", "old"))
    assert "result" not in item
    assert (
        "old (unwanted: the label config in force does not have it; opening the project's page renews that)"
        in item["error"]
    )
    assert engine.built == ["red", "blue"]


def test_label_studio_decides_about_a_project_that_is_known_from_a_prediction_alone(
    service: Service, label_studio: FakeLabelStudio
) -> None:
    label_studio.label_config = config("red", "green")
    service.predict(PROJECT_UID, [], RED_BLUE)

    def names() -> list[str]:
        return [category["name"] for category in service.status()["projects"][PROJECT_UID]["categories"]]

    assert eventually(lambda: names() == ["red", "green"])


def test_a_changed_project_is_read_from_label_studio_not_from_the_event(
    service: Service, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    label_studio.label_config = config("red", "blue", "green")
    event = {"project": {"id": 1, "label_config": config("red", "blue", "forged")}}
    assert service.event("PROJECT_UPDATED", event)["status"] == "recorded"
    assert eventually(lambda: engine.built == ["red", "blue", "green"])


def test_an_unknown_project_is_not_asked_for(service: Service, label_studio: FakeLabelStudio) -> None:
    service.event("PROJECT_UPDATED", {"project": {"id": 1, "label_config": RED_BLUE}})
    assert not eventually(lambda: label_studio.requests != [], timeout_s=0.2)
    assert service.status()["projects"] == {}


def test_events_say_honestly_what_comes_of_them(service: Service) -> None:
    assert service.event("START_TRAINING", {"project": {"id": 1}})["detail"].startswith("The engine 'fake' of the")
    assert service.event("ANNOTATION_CREATED", {"annotation": {"id": 1}}) == {"status": "recorded"}


def test_status_tells_how_far_each_category_is(service: Service, engine: FakeEngine) -> None:
    engine.failing = frozenset({"blue"})
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    project = service.status()["projects"][PROJECT_UID]
    assert project["counts"] == {"ready": 1, "failed": 1}
    assert [(c["name"], c["state"]) for c in project["categories"]] == [("red", "ready"), ("blue", "failed")]
    assert "No support image" in project["categories"][1]["reason"]
    assert project["error"] is None


def test_status_says_which_words_are_doubtful_and_what_to_try(service: Service, engine: FakeEngine) -> None:
    engine.doubtful = frozenset({"blue"})
    wait_until_ready(service, PROJECT_UID, RED_BLUE)
    red, blue = service.status()["projects"][PROJECT_UID]["categories"]
    assert (red["state"], red["word"], red["agreement"], red["advice"]) == ("ready", "known", 1.0, "")
    assert (blue["state"], blue["word"], blue["agreement"]) == ("ready", "doubtful", 0.0)
    assert blue["advice"].startswith("CLIP agrees with 0 of 2 support images, and sees 'mug' in 2. Give it prompts")


def test_status_says_what_each_category_is_taken_for_and_why(service: Service) -> None:
    config = """<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">
        <Label value="red"/><Label value="blue" kind="stuff"/><Label value="unheard of"/></BrushLabels></View>"""
    service.setup(PROJECT_UID, config)
    categories = service.status()["projects"][PROJECT_UID]["categories"]
    found = {each["name"]: (each["kind"], each["kind_decided_by"]) for each in categories}
    assert found == {"red": ("thing", "table"), "blue": ("stuff", "category"), "unheard of": (None, None)}


def test_a_service_that_loads_and_builds_ends_within_the_time_that_docker_gives(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = engine.gate = threading.Event()
    monkeypatch.setattr(engine, "load_models", lambda: go_on.wait(30), raising=False)
    monkeypatch.setattr("backend.serving.service.STOP_S", 0.2)
    service = make_app(settings, engine).extensions["ovdiff"]
    service.setup(PROJECT_UID, RED_BLUE)
    assert eventually(lambda: '"generating"' in json.dumps(service.status()))
    begun_s = time.monotonic()
    service.stop()
    took_s = time.monotonic() - begun_s
    go_on.set()
    assert took_s < 10.0


def test_while_the_storage_is_away_nothing_is_an_internal_error(
    make_app: MakeApp, settings: Settings, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(settings, engine).test_client()
    known = {"project": PROJECT_UID, "schema": RED_BLUE}
    before = client.post("/setup", json=known).get_json()["model_version"]

    def away() -> str:
        raise StorageError("s3://b/bank cannot be listed: no route.", is_away=True)

    monkeypatch.setattr(engine, "fingerprint", away)
    again = client.post("/setup", json=known)
    assert again.status_code == 200 and again.get_json()["model_version"] == before, (
        "else no task is predicted any more"
    )
    assert again.get_json()["warnings"] == ["s3://b/bank cannot be listed: no route."]
    body = {"project": PROJECT_UID, "label_config": RED_BLUE, "tasks": [task(1), task(2)]}
    for context in ({}, {"params": {"context": {"result": []}}}):
        found = client.post("/predict", json=body | context).get_json()["results"]
        assert [item["error"] for item in found] == ["s3://b/bank cannot be listed: no route."] * 2
    (project,) = client.get("/status").get_json()["projects"].values()
    assert (project["error"], project["model_version"]) == ("s3://b/bank cannot be listed: no route.", None)
    unknown = client.post("/setup", json=known | {"project": "2.6"})
    assert unknown.status == "503 s3://b/bank cannot be listed: no route."
