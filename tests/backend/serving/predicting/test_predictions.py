import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from backend.serving.model_version import failed_version
from backend.serving.predicting.predictions import Item, Predictor, Snapshot, failed_item
from backend.serving.vocabulary import read_labelling
from backend.settings import OutputSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.errors import DeviceMemoryError
from ovdiff.vocabulary import Category
from tests.fakes.engine import SCORE, FakeEngine
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue

RED, BLUE = Category("red"), Category("blue")
BRUSHES = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>'
)
RECTANGLES = BRUSHES.replace("BrushLabels", "RectangleLabels")
TWO_IMAGES = (
    '<View><Image name="first" value="$a"/><Image name="second" value="$b"/>'
    '<BrushLabels name="x" toName="first"><Label value="red"/></BrushLabels>'
    '<BrushLabels name="y" toName="second"><Label value="blue"/></BrushLabels></View>'
)
PICTURE = "/data/upload/1/picture.png"
TASK = {"id": 1, "data": {"image": PICTURE}}
VERSION = "ovdiff-test+1"
START_S, DEADLINE_S = 100.0, 120.0


@pytest.fixture
def predictor(settings: Settings, engine: FakeEngine) -> Predictor:
    """A predictor whose engine has prototypes of red and blue, and whose clock stands still at START_S."""
    for category in (RED, BLUE):
        engine.build(category)
    fetcher = Fetcher(LabelStudioClient(settings.label_studio), settings.images)
    return Predictor(engine, ImageSource(fetcher), settings.output, clock_s=lambda: START_S)


def snapshot(
    config: str = BRUSHES, *, ready: tuple[Category, ...] = (RED, BLUE), waiting: Mapping[Category, str] | None = None
) -> Snapshot:
    labelling = read_labelling(config, max_categories=10)
    return Snapshot(labelling, dict.fromkeys(ready, "key"), waiting or {}, VERSION, DEADLINE_S)


def labels(item: Item) -> list[str]:
    return [label for region in item["result"] for label in region["value"][region["type"]]]


def click(x: float, y: float, *, label: str = "red", image: str = "image") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}
    return {"result": [{"type": "keypointlabels", "from_name": "k", "to_name": image, "value": value}]}


def assert_failed(item: Item, reason: str) -> None:
    """An item that Label Studio stores under another version than the one in force, so that it asks again."""
    assert item == {"result": [], "score": 0.0, "model_version": failed_version(VERSION), "error": item["error"]}
    assert reason in item["error"]


def test_a_prediction_has_its_regions_score_and_version_and_nothing_else(predictor: Predictor) -> None:
    item = predictor.predict(TASK, snapshot())
    assert set(item) == {"result", "score", "model_version"}
    assert labels(item) == ["red", "blue"]
    assert item["score"] == 0.375  # the fake is sure of a quarter of the pixels: 0.75, and 0.25 of the others
    assert item["model_version"] == VERSION
    assert [region["original_width"] for region in item["result"]] == [64, 64]


def test_the_score_is_the_mean_over_the_images_of_a_task(predictor: Predictor, label_studio: FakeLabelStudio) -> None:
    grey = red_and_blue()
    grey[:] = 120
    label_studio.files["/data/upload/1/empty.png"] = ("image/png", encoded(grey))
    task = {"id": 1, "data": {"a": PICTURE, "b": "/data/upload/1/empty.png"}}
    alone = predictor.predict({"id": 1, "data": {"a": PICTURE}}, snapshot(TWO_IMAGES, ready=(RED,)))
    item = predictor.predict(task, snapshot(TWO_IMAGES))
    assert [(region["to_name"], region["from_name"]) for region in item["result"]] == [("first", "x")]
    assert item["score"] == pytest.approx((alone["score"] + 0.25) / 2, abs=1e-4)
    assert alone["score"] > 0.3


def test_regions_beyond_the_budget_are_a_warning(predictor: Predictor) -> None:
    strict = replace(predictor, output=OutputSettings(max_regions=1))
    item = strict.predict(TASK, snapshot(RECTANGLES))
    assert len(item["result"]) == 1
    assert "1 of 2 regions left out" in item["warning"] and "error" not in item


def test_categories_that_are_not_ready_are_a_warning_that_lists_those_of_the_same_status_together(
    predictor: Predictor,
) -> None:
    waiting = {BLUE: "queued", Category("green"): "failed: no foreground", Category("white"): "queued"}
    item = predictor.predict(TASK, snapshot(ready=(RED,), waiting=waiting))
    assert labels(item) == ["red"] and item["model_version"] == VERSION
    assert item["warning"] == "not ready, so not looked for: blue, white (queued); green (failed: no foreground)"


def test_without_any_ready_category_nothing_is_fetched(predictor: Predictor, label_studio: FakeLabelStudio) -> None:
    item = predictor.predict(TASK, snapshot(ready=(), waiting={RED: "queued", BLUE: "queued"}))
    error = "No category is ready yet: red, blue (queued)."
    assert item == {"result": [], "score": 0.0, "model_version": VERSION, "error": error}
    assert label_studio.requests == []


@pytest.mark.parametrize(("now_s", "is_begun"), [(DEADLINE_S, True), (DEADLINE_S + 0.1, False)])
def test_no_task_is_begun_after_the_deadline(
    predictor: Predictor, label_studio: FakeLabelStudio, now_s: float, is_begun: bool
) -> None:
    item = replace(predictor, clock_s=lambda: now_s).predict(TASK, snapshot())
    assert bool(label_studio.requests) == is_begun
    if not is_begun:  # without a result: Label Studio does not store the item, and asks for the task again
        assert item == {"model_version": VERSION, "error": "No time was left in this request; ask again."}


def test_a_click_has_its_answer_also_after_the_deadline(predictor: Predictor) -> None:
    late = replace(predictor, clock_s=lambda: DEADLINE_S + 1)
    assert labels(late.answer(TASK, click(25, 50), snapshot())) == ["red"]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"id": 1}, "The task has no data."),
        ({"id": 1, "data": [PICTURE]}, "The task has no data."),
        ({"id": 1, "data": {"image": [PICTURE, PICTURE]}}, "The task's data has a list of images for 'image'"),
        ({"id": 1, "data": {"image": 7}}, "The task's data has 7 for 'image'"),
        ({"id": 1, "data": {"image": ""}}, "The task's data has '' for 'image'"),
        ({"id": 1, "data": {"picture": PICTURE}}, "has None for 'image', expected the address of an image, as <Image"),
        ({"id": 1, "data": {"picture": PICTURE}}, "Its keys: ['picture']."),
        ({"id": 1, "data": {"image": "/data/upload/1/no-such.png"}}, "answered 404"),
        ({"id": 1, "data": {"image": "http://elsewhere.test/a.png"}}, "is on elsewhere.test"),
        ({"id": 1, "data": {"image": "s3://bucket/a.png"}}, "s3://bucket/a.png"),
    ],
)
def test_a_task_whose_image_cannot_be_had_says_why(predictor: Predictor, task: dict[str, Any], reason: str) -> None:
    if "s3:" in reason:
        task = task | {"id": "no number"}  # without the id of a task no link to the cloud can be asked for
    assert_failed(predictor.predict(task, snapshot()), reason)
    assert_failed(predictor.answer(task, click(25, 50), snapshot()), reason)


def test_an_error_of_the_method_is_the_reason_of_its_task_alone(predictor: Predictor, engine: FakeEngine) -> None:
    def refuse() -> None:
        raise DeviceMemoryError("Not even one window fits.")

    engine.on_segment = refuse
    assert_failed(predictor.predict(TASK, snapshot()), "Not even one window fits.")
    engine.on_segment = lambda: None
    assert labels(predictor.predict(TASK, snapshot())) == ["red", "blue"]


def test_an_unexpected_error_is_logged_with_its_traceback_and_tells_the_client_only_its_kind(
    predictor: Predictor, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble() -> None:
        raise ZeroDivisionError("a secret of the service")

    engine.on_segment = stumble
    for item in (predictor.predict(TASK, snapshot()), predictor.answer(TASK, click(25, 50), snapshot())):
        assert_failed(item, "Unexpected ZeroDivisionError; the service's log has the details.")
        assert "secret" not in item["error"]
    assert caplog.text.count("\nZeroDivisionError: a secret of the service") == 2
    assert "Task 1 failed unexpectedly." in caplog.messages


def test_a_click_is_answered_with_the_part_under_it(predictor: Predictor) -> None:
    item = predictor.answer(TASK, click(25, 50), snapshot())
    assert set(item) == {"result", "score", "model_version"}
    assert labels(item) == ["red"] and item["score"] == SCORE


def test_another_click_makes_another_region(predictor: Predictor) -> None:
    first, again, other = (predictor.answer(TASK, click(x, 50), snapshot()) for x in (25, 25, 26))
    ids = [item["result"][0]["id"] for item in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    "context",
    [
        {},  # nothing was drawn
        click(50, 50),  # the background
        click(25, 50, label="purple"),  # no label of the config
        click(25, 50, image="another"),  # no image of the config
    ],
)
def test_a_click_on_nothing_is_an_empty_prediction(predictor: Predictor, context: dict[str, Any]) -> None:
    expected = {"result": [], "score": 0.0, "model_version": VERSION}
    assert predictor.answer(TASK, context, snapshot()) == expected


def test_a_click_for_a_category_that_is_not_ready_says_so_and_fetches_nothing(
    predictor: Predictor, label_studio: FakeLabelStudio, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "backend.serving.predicting.predictions"):
        item = predictor.answer(TASK, click(75, 50, label="blue"), snapshot(ready=(RED,), waiting={BLUE: "queued"}))
    assert item == {"result": [], "score": 0.0, "model_version": VERSION, "error": "'blue' is not ready (queued)."}
    assert label_studio.requests == []
    assert caplog.messages == ["Task 1: asked for a mask, but 'blue' is not ready (queued)."]


def test_a_prompt_that_cannot_be_read_is_a_failed_item(predictor: Predictor) -> None:
    assert_failed(predictor.answer(TASK, {"result": "drawn"}, snapshot()), "context.result is no list of regions")


def test_a_failed_item_carries_another_version_than_the_one_in_force() -> None:
    item = failed_item(VERSION, "no vocabulary")
    assert_failed(item, "no vocabulary")
    assert item["model_version"] != VERSION
