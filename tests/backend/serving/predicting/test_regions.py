import logging
from dataclasses import replace

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray

from backend.serving.predicting.regions import mask_to_regions, segmentation_to_regions
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import OutputSettings
from converters.encodings.bitmask import data_url_to_mask
from converters.encodings.brush import brush_rle_to_mask
from converters.encodings.polygons import polygons_to_mask
from ovdiff.segmentation import Segmentation
from tests.fakes.engine import SCORE

CONTROLS = ["BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"]
SETTINGS = OutputSettings()


def config(control: str) -> str:
    return (
        f'<View><Image name="image" value="$image"/><{control} name="c" toName="image">'
        f'<Label value="red"/><Label value="blue"/></{control}></View>'
    )


def labelling(control: str) -> Labelling:
    return read_labelling(config(control), max_categories=10)


def label_map() -> NDArray[np.int32]:
    """Return a (40, 60) label map: two red squares, one blue."""
    labels = np.zeros((40, 60), dtype=np.int32)
    labels[5:15, 5:15] = 1
    labels[20:30, 5:15] = 1
    labels[5:35, 30:50] = 2
    return labels


def segmentation(labels: NDArray[np.int32]) -> Segmentation:
    scores = np.full(labels.shape, SCORE, dtype=np.float32)
    return Segmentation(labels, scores, scores)


@pytest.mark.parametrize("control", CONTROLS)
def test_label_studios_validator_accepts_every_kind(control: str) -> None:
    found = segmentation_to_regions(segmentation(label_map()), labelling(control).outputs, SETTINGS, task_id=1)
    prediction = {"result": list(found.regions), "score": 0.5, "model_version": "v"}
    assert found.regions
    assert LabelInterface(config(control)).validate_prediction(prediction, return_errors=True) == []


@pytest.mark.parametrize("control", CONTROLS)
def test_each_object_is_a_region_with_its_own_pixels_score_and_id(control: str) -> None:
    labels, ids = label_map(), np.zeros((40, 60), dtype=np.int32)
    ids[5:15, 5:15], ids[20:30, 5:15] = 1, 2  # two red objects
    ids[5:35, 30:38], ids[5:35, 38:50] = 3, 4  # and two blue ones that touch
    scores = (ids / 10).astype(np.float32)
    outputs = labelling(control).outputs
    told_apart = Segmentation(labels, scores, scores, ids)
    found = segmentation_to_regions(told_apart, outputs, SETTINGS, task_id=1).regions
    assert [region["value"][outputs[0].control_kind] for region in found] == [["red"], ["red"], ["blue"], ["blue"]]
    assert [region["score"] for region in found] == [0.1, 0.2, 0.3, 0.4]
    assert len({region["id"] for region in found}) == 4
    if control == "BrushLabels":
        for number, region in enumerate(found, start=1):
            assert np.array_equal(brush_rle_to_mask(region["value"]["rle"], ids.shape), ids == number)
    prediction = {"result": list(found), "score": 0.5, "model_version": "v"}
    assert LabelInterface(config(control)).validate_prediction(prediction, return_errors=True) == []


def test_a_threshold_hides_single_objects() -> None:
    labels, ids = label_map(), np.zeros((40, 60), dtype=np.int32)
    ids[5:15, 5:15], ids[20:30, 5:15] = 1, 2
    scores = np.where(ids == 1, 0.9, 0.2).astype(np.float32)
    outputs, settings = labelling("BrushLabels").outputs, OutputSettings(min_score=0.5)
    found = segmentation_to_regions(Segmentation(labels, scores, scores, ids), outputs, settings, task_id=1)
    assert [region["score"] for region in found.regions] == [0.9]
    assert found.hidden == ("red: score 0.2, below OVDIFF_MIN_SCORE=0.5",)


def test_brushes_and_bitmasks_hold_the_exact_mask_of_a_category() -> None:
    labels = label_map()
    brushes = segmentation_to_regions(segmentation(labels), labelling("BrushLabels").outputs, SETTINGS, task_id=1)
    bitmasks = segmentation_to_regions(segmentation(labels), labelling("BitmaskLabels").outputs, SETTINGS, task_id=1)
    for index, (brush, bitmask) in enumerate(zip(brushes.regions, bitmasks.regions, strict=True)):
        assert np.array_equal(brush_rle_to_mask(brush["value"]["rle"], labels.shape), labels == index + 1)
        assert np.array_equal(data_url_to_mask(bitmask["value"]["imageDataURL"], labels.shape), labels == index + 1)
    assert [region["value"]["brushlabels"] for region in brushes.regions] == [["red"], ["blue"]]


def test_polygons_and_rectangles_are_one_a_part() -> None:
    labels = label_map()
    polygons = segmentation_to_regions(segmentation(labels), labelling("PolygonLabels").outputs, SETTINGS, task_id=1)
    points = [np.array(region["value"]["points"]) / 100 * (60, 40) for region in polygons.regions]
    assert len(points) == 3
    assert np.array_equal(polygons_to_mask(points, labels.shape), labels > 0)
    boxes = segmentation_to_regions(segmentation(labels), labelling("RectangleLabels").outputs, SETTINGS, task_id=1)
    first = boxes.regions[0]["value"]
    assert len(boxes.regions) == 3
    assert {k: first[k] for k in ("x", "y", "width", "height")} == pytest.approx(
        {"x": 100 * 5 / 60, "y": 12.5, "width": 100 * 10 / 60, "height": 25}
    )


def test_regions_say_size_score_and_label() -> None:
    region = segmentation_to_regions(
        segmentation(label_map()), labelling("BrushLabels").outputs, SETTINGS, task_id=1
    ).regions[0]
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (60, 40, 0)
    assert (region["from_name"], region["to_name"], region["type"]) == ("c", "image", "brushlabels")
    assert region["score"] == SCORE


def test_ids_are_stable_and_differ_between_tasks_and_regions() -> None:
    def ids(task_id: int) -> list[str]:
        outputs = labelling("PolygonLabels").outputs
        found = segmentation_to_regions(segmentation(label_map()), outputs, SETTINGS, task_id=task_id)
        return [region["id"] for region in found.regions]

    assert ids(1) == ids(1)
    assert len({*ids(1), *ids(2)}) == 6


def test_specks_give_no_polygon() -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[:3, :5] = True  # 15 px
    output = labelling("PolygonLabels").outputs[0]
    assert mask_to_regions(mask, output, SETTINGS, score=1.0, key=1) == []
    assert len(mask_to_regions(mask, output, replace(SETTINGS, min_part_px=15), score=1.0, key=1)) == 1


def test_an_empty_label_map_gives_no_region() -> None:
    empty = segmentation(np.zeros((4, 4), dtype=np.int32))
    assert segmentation_to_regions(empty, labelling("BrushLabels").outputs, SETTINGS, task_id=1).regions == ()


def two_scores() -> Segmentation:
    """Return the label map's segmentation with red at 0.4 and blue at 0.6."""
    labels = label_map()
    scores = np.where(labels == 1, 0.4, 0.6).astype(np.float32)
    return Segmentation(labels, scores, scores)


def limited(control: str, red: str = "", blue: str = "") -> Labelling:
    xml = config(control).replace('value="red"', f'value="red" {red}').replace('value="blue"', f'value="blue" {blue}')
    return read_labelling(xml, max_categories=10)


def words(control: str, red: str = "", blue: str = "", settings: OutputSettings = SETTINGS) -> list[str]:
    found = segmentation_to_regions(two_scores(), limited(control, red, blue).outputs, settings, task_id=1)
    return [word for region in found.regions for word in region["value"][region["type"]]]


@pytest.mark.parametrize("control", CONTROLS)
def test_regions_below_the_threshold_of_their_label_are_hidden(control: str) -> None:
    parts = 1 if control in ("BrushLabels", "BitmaskLabels") else 2
    assert words(control, 'threshold="0.4"') == ["red"] * parts + ["blue"]
    assert words(control, 'threshold="0.41"') == ["blue"]
    assert words(control, 'threshold="0.41"', 'threshold="1"') == []


def test_the_services_least_score_holds_for_labels_without_a_threshold() -> None:
    half = OutputSettings(min_score=0.5)
    assert words("BrushLabels", settings=half) == ["blue"]
    assert words("BrushLabels", 'threshold="0.3"', settings=half) == ["red", "blue"]
    assert words("BrushLabels", 'threshold="0.3"', 'threshold="0.7"', settings=half) == ["red"]


@pytest.mark.parametrize("control", CONTROLS)
def test_parts_below_the_least_area_of_their_label_are_hidden(control: str) -> None:
    labels = label_map()
    labels[0:2, 0:3] = 1  # a speck of 6 px
    scores = np.full(labels.shape, SCORE, dtype=np.float32)
    speckled = Segmentation(labels, scores, scores)
    settings = replace(SETTINGS, min_part_px=1)

    def regions(red: str) -> tuple[list[dict[str, object]], tuple[str, ...]]:
        found = segmentation_to_regions(speckled, limited(control, red).outputs, settings, task_id=1)
        return [region for region in found.regions if region["value"][region["type"]] == ["red"]], found.hidden

    without, with_limit = regions(""), regions('min_area_px="7"')
    assert (without[1], with_limit[1]) == ((), ("red: 1 parts smaller than min_area_px=7",))
    if control == "BrushLabels":
        (brush,) = with_limit[0]
        mask = brush_rle_to_mask(brush["value"]["rle"], labels.shape)  # type: ignore[index]
        assert np.array_equal(mask, label_map() == 1)
    elif control != "BitmaskLabels":
        assert (len(without[0]), len(with_limit[0])) == (3, 2)
    assert regions('min_area_px="6"')[0] == without[0]
    assert regions('min_area_px="101"') == ([], ("red: 3 parts smaller than min_area_px=101",))


def test_pixels_below_the_least_margin_of_their_label_are_in_no_region() -> None:
    labels = label_map()
    scores = np.full(labels.shape, SCORE, dtype=np.float32)
    margins = np.full(labels.shape, 0.1, dtype=np.float32)
    margins[:, :10] = 0.01
    outputs = limited("BrushLabels", 'min_margin="0.05"').outputs
    found = segmentation_to_regions(Segmentation(labels, scores, margins), outputs, SETTINGS, task_id=1)
    mask = brush_rle_to_mask(found.regions[0]["value"]["rle"], labels.shape)
    sure = (labels == 1) & (margins > 0.05)
    assert sure.any() and np.array_equal(mask, sure)
    assert found.hidden == (f"red: {np.sum(labels == 1) - np.sum(sure)} pixels with a margin below min_margin=0.05",)


def test_what_was_hidden_is_said_with_score_and_limit() -> None:
    outputs = limited("PolygonLabels", 'threshold="0.5"').outputs
    found = segmentation_to_regions(two_scores(), outputs, OutputSettings(min_score=0.7), task_id=1)
    assert found.hidden == ("red: score 0.4, below threshold=0.5", "blue: score 0.6, below OVDIFF_MIN_SCORE=0.7")
    assert found.omitted == ""


@pytest.mark.parametrize("budget", [{"max_regions": 2}, {"max_result_bytes": 600}])
def test_over_budget_the_largest_stay_and_the_log_says_so(
    budget: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    outputs = labelling("PolygonLabels").outputs
    with caplog.at_level(logging.WARNING):
        found = segmentation_to_regions(segmentation(label_map()), outputs, replace(SETTINGS, **budget), task_id=1)
    assert 0 < len(found.regions) < 3
    assert found.regions[-1]["value"]["polygonlabels"] == ["blue"]
    assert "of 3 regions left out" in found.omitted
    assert found.omitted in caplog.text


@pytest.mark.parametrize("control", ["PolygonLabels", "RectangleLabels"])
def test_over_budget_a_speck_of_a_large_category_goes_before_a_small_object(control: str) -> None:
    labels = label_map()
    labels[0:4, 0:4] = 2  # of blue, which covers more than red in all
    outputs, three = labelling(control).outputs, replace(SETTINGS, max_regions=3)
    found = segmentation_to_regions(segmentation(labels), outputs, three, task_id=1)
    words = [region["value"][region["type"]] for region in found.regions]
    assert words == [["red"], ["red"], ["blue"]]
