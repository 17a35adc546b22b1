"""Crowds, answers and keypoints of regions: to results of Label Studio and back, and what a config cannot hold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.label_studio.config_for import Extras, label_config_for
from converters.label_studio.label_config import LabelConfig, parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.label_studio.region_details import answer_value, unheld_details
from converters.label_studio.tasks import records_to_tasks
from converters.records import Annotation, DatasetCategory, ImageRecord, Keypoint, Region

SIZE_HW = (20, 30)
MASK = np.zeros(SIZE_HW, dtype=np.bool_)
MASK[2:9, 3:12] = MASK[12:15, 20:25] = True
POINTS = ("nose", "left eye")
CATEGORIES = (DatasetCategory(1, "cat", keypoints=POINTS), DatasetCategory(2, "dog"))
EXTRAS = Extras(crowds=True, hidden=True, answers=("state", "remark"))
REGION = Region("r", ("cat",), "label", mask_to_coco_rle(MASK), origin="manual")


def config(kind: str = "BrushLabels", extras: Extras = EXTRAS) -> LabelConfig:
    return parse_label_config(label_config_for(CATEGORIES, kind, extras=extras))


def there_and_back(region: Region, config: LabelConfig) -> tuple[list[dict[str, Any]], ImageRecord]:
    record = ImageRecord(1, "/a.png", "image", size_hw=SIZE_HW, annotations=(Annotation(1, (region,)),))
    (task,) = records_to_tasks([record], config)
    (back,) = tasks_to_records([task], config)
    return task["annotations"][0]["result"], back


points = st.builds(
    Keypoint, st.sampled_from(POINTS), st.floats(0, 30), st.floats(0, 20), is_hidden=st.booleans()
)  # fmt: skip
texts = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple)


@given(
    st.booleans(),
    st.lists(points, max_size=2, unique_by=lambda point: point.name),
    st.dictionaries(st.sampled_from(["state", "remark", "note"]), texts),
)
def test_details_survive(crowd: bool, drawn: list[Keypoint], answers: dict[str, tuple[str, ...]]) -> None:
    before = replace(REGION, is_crowd=crowd, answers=answers)
    _, record = there_and_back(replace(before, keypoints=tuple(drawn)), config())
    (back,) = record.annotations[0].regions
    assert replace(back, keypoints=()) == before
    assert record.left_out == ()
    for point, original in zip(back.keypoints, drawn, strict=True):
        assert (point.name, point.is_hidden) == (original.name, original.is_hidden)
        assert (point.x, point.y) == pytest.approx((original.x, original.y), abs=1e-9)


def test_the_results_are_those_of_label_studio() -> None:
    region = replace(REGION, is_crowd=True, keypoints=(Keypoint("nose", 15, 5, is_hidden=True),), score=0.5)
    (shape, crowd, point, hidden), _ = there_and_back(region, config())
    assert {result["id"] for result in (shape, crowd)} == {"r"}
    assert (crowd["type"], crowd["from_name"], crowd["value"]) == ("choices", "iscrowd", {"choices": ["crowd"]})
    assert "score" not in crowd and shape["score"] == 0.5
    assert (point["type"], point["parentID"], point["from_name"]) == ("keypointlabels", "r", "keypoints-1")
    assert point["value"] == {"x": 50, "y": 25, "width": 0.5, "keypointlabels": ["nose"]}
    assert (hidden["id"], hidden["value"]) == (point["id"], {"choices": ["hidden"]})


def test_the_parts_of_a_polygon_share_answers_and_the_first_has_the_points() -> None:
    region = replace(REGION, is_crowd=True, keypoints=(Keypoint("nose", 15, 5),))
    _, record = there_and_back(region, config("PolygonLabels"))
    assert [(part.is_crowd, len(part.keypoints)) for part in record.annotations[0].regions] == [(True, 1), (True, 0)]


def test_what_a_config_has_no_control_for_is_named() -> None:
    keypoints = (Keypoint("nose", 1, 1), Keypoint("tail", 1, 1))
    region = replace(REGION, is_crowd=True, keypoints=keypoints, answers={"state": ("wet",), "note": ("x",)})
    assert list(unheld_details(region, config(extras=Extras()))) == ["iscrowd", "answer to 'state'", "keypoint"]
    assert list(unheld_details(region, config())) == ["keypoint"]


@pytest.mark.parametrize("name", ["iscrowd", "point-hidden"])
def test_an_answer_called_like_a_control_of_ours_is_named_and_makes_no_crowd(name: str) -> None:
    asked = replace(REGION, answers={name: ("crowd",), "state": ("wet",)})
    assert list(unheld_details(asked, config())) == [f"answer to {name!r}"]
    _, record = there_and_back(asked, config())
    assert record.annotations[0].regions == (replace(asked, answers={"state": ("wet",)}),)


def test_the_answers_of_other_controls_are_read() -> None:
    xml = label_config_for(CATEGORIES).replace(
        "</View>",
        '<Choices name="c" toName="image" perRegion="true"><Choice value="a"/></Choices>'
        '<Rating name="r" toName="image" perRegion="true"/><Number name="n" toName="image" perRegion="true"/>'
        '<Taxonomy name="t" toName="image" perRegion="true"><Choice value="x"/></Taxonomy></View>',
    )
    answers = {"c": ("a", "b"), "r": ("4",), "n": ("2.5",), "t": ("x / y", "z")}
    results, record = there_and_back(replace(REGION, answers=answers), parse_label_config(xml))
    assert [result["value"] for result in results[1:]] == [
        {"choices": ["a", "b"]},
        {"rating": 4},
        {"number": 2.5},
        {"taxonomy": [["x", "y"], ["z"]]},
    ]
    assert record.annotations[0].regions[0].answers == answers


def test_a_point_of_no_region_is_counted() -> None:
    results, _ = there_and_back(replace(REGION, keypoints=(Keypoint("nose", 15, 5),)), config())
    (record,) = tasks_to_records([{"data": {"image": "a"}, "annotations": [{"result": results[1:]}]}], config())
    assert [item.reason for item in record.left_out] == ["keypoint of no region with an area"]
    alone = {key: value for key, value in results[1].items() if key != "parentID"}
    (record,) = tasks_to_records([{"data": {"image": "a"}, "annotations": [{"result": [results[0], alone]}]}], config())
    assert [item.reason for item in record.left_out] == ["keypointlabels has no area"]


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        ("choices", "good", {"choices": ["good"]}),
        ("choices", {"choices": ["good", "sharp"]}, {"choices": ["good", "sharp"]}),
        ("textarea", ["a", "b"], {"text": ["a", "b"]}),
        ("rating", 4, {"rating": 4}),
        ("choices", None, None),
        ("choices", [], None),
        ("choices", {"text": ["x"]}, None),
        ("brushlabels", "cat", None),
    ],
)
def test_the_answers_of_json_min_are_values(kind: str, answer: Any, value: Any) -> None:
    assert answer_value(kind, answer) == value


def test_an_answer_of_json_min_is_counted_for_nobody_says_to_what_region() -> None:
    xml = label_config_for(CATEGORIES, extras=Extras(answers=("state",)))
    row = {"id": 1, "image": "a.png", "annotation_id": 2, "state": "wet", "label": []}
    (record,) = tasks_to_records([row], parse_label_config(xml))
    assert [item.reason for item in record.left_out] == ["textarea has no area"]
