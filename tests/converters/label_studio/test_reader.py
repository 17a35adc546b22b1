"""Label Studio's JSON in all its forms: what is read, what is left out and why, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.corrections.pairs import NotCompared, find_corrections
from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import mask_to_brush_rle
from converters.errors import LabelStudioFormatError
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import EVERYTHING, Wanted, read_export, tasks_to_records
from converters.records import ImageRecord

HEIGHT, WIDTH = 48, 64
CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="red disc"/><Label value="blue square" alias="sq"/>'
    '</BrushLabels><BitmaskLabels name="bitmask" toName="image"><Label value="red disc"/></BitmaskLabels>'
    '<PolygonLabels name="poly" toName="image"><Label value="red disc"/></PolygonLabels>'
    '<RectangleLabels name="box" toName="image"><Label value="red disc"/></RectangleLabels>'
    '<KeyPointLabels name="kp" toName="image"><Label value="red disc"/></KeyPointLabels></View>'
)
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
MASK[10:30, 20:50] = True
MASK[15:20, 30:40] = False  # a hole


def region(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"r-{kind}",
        "from_name": {"brushlabels": "brush", "polygonlabels": "poly", "rectanglelabels": "box"}.get(kind, kind[:7]),
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {kind: ["red disc"], **value},
        **more,
    }


def brush(rle: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return region("brushlabels", {"format": "rle", "rle": rle or mask_to_brush_rle(MASK)}, **more)


def task(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotation = {"id": 3, "completed_by": 1, "updated_at": "2026-11-20T18:42:44Z", "result": list(results)}
    return {"id": 1, "data": {"image": "/data/upload/1/a.png"}, "annotations": [annotation], **more}


def record(*tasks: Any) -> ImageRecord:
    (found,) = tasks_to_records(tasks, CONFIG)
    return found


REGIONS = (
    brush(),
    region("bitmasklabels", {"imageDataURL": mask_to_data_url(MASK)}),
    region("polygonlabels", {"points": [[25, 25], [75, 25], [75, 75]], "closed": True}),
    region("rectanglelabels", {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0}),
)


def test_regions_of_every_control_are_read() -> None:
    (annotation,) = record(task(*REGIONS)).annotations
    assert [r.labels for r in annotation.regions] == [("red disc",)] * 4
    assert [r.control for r in annotation.regions] == ["brush", "bitmask", "poly", "box"]
    assert np.array_equal(annotation.regions[0].mask(), MASK)
    assert np.array_equal(annotation.regions[1].mask(), MASK)
    assert annotation.regions[2].polygon == ((16.0, 12.0), (48.0, 12.0), (48.0, 36.0))
    assert [r.polygon for r in annotation.regions if r.control != "poly"] == [None] * 3
    assert annotation.regions[3].mask().sum() == 32 * 24


@pytest.mark.parametrize("image_rotation", [0, 90, 180, 270])
def test_a_turned_view_turns_no_coordinates(image_rotation: int) -> None:
    found = record(task(brush(image_rotation=image_rotation)))
    assert found.size_hw == (HEIGHT, WIDTH)
    assert np.array_equal(found.annotations[0].regions[0].mask(), MASK)


def test_annotations_tell_who_what_and_from_which_prediction() -> None:
    corrected = {
        **task(brush(origin="prediction-changed", score=0.9))["annotations"][0],
        "parent_prediction": 7,
        "ground_truth": True,
        "completed_by": {"id": 1, "email": "a@example.com"},
    }
    skipped = {"id": 4, "completed_by": 2, "was_cancelled": True, "result": []}
    first, second = record(task(annotations=[corrected, skipped])).annotations
    assert (first.id, first.annotator, first.parent_prediction) == (3, "a@example.com", 7)
    assert (first.ground_truth, first.skipped, first.updated_at) == (True, False, "2026-11-20T18:42:44Z")
    assert (first.regions[0].origin, first.regions[0].score) == ("prediction-changed", 0.9)
    assert (second.annotator, second.skipped, second.regions) == (2, True, ())


def test_the_prediction_that_an_annotation_keeps_a_copy_of_stands_in_for_its_bare_id() -> None:
    copy = {"id": 7, "result": [brush()], "score": 0.5, "model_version": "v1", "created_at": "2026-11-20"}
    first = {"id": 3, "result": [], "prediction": copy, "lead_time": 12.5}
    others = [{"id": 4, "result": [], "prediction": {}}, {"id": 5, "result": [], "prediction": {"result": None}}]
    found = record(task(annotations=[first, {**first, "id": 6}, *others], predictions=[7]))
    assert [(p.id, p.model_version, p.created_at, len(p.regions)) for p in found.predictions] == [
        (7, "v1", "2026-11-20", 1)
    ]
    assert [a.lead_time_s for a in found.annotations] == [12.5, 12.5, None, None]
    assert len(record(task(annotations=[first], predictions=[{**copy, "id": 7}])).predictions) == 1


def test_predictions_have_scores_and_versions_and_bare_ids_hold_nothing() -> None:
    prediction = {"id": 5, "score": 0.7, "model_version": "v1", "result": [brush(score=0.8)]}
    (found,) = record(task(predictions=[prediction, 6])).predictions
    assert (found.id, found.score, found.model_version) == (5, 0.7, "v1")
    assert found.regions[0].score == 0.8


def test_an_alias_means_its_label() -> None:
    result = brush()
    result["value"]["brushlabels"] = ["sq", "unknown word"]
    assert record(task(result)).annotations[0].regions[0].labels == ("blue square", "unknown word")


def test_a_shape_and_its_labels_may_come_as_two_results() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><Brush name="tool" toName="image"/>'
        '<Labels name="words" toName="image"><Label value="cat"/></Labels></View>'
    )
    shape = {**brush(), "from_name": "tool", "type": "brush"}
    shape["value"].pop("brushlabels")
    words = {**shape, "from_name": "words", "type": "labels", "value": {**shape["value"], "labels": ["cat"]}}
    (found,) = tasks_to_records([task(shape, words)], config)
    (only,) = found.annotations[0].regions
    assert (only.labels, only.control) == (("cat",), "tool")


def test_a_task_with_several_images_becomes_several_records() -> None:
    config = parse_label_config(
        '<View><Image name="left" value="$l"/><Image name="pages" valueList="$p"/>'
        '<RectangleLabels name="box" toName="left,pages"><Label value="x"/></RectangleLabels></View>'
    )
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    results = [
        region("rectanglelabels", box, to_name="left", id="a"),
        region("rectanglelabels", box, to_name="pages", id="b"),
        region("rectanglelabels", box, to_name="pages", id="c", item_index=1, original_width=32),
    ]
    found = list(tasks_to_records([task(*results, data={"l": "l.png", "p": ["0.png", "1.png"]})], config))
    assert [(r.image, r.image_tag, r.index) for r in found] == [
        ("l.png", "left", 0),
        ("0.png", "pages", 0),
        ("1.png", "pages", 1),
    ]
    assert [[x.id for x in r.annotations[0].regions] for r in found] == [["a"], ["b"], ["c"]]
    assert found[2].size_hw == (HEIGHT, 32)


def test_json_min_is_read() -> None:
    values = [{**brush()["value"], "original_width": WIDTH, "original_height": HEIGHT}]
    flat = {
        "id": 9,
        "image": "/data/upload/1/a.png",
        "brush": values,
        "quality": "good",
        "annotator": 1,
        "annotation_id": 3,
        "updated_at": "2026-11-20T18:42:44Z",
    }
    found = record(flat)
    assert (found.task_id, found.image, found.size_hw) == (9, "/data/upload/1/a.png", (HEIGHT, WIDTH))
    (annotation,) = found.annotations
    assert (annotation.id, annotation.annotator) == (3, 1)
    assert np.array_equal(annotation.regions[0].mask(), MASK)
    assert annotation.regions[0].labels == ("red disc",)
    assert record({"id": 9, "image": "a.png", "annotation_id": None}).annotations == ()


LEFT_OUT = [
    (brush(rle=[1, 2]), "unreadable region", "expected a header of 7 bytes, got 2"),
    (brush(original_width=32), "unreadable region", "for an image of another size"),
    (brush(original_width=None), "unreadable region", "expected an image width of at least 1 pixel, got None"),
    (brush(original_width=10**6, original_height=10**6), "unreadable region", "at most 100000000 pixels"),
    (region("rectanglelabels", {"x": 200, "y": 0, "width": 1, "height": 1}), "region without a pixel", "region 'r-"),
    (region("keypointlabels", {"x": 1, "y": 1, "width": 1}), "keypointlabels has no area", "task 1, annotation 3"),
    ({"type": "relation", "from_id": "a", "to_id": "b"}, "relation on no image of the task", "task 1"),
    (brush(to_name="other"), "brushlabels on no image of the task", "task 1, annotation 3"),
    (brush(item_index=4), "brushlabels on no image of the task", "task 1"),
    ("junk", "a result that is no object on no image of the task", "task 1"),
]


@pytest.mark.parametrize(("result", "reason", "where"), LEFT_OUT)
def test_what_cannot_be_read_is_listed_and_stops_nothing(result: Any, reason: str, where: str) -> None:
    good = region("rectanglelabels", {"x": 0, "y": 0, "width": 50, "height": 50}, id="good")
    found = record(task(result, good))
    assert [r.id for r in found.annotations[0].regions] == ["good"]
    (item,) = found.left_out
    assert item.reason == reason
    assert where in item.where


@pytest.mark.parametrize(
    ("result", "lost"),
    [
        (region("rectanglelabels", {"x": 1, "y": 1, "width": 0, "height": 0}), 1),
        (region("rectanglelabels", {"x": "a"}), 1),
        (region("keypointlabels", {"x": 1, "y": 1, "width": 1}), 1),
        (region("keypointlabels", {"x": 1, "y": 1, "width": 1}, parentID="gone"), 1),
        (region("choices", {"choices": ["empty"]}), 0),
        (region("textarea", {"text": ["nothing here"]}), 0),
    ],
)
def test_marks_that_are_left_out_are_counted_as_lost_regions_and_answers_are_not(result: Any, lost: int) -> None:
    found = record(task(result))
    assert (found.annotations[0].regions, len(found.left_out)) == ((), 1)
    assert found.annotations[0].lost_regions == lost


def test_regions_that_disagree_on_the_size_are_listed() -> None:
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    other = region("rectanglelabels", box, id="other", original_width=HEIGHT, original_height=WIDTH)
    found = record(task(brush(), other))
    assert found.size_hw == (HEIGHT, WIDTH)
    assert "expected an image of 64x48 as its other regions say, got 48x64" in found.left_out[0].where


UNREADABLE = [
    (7, "task 0: expected an object, got int"),
    ({"id": 5}, "task 5: expected 'data' with ['image'] (or a JSON_MIN task with these keys), got the keys ['id']"),
    ({"id": 5, "data": {"img": "a"}}, "task 5: expected the address of the image 'image' in data.image, got None"),
    ({"id": 5, "data": {"image": ""}}, "got ''"),
    ({"id": 5, "data": {"image": []}}, "got []"),
    ({"id": 5, "data": {"image": "a"}, "annotations": {}}, "task 5: expected annotations to be a list, got dict"),
    ({"id": 5, "data": {"image": "a"}, "annotations": "x"}, "task 5: expected annotations to be a list, got str"),
    (
        task(annotations=[{"id": 3, "result": None}]),
        "task 1, annotation 3: expected 'result' to be a list, got NoneType",
    ),
    (task(annotations=[{"id": 3}]), "task 1, annotation 3: expected 'result' to be a list, got NoneType"),
    (task(predictions=[{"result": "x"}]), "task 1, prediction None: expected 'result' to be a list, got str"),
]


@pytest.mark.parametrize(("broken", "where"), UNREADABLE)
def test_a_broken_task_is_listed_and_does_not_stop_the_others(broken: Any, where: str) -> None:
    first, second = tasks_to_records([broken, {**task(brush()), "id": 2}], CONFIG)
    (item,) = first.left_out
    assert where in item.where
    assert item.reason in ("unreadable task", "image without an address", "unreadable annotations", "unreadable result")
    assert [len(annotation.regions) for annotation in second.annotations] == [1]


def test_what_is_broken_in_a_task_leaves_the_rest_of_it() -> None:
    good = task(brush())["annotations"]
    null = {"id": 4, "result": None}
    found = record({**task(), "annotations": [null, *good], "predictions": {"a": 1}})
    assert [annotation.id for annotation in found.annotations] == [3]
    assert [item.reason for item in found.left_out] == ["unreadable result", "unreadable annotations"]
    assert found.image == "/data/upload/1/a.png"


def test_an_image_without_an_address_leaves_the_others_of_its_task() -> None:
    config = parse_label_config(
        '<View><Image name="left" value="$l"/><Image name="right" value="$r"/>'
        '<RectangleLabels name="box" toName="left,right"><Label value="x"/></RectangleLabels></View>'
    )
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    results = [region("rectanglelabels", box, to_name=name, id=name) for name in ("left", "right")]
    (found,) = tasks_to_records([task(*results, data={"r": "r.png"})], config)
    assert (found.image, [r.id for r in found.annotations[0].regions]) == ("r.png", ["right"])
    reasons = [item.reason for item in found.left_out]
    assert reasons == ["image without an address", "rectanglelabels on no image of the task"]


def test_a_task_that_cannot_be_read_has_a_record_without_an_image() -> None:
    found = record({"id": [1], "data": {}})
    assert (found.task_id, found.image, found.image_tag) == (None, "", "image")


def test_numbers_and_names_that_are_none_are_unknown() -> None:
    odd = {
        "id": {},
        "result": [brush(origin=[1], score="x")],
        "completed_by": [],
        "parent_prediction": {},
        "updated_at": [],
    }
    found = record({**task(), "id": True, "annotations": [odd]})
    (annotation,) = found.annotations
    assert (found.task_id, annotation.id, annotation.annotator, annotation.parent_prediction) == (None,) * 4
    assert (annotation.regions[0].origin, annotation.regions[0].score) == (None, None)


def test_a_config_without_an_image_is_refused() -> None:
    with pytest.raises(LabelStudioFormatError, match="expected a label config with an <Image>"):
        list(tasks_to_records([], parse_label_config("<View/>")))


def test_an_export_file_is_read_task_by_task(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(brush()), {**task(), "id": 2}]))
    first, second = read_export(path, CONFIG)
    assert (first.task_id, second.task_id) == (1, 2)
    assert second.size_hw is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_damaged_regions_are_read_or_listed_but_never_crash(data: st.DataObject) -> None:
    result = data.draw(st.sampled_from(REGIONS))
    key = data.draw(st.sampled_from(sorted(result)))
    damaged = {**result, key: data.draw(json_values)}
    if isinstance(result[key], dict):
        inner = data.draw(st.sampled_from(sorted(result[key])))
        damaged[key] = {**result[key], inner: data.draw(json_values)}
    found = record(task(damaged))
    assert len(found.annotations[0].regions) + len(found.left_out) == 1


@given(json_values)
def test_what_is_no_task_is_listed_but_never_stops_the_export(junk: Any) -> None:
    for broken in (junk, {"data": junk}, {"data": {"image": junk}}, task(annotations=[junk]), task(annotations=junk)):
        *first, last = tasks_to_records([broken, {**task(brush()), "id": "last"}], CONFIG)
        assert first
        assert all(found.image or found.left_out for found in first)
        assert (last.task_id, len(last.annotations)) == ("last", 1)


def test_two_shapes_with_one_id_are_two_regions() -> None:
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    first, second = region("rectanglelabels", box), region("rectanglelabels", {**box, "x": 25})
    regions = record(task(first, second, first)).annotations[0].regions
    assert [r.id for r in regions] == ["r-rectanglelabels"] * 2
    assert regions[0].rle != regions[1].rle


@pytest.mark.parametrize(
    ("person", "read"),
    [
        ({"completed_by": {"id": 3, "email": "ann@x"}}, "ann@x"),
        ({"completed_by": 3}, 3),
        ({"completed_by": 3, "created_username": " Ann Other ann@x, 3"}, "Ann Other ann@x"),
        ({"completed_by": 4, "created_username": "Ann ann@x, 3"}, 4),  # made by one person, completed by another
        ({"completed_by": 3, "created_username": ", 3"}, 3),
        ({"completed_by": None, "created_username": None}, None),
    ],
)
def test_a_person_has_the_name_that_the_export_gives(person: dict[str, Any], read: object) -> None:
    task = {"id": 1, "project": 9, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": [], **person}]}
    config = parse_label_config('<View><Image name="image" value="$image"/></View>')
    (record,) = tasks_to_records([task], config)
    assert (record.annotations[0].annotator, record.project) == (read, 9)


# ---------------------------------------------------------------- what nobody asks for

DAMAGED = brush([1, 2, 3], id="damaged")
STRAY = brush(to_name="other")


def guess(number: int, *results: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "model_version": "v1", "result": list(results), **more}


def wanted_record(wanted: Wanted, **more: Any) -> ImageRecord:
    (found,) = tasks_to_records([{"id": 1, "data": {"image": "a.png"}, **more}], CONFIG, wanted=wanted)
    return found


def test_predictions_that_nobody_wants_are_not_decoded_and_their_faults_do_not_count() -> None:
    predictions = [guess(5, brush(), DAMAGED, STRAY), {"id": 6, "result": None}]
    found = wanted_record(Wanted("all", "none"), annotations=[{"id": 3, "result": [brush()]}], predictions=predictions)
    assert (len(found.annotations[0].regions), found.left_out) == (1, ())
    assert [(p.id, p.model_version, p.regions) for p in found.predictions] == [(5, "v1", ())]
    assert len(wanted_record(EVERYTHING, annotations=[], predictions=predictions).left_out) == 3


def test_of_several_predictions_the_newest_alone_is_decoded() -> None:
    old, new = guess(5, DAMAGED, created_at="2026-01-01"), guess(6, brush(), created_at="2026-02-01")
    found = wanted_record(
        Wanted("none", "newest"), annotations=[{"id": 3, "result": [DAMAGED]}], predictions=[new, old]
    )
    assert ([len(p.regions) for p in found.predictions], found.left_out) == ([1, 0], ())
    copied = {"id": 3, "result": [], "prediction": new}  # as Label Studio keeps a copy of the prediction
    assert [len(p.regions) for p in wanted_record(Wanted("none", "newest"), annotations=[copied]).predictions] == [1]


def test_of_several_annotations_the_preferred_one_alone_is_decoded() -> None:
    old, new = ({"id": n, "result": r, "updated_at": f"2026-0{n}-01"} for n, r in ((3, [DAMAGED]), (4, [brush()])))
    found = wanted_record(Wanted("preferred", "none"), annotations=[old, new])
    assert ([len(a.regions) for a in found.annotations], found.left_out) == ([0, 1], ())
    skipped = wanted_record(Wanted("preferred", "none"), annotations=[{**new, "was_cancelled": True}])
    assert ([len(a.regions) for a in skipped.annotations], skipped.size_hw) == ([0], (HEIGHT, WIDTH))


def test_an_image_without_a_wanted_region_has_the_size_of_another_region_that_can_be_read() -> None:
    empty = [{"id": 3, "result": []}]
    found = wanted_record(Wanted("all", "none"), annotations=empty, predictions=[guess(5, DAMAGED, brush())])
    assert (found.size_hw, found.left_out) == ((HEIGHT, WIDTH), ())
    assert wanted_record(Wanted("all", "none"), annotations=empty, predictions=[guess(5, DAMAGED)]).size_hw is None


def test_a_size_that_an_annotation_states_does_not_make_predictions_unreadable() -> None:
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    wrong = region("rectanglelabels", box, original_width=7, original_height=5)
    found = wanted_record(EVERYTHING, annotations=[{"id": 3, "result": [wrong]}], predictions=[guess(5, brush())])
    assert (len(found.annotations[0].regions), len(found.predictions[0].regions), found.left_out) == (1, 1, ())
    (item,) = find_corrections(found, unlinked=True)
    assert isinstance(item, NotCompared)
    assert (item.reason, item.is_loss) == ("prediction that states another image size", True)


def test_a_region_with_another_size_than_most_is_left_out_wherever_it_stands() -> None:
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    wrong = region("rectanglelabels", box, id="wrong", original_width=7, original_height=5)
    found = record(task(wrong, brush(id="a"), brush(id="b")))
    assert [r.id for r in found.annotations[0].regions] == ["a", "b"]
    assert [item.where.partition(": ")[0] for item in found.left_out] == ["task 1, annotation 3, region 'wrong'"]
