"""Crowds, keypoints and attributes of COCO: through Label Studio and back, and what has no place there."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.datasets.coco import records_to_coco
from converters.datasets.coco_details import (
    UNFIT_ATTRIBUTE,
    UNFIT_KEYPOINTS,
    UNFIT_SCORE,
    UNHELD_KEYPOINT,
    UNKNOWN_KEY,
    attribute_names,
    details_of,
    score_of,
)
from converters.datasets.coco_index import coco_categories
from converters.datasets.coco_reader import coco_to_records
from converters.datasets.coco_update import update_coco
from converters.label_studio.categories import categories_of
from converters.label_studio.config_for import Extras, answer_names, label_config_for
from converters.label_studio.label_config import LabelConfig, parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.label_studio.tasks import records_to_tasks, write_tasks
from converters.records import Keypoint

NAMES = ["nose", "left eye", "tail"]
SQUARE = [[2, 2, 12, 2, 12, 9, 2, 9]]


def dataset(**annotation: Any) -> dict[str, Any]:
    base = {"id": 1, "image_id": 9, "category_id": 3, "segmentation": SQUARE, "iscrowd": 0}
    return {
        "images": [{"id": 9, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [
            {"id": 3, "name": "cat", "supercategory": "", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]},
            {"id": 1, "name": "dog", "supercategory": ""},
        ],
        "annotations": [{**base, **annotation}],
    }


def config_of(original: dict[str, Any]) -> LabelConfig:
    extras = Extras(crowds=True, hidden=True, answers=answer_names(attribute_names(original)))
    return parse_label_config(label_config_for(coco_categories(original), extras=extras))


coordinates = st.floats(0, 20).map(lambda value: round(value, 3))
triples = st.tuples(coordinates, coordinates, st.sampled_from([1, 2])) | st.just((0, 0, 0))
attributes = st.dictionaries(st.sampled_from(["state", "size", "note"]), st.text(min_size=1, max_size=4), max_size=3)


@settings(deadline=None)  # a whole file goes through Label Studio's form and back
@given(st.integers(0, 1), st.lists(triples, min_size=3, max_size=3), attributes)
def test_a_project_keeps_the_details_of_a_coco_file(
    crowd: int, drawn: list[tuple[float, float, int]], texts: dict[str, str]
) -> None:
    original = dataset(iscrowd=crowd, keypoints=[value for triple in drawn for value in triple], attributes=texts)
    config = config_of(original)
    tasks = list(records_to_tasks(coco_to_records(original), config))
    written, counts = records_to_coco(tasks_to_records(tasks, config), categories_of(config))
    (annotation,) = written["annotations"]
    assert written["categories"] == original["categories"]
    assert annotation["iscrowd"] == crowd
    assert annotation["keypoints"] == pytest.approx(original["annotations"][0]["keypoints"], abs=1.1e-3)
    assert annotation["num_keypoints"] == sum(triple[2] > 0 for triple in drawn)
    assert annotation.get("attributes", {}) == texts
    assert counts.left_out == {}
    assert update_coco(original, tasks_to_records(tasks, config), config)[0] == original


def test_corrected_details_are_written_back() -> None:
    original = dataset(keypoints=[3, 4, 2, 0, 0, 0, 5.5, 6, 1], attributes={"state": "wet"})
    config = config_of(original)
    (task,) = records_to_tasks(coco_to_records(original), config)
    results = task["annotations"][0]["result"]
    shape, state, nose = results[:3]
    state["value"] = {"text": ["dry", "clean"]}
    nose["value"]["x"] = 50.0
    crowd = {**state, "from_name": "iscrowd", "type": "choices", "value": {"choices": ["crowd"]}}
    corrected = {**task, "annotations": [{"result": [*results, crowd]}]}
    updated, counts = update_coco(original, tasks_to_records([corrected], config), config)
    assert updated["annotations"] == [
        {
            **original["annotations"][0],
            "iscrowd": 1,
            "keypoints": [15, 4, 2, 0, 0, 0, 5.5, 6, 1],
            "num_keypoints": 2,
            "attributes": {"state": ["dry", "clean"]},
        }
    ]
    assert counts.notes["annotations changed"] == 1
    assert shape["value"]["format"] == "rle"


def test_a_corrected_attribute_leaves_the_others_and_all_else_as_they_were() -> None:
    held = {"state": "wet", "occluded": False, "angle": 0.5, "ids": {"a": 1}, "gone": "x"}
    original = dataset(keypoints=[3, 4, 2, 0, 0, 0, 5.5, 6, 1], attributes=held)
    del original["annotations"][0]["iscrowd"]
    config = config_of(original)
    (task,) = records_to_tasks(coco_to_records(original), config)
    results = [result for result in task["annotations"][0]["result"] if result["from_name"] != "gone"]
    (state,) = [result for result in results if result["from_name"] == "state"]
    state["value"] = {"text": ["dry"]}
    corrected = {**task, "annotations": [{"result": results}]}
    updated, _ = update_coco(original, tasks_to_records([corrected], config), config)
    kept = {"state": "dry", "occluded": False, "angle": 0.5, "ids": {"a": 1}}
    assert updated["annotations"] == [{**original["annotations"][0], "attributes": kept}]


@pytest.mark.parametrize(
    ("control", "left_out"), [("", {UNHELD_KEYPOINT: 3}), ('keypointsOf="cat" ', {UNHELD_KEYPOINT: 1})]
)
def test_keypoints_of_no_category_are_counted(control: str, left_out: dict[str, int]) -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image"><Label value="cat"/>'
        f'</RectangleLabels><KeyPointLabels {control}name="point" toName="image"><Label value="nose"/>'
        '<Label value="tail"/></KeyPointLabels></View>'
    )
    on = {"to_name": "image", "original_width": 30, "original_height": 20}
    shape = {"x": 10, "y": 10, "width": 50, "height": 50}
    results = [
        {**on, "id": "c", "from_name": "box", "type": "rectanglelabels", "value": shape | {"rectanglelabels": ["cat"]}}
    ]
    for name in ("nose", "tail", "tail"):
        point = {"x": 20, "y": 20, "width": 1, "keypointlabels": [name]}
        results.append({**on, "parentID": "c", "from_name": "point", "type": "keypointlabels", "value": point})
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": results}]}
    written, counts = records_to_coco(tasks_to_records([task], config), categories_of(config))
    assert counts.left_out == left_out
    assert written["annotations"][0].get("num_keypoints") == (2 if control else None)


FAULTS = [
    ({"keypoints": [1, 2, 2]}, UNFIT_KEYPOINTS),
    ({"keypoints": [1, 2, "x"] * 3}, UNFIT_KEYPOINTS),
    ({"keypoints": "nose"}, UNFIT_KEYPOINTS),
    ({"category_id": 1, "keypoints": [1, 2, 2]}, UNFIT_KEYPOINTS),
    ({"attributes": {"a": {"b": 1}}}, UNFIT_ATTRIBUTE),
    ({"attributes": [{"name": "a"}]}, UNFIT_ATTRIBUTE),
    ({"caption": "a cat"}, UNKNOWN_KEY),
    ({"score": "high"}, UNFIT_SCORE),
    ({"score": "nan"}, UNFIT_SCORE),
    ({"score": [0.9]}, UNFIT_SCORE),
]


@pytest.mark.parametrize(("annotation", "reason"), FAULTS)
def test_what_a_region_cannot_hold_is_counted_and_the_region_stays(annotation: dict[str, Any], reason: str) -> None:
    (found,) = coco_to_records(dataset(**annotation))
    assert [item.reason for item in found.left_out] == [reason]
    assert found.left_out[0].where.startswith("image 9, annotation 1: ")
    assert len(found.annotations[0].regions) == 1


def test_a_score_that_is_written_as_text_is_read() -> None:
    (found,) = coco_to_records(dataset(score="0.9"))
    assert (found.left_out, found.annotations) == ((), ())
    assert found.predictions[0].regions[0].score == 0.9
    assert score_of({"score": ""}) == score_of({"score": None}) == score_of({}) == (None, None)


def test_what_the_label_config_cannot_hold_is_counted(tmp_path: Path) -> None:
    records = coco_to_records(dataset(iscrowd=1, keypoints=[3, 4, 2] * 3, attributes={"state": "wet", "label": "x"}))
    config = parse_label_config(label_config_for(coco_categories(dataset()), extras=Extras(crowds=True)))
    counts = write_tasks(records, config, tmp_path / "tasks.json")
    assert counts.left_out == {
        "answer to 'state' that no control of the label config can hold": 1,
        "answer to 'label' that no control of the label config can hold": 1,
    }
    assert (counts.regions_in, counts.regions_out) == (1, 1)


def test_attributes_of_any_kind_are_texts() -> None:
    given = {"occluded": False, "truncated": True, "angle": 0.5, "n": 0, "none": None, "many": ["a", 1], "empty": ""}
    details = details_of({"attributes": given, "ignore": 0}, [])
    assert details.answers == {"truncated": ("true",), "angle": ("0.5",), "n": ("0",), "many": ("a", "1")}
    assert details.faults == ()


@pytest.mark.parametrize(
    ("flag", "crowd"), [(0, False), (1, True), (True, True), ("1", True), ("no", False), (None, False)]
)
def test_a_crowd_is_flagged_in_any_writing(flag: Any, crowd: bool) -> None:
    assert details_of({"iscrowd": flag}, []).is_crowd == crowd


def test_hidden_points_are_those_of_visibility_one() -> None:
    found = details_of({"keypoints": [1, 2, 1, 3, 4, 2, 5, 6, 0]}, NAMES).keypoints
    assert found == (Keypoint("nose", 1, 2, is_hidden=True), Keypoint("left eye", 3, 4))


def test_broken_keypoints_of_a_category_are_counted() -> None:
    for names in (["nose", "nose"], "nose", 5, [1], {"a": 1}):
        broken = dataset()
        broken["categories"][0]["keypoints"] = names
        (found,) = coco_to_records(broken)
        assert [item.reason for item in found.left_out] == ["keypoints of a category without names of their own"]
    odd = dataset()
    odd["categories"][0]["skeleton"] = [[1, 2], [1], [0, 1], [1, 9], "x", [1, "2"]]
    assert coco_categories(odd)[0].skeleton == ((1, 2), (1, 2))
