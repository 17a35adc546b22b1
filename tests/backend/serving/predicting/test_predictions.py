import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from backend.serving.predicting.predictions import Answer, Item, Predictor, Snapshot, unanswered
from backend.serving.predicting.recent import RecentSegmentations
from backend.serving.vocabulary import read_labelling
from backend.settings import OutputSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.errors import DeviceMemoryError
from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import RegionScoring
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


@pytest.fixture
def predictor(settings: Settings, engine: FakeEngine) -> Predictor:
    """A predictor whose engine has prototypes of red and blue."""
    for category in (RED, BLUE):
        engine.build(category)
    fetcher = Fetcher(LabelStudioClient(settings.label_studio), settings.images)
    return Predictor(RecentSegmentations(ImageSource(fetcher), engine, settings.prediction), settings.output)


def snapshot(
    config: str = BRUSHES,
    *,
    ready: tuple[Category, ...] = (RED, BLUE),
    pending: Mapping[Category, str] | None = None,
    failed: Mapping[Category, str] | None = None,
) -> Snapshot:
    labelling = read_labelling(config, max_categories=10)
    always_fetched, no_hurry = math.inf, math.inf
    return Snapshot(
        labelling, dict.fromkeys(ready, "key"), pending or {}, failed or {}, VERSION, always_fetched, no_hurry
    )


def labels(item: Item) -> list[str]:
    return [label for region in item["result"] for label in region["value"][region["type"]]]


def click(x: float, y: float, *, label: str = "red", image: str = "image") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}
    return {"result": [{"type": "keypointlabels", "from_name": "k", "to_name": image, "value": value}]}


def assert_failed(answer: Answer, reason: str) -> None:
    """An item without a result: Label Studio stores nothing, and asks again."""
    assert answer == Answer({"model_version": VERSION, "error": answer.item["error"]}, "failed")
    assert reason in answer.item["error"]


def assert_failed_click(answer: Answer, reason: str) -> None:
    """An item with an empty result and no score: it is shown, and never stored."""
    expected = {"result": [], "model_version": VERSION, "error": answer.item["error"]}
    assert answer == Answer(expected, "failed")
    assert reason in answer.item["error"]


def test_a_prediction_has_its_regions_score_and_version_and_nothing_else(predictor: Predictor) -> None:
    item = predictor.predict(TASK, snapshot()).item
    assert set(item) == {"result", "score", "model_version"}
    assert labels(item) == ["blue", "red"]
    assert item["score"] == 0.375  # the fake is sure of a quarter of the pixels: 0.75, and 0.25 of the others
    assert item["model_version"] == VERSION
    assert [region["original_width"] for region in item["result"]] == [64, 64]


def test_the_score_is_the_mean_over_the_images_of_a_task(predictor: Predictor, label_studio: FakeLabelStudio) -> None:
    grey = red_and_blue()
    grey[:] = 120
    label_studio.files["/data/upload/1/empty.png"] = ("image/png", encoded(grey))
    task = {"id": 1, "data": {"a": PICTURE, "b": "/data/upload/1/empty.png"}}
    alone = predictor.predict({"id": 1, "data": {"a": PICTURE}}, snapshot(TWO_IMAGES, ready=(RED,))).item
    item = predictor.predict(task, snapshot(TWO_IMAGES)).item
    assert [(region["to_name"], region["from_name"]) for region in item["result"]] == [("first", "x")]
    assert item["score"] == pytest.approx((alone["score"] + 0.25) / 2, abs=1e-4)
    assert alone["score"] > 0.3


def test_regions_beyond_the_budget_are_a_warning(predictor: Predictor) -> None:
    strict = replace(predictor, output=OutputSettings(max_regions=1))
    item = strict.predict(TASK, snapshot(RECTANGLES)).item
    assert len(item["result"]) == 1
    assert "1 of 2 regions left out" in item["warning"] and "error" not in item


def test_categories_that_failed_are_a_warning_that_lists_those_of_the_same_status_together(
    predictor: Predictor,
) -> None:
    failed = dict.fromkeys((BLUE, Category("white")), "failed: no room") | {Category("green"): "failed: no foreground"}
    answer = predictor.predict(TASK, snapshot(ready=(RED,), failed=failed))
    assert answer.kind == "answered"
    assert labels(answer.item) == ["red"] and answer.item["model_version"] == VERSION
    expected = "not ready, so not looked for: blue, white (failed: no room); green (failed: no foreground)"
    assert answer.item["warning"] == expected


@pytest.mark.parametrize("partial", [False, True])
def test_while_categories_are_pending_a_setting_decides_whether_the_ready_ones_are_stored(
    predictor: Predictor, label_studio: FakeLabelStudio, partial: bool
) -> None:
    given = snapshot(ready=(RED,), pending={BLUE: "queued"}, failed={Category("green"): "failed: no foreground"})
    answer = replace(predictor, partial=partial).predict(TASK, given)
    if partial:
        assert labels(answer.item) == ["red"]
        assert answer.item["warning"] == "not ready, so not looked for: blue (queued); green (failed: no foreground)"
    else:
        error = "Not every category is ready: blue (queued); green (failed: no foreground)."
        assert answer == Answer({"model_version": VERSION, "error": error}, "not ready")
        assert label_studio.requests == []


@pytest.mark.parametrize("partial", [False, True])
def test_without_any_ready_category_nothing_is_stored_and_nothing_is_fetched(
    predictor: Predictor, label_studio: FakeLabelStudio, partial: bool
) -> None:
    given = snapshot(ready=(), pending={RED: "queued"}, failed={BLUE: "failed: no foreground"})
    answer = replace(predictor, partial=partial).predict(TASK, given)
    error = "Not every category is ready: red (queued); blue (failed: no foreground)."
    assert answer == Answer({"model_version": VERSION, "error": error}, "not ready")
    assert label_studio.requests == []


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
    assert_failed_click(predictor.answer_click(task, click(25, 50), snapshot()), reason)


def test_an_error_of_the_method_is_the_reason_of_its_task_alone(predictor: Predictor, engine: FakeEngine) -> None:
    def refuse() -> None:
        raise DeviceMemoryError("Not even one window fits.")

    engine.on_segment = refuse
    assert_failed(predictor.predict(TASK, snapshot()), "Not even one window fits.")
    engine.on_segment = lambda: None
    assert labels(predictor.predict(TASK, snapshot()).item) == ["blue", "red"]


def test_an_unexpected_error_is_logged_with_its_traceback_and_tells_the_client_only_its_kind(
    predictor: Predictor, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble() -> None:
        raise ZeroDivisionError("a secret of the service")

    engine.on_segment = stumble
    reason = "Unexpected ZeroDivisionError; the service's log has the details."
    assert_failed(predictor.predict(TASK, snapshot()), reason)
    assert_failed_click(predictor.answer_click(TASK, click(25, 50), snapshot()), reason)
    assert caplog.text.count("\nZeroDivisionError: a secret of the service") == 2
    assert "Task 1 failed unexpectedly." in caplog.messages


def test_a_click_is_answered_with_the_part_under_it(predictor: Predictor) -> None:
    item = predictor.answer_click(TASK, click(25, 50), snapshot()).item
    assert set(item) == {"result", "score", "model_version"}
    assert labels(item) == ["red"] and item["score"] == SCORE


CALIBRATED = RegionScoring(
    ScoreSettings("calibrated", RegionScoreWeights(margin=2.0), RegionScoreWeights(-1.0)),
    ("red", "blue"),
    frozenset([1]),
)
THING, STUFF = 0.6792, 0.2689  # 1 / (1 + exp(-2 * 0.375)) and 1 / (1 + exp(1)): the fake's margin is half its score


def test_calibrated_scores_are_written_for_regions_tasks_and_clicks(predictor: Predictor, engine: FakeEngine) -> None:
    engine.scoring = CALIBRATED
    item = predictor.predict(TASK, snapshot()).item
    assert sorted(region["score"] for region in item["result"]) == [STUFF, THING]
    assert item["score"] == pytest.approx((STUFF + THING) / 2, abs=1e-4)
    again = predictor.predict(TASK, snapshot()).item  # from the segmentation that is remembered
    assert again == item and engine.segmented == 1
    clicked = predictor.answer_click(TASK, click(25, 50), snapshot()).item
    assert clicked["score"] == clicked["result"][0]["score"] == STUFF
    assert predictor.answer_click(TASK, click(75, 50), snapshot()).item["score"] == THING
    clicked = predictor.answer_click(TASK, click(25, 50, label="blue"), snapshot()).item
    assert clicked["score"] == STUFF  # the shape is red's, whatever the person calls it


def test_another_click_makes_another_region(predictor: Predictor) -> None:
    first, again, other = (predictor.answer_click(TASK, click(x, 50), snapshot()).item for x in (25, 25, 26))
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
    expected = {"result": [], "model_version": VERSION}
    assert predictor.answer_click(TASK, context, snapshot()) == Answer(expected, "answered")


@pytest.mark.parametrize("standing", ["pending", "failed"])
def test_a_click_for_a_category_that_is_not_ready_says_so_and_fetches_nothing(
    predictor: Predictor, label_studio: FakeLabelStudio, standing: str
) -> None:
    given = replace(snapshot(ready=(RED,)), **{standing: {BLUE: "queued"}})
    answer = predictor.answer_click(TASK, click(75, 50, label="blue"), given)
    error = "'blue' is not ready (queued)."
    assert answer == Answer({"result": [], "model_version": VERSION, "error": error}, "not ready")
    assert label_studio.requests == []


def test_a_click_for_a_ready_category_is_answered_though_others_are_pending(predictor: Predictor) -> None:
    given = snapshot(ready=(RED,), pending={BLUE: "queued"})
    assert labels(predictor.answer_click(TASK, click(25, 50), given).item) == ["red"]


def test_a_prompt_that_cannot_be_read_is_a_failed_click(predictor: Predictor) -> None:
    assert_failed_click(
        predictor.answer_click(TASK, {"result": "drawn"}, snapshot()), "context.result is no list of regions"
    )


def test_an_unanswered_task_has_no_result() -> None:
    assert unanswered(VERSION, "no time", "late") == Answer({"model_version": VERSION, "error": "late"}, "no time")
