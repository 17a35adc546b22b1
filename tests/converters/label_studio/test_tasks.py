"""Records written as Label Studio tasks: what `reader` reads back, and what label-studio-sdk accepts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.label_interface import LabelInterface

from converters.datasets.coco import records_to_coco
from converters.datasets.coco_reader import coco_to_records
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import fill_holes
from converters.errors import LabelStudioFormatError
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.label_studio.tasks import marked_as, records_to_tasks, region_to_results, write_tasks
from converters.records import Annotation, ImageRecord, LeftOut, Prediction, Region

SIZE_HW = (20, 30)
XML = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog" alias="d"/></BrushLabels>'
    '<BitmaskLabels name="bitmask" toName="image"><Label value="cat"/></BitmaskLabels>'
    '<PolygonLabels name="polygon" toName="image"><Label value="bird"/></PolygonLabels>'
    '<RectangleLabels name="rectangle" toName="image"><Label value="fish"/></RectangleLabels>'
    '<Choices name="quality" toName="image"><Choice value="good"/></Choices></View>'
)
CONFIG = parse_label_config(XML)
masks = arrays(np.bool_, SIZE_HW).filter(lambda mask: bool(mask.any()))
regions = st.builds(
    Region,
    id=st.uuids().map(str),
    labels=st.sampled_from([("cat",), ("dog",), ("cat", "dog")]),
    control=st.just("brush"),
    rle=masks.map(mask_to_coco_rle),
    score=st.none() | st.floats(0, 1),
    origin=st.sampled_from([None, "manual", "prediction-changed"]),
)
BLOB = np.hypot(*(np.indices(SIZE_HW) - np.array([10, 15])[:, None, None])) < 6


def record(*drawn: Region, **more: object) -> ImageRecord:
    return ImageRecord(1, "/a.png", "image", size_hw=SIZE_HW, annotations=(Annotation(1, drawn),), **more)  # type: ignore[arg-type]


def region(mask: np.ndarray, label: str, control: str = "") -> Region:
    return Region("r", (label,), control, mask_to_coco_rle(mask))


@given(st.lists(regions, max_size=4, unique_by=lambda r: r.id), st.booleans())
def test_brush_regions_survive_exactly(drawn: list[Region], skipped: bool) -> None:
    before = ImageRecord(
        None,
        "/a.png",
        "image",
        size_hw=SIZE_HW if drawn else None,
        annotations=(Annotation(None, tuple(drawn), skipped=skipped, ground_truth=True),),
        predictions=(Prediction(None, tuple(drawn), score=0.5, model_version="v1"),),
    )
    assert list(tasks_to_records(records_to_tasks([before], CONFIG), CONFIG)) == [before]


@given(st.lists(regions, min_size=1, max_size=4, unique_by=lambda r: r.id))
def test_regions_survive_label_studio_to_coco_to_label_studio(drawn: list[Region]) -> None:
    drawn = [Region(r.id, r.labels, "brush", r.rle, origin=r.origin) for r in drawn]
    tasks = list(records_to_tasks([record(*drawn)], CONFIG))
    dataset, counts = records_to_coco(tasks_to_records(tasks, CONFIG), categories_of(CONFIG))
    assert counts.left_out == {}
    back = list(records_to_tasks(coco_to_records(dataset), CONFIG))
    assert back[0]["annotations"][0]["result"] == tasks[0]["annotations"][0]["result"]


def test_a_region_is_written_with_its_own_control_or_the_first_that_fits() -> None:
    own, first, polygon = region(BLOB, "cat", "bitmask"), region(BLOB, "cat", "gone"), region(BLOB, "bird")
    (task,) = records_to_tasks([record(own, first, polygon)], CONFIG)
    results = task["annotations"][0]["result"]
    assert [r["from_name"] for r in results] == ["bitmask", "brush", "polygon"]
    assert [r["type"] for r in results] == ["bitmasklabels", "brushlabels", "polygonlabels"]


def test_every_kind_of_result_passes_label_studios_own_validation() -> None:
    drawn = [region(BLOB, "cat", "brush"), region(BLOB, "cat", "bitmask"), region(BLOB, "bird"), region(BLOB, "fish")]
    prediction = Prediction(None, tuple(drawn), score=0.5, model_version="v1")
    (task,) = records_to_tasks([ImageRecord(1, "/a.png", "image", predictions=(prediction,))], CONFIG)
    assert LabelInterface(XML).validate_prediction(task["predictions"][0], return_errors=True) == []


def test_an_alias_is_written_where_the_config_has_one() -> None:
    (result,) = region_to_results(region(BLOB, "dog"), CONFIG.control("brush"), "image")
    assert result["value"]["brushlabels"] == ["d"]


def test_polygons_and_boxes_cover_their_region() -> None:
    two = np.zeros(SIZE_HW, dtype=np.bool_)
    two[2:8, 3:9] = two[12:18, 20:28] = True
    results = region_to_results(region(two, "bird"), CONFIG.control("polygon"), "image")
    assert [result["id"] for result in results] == ["r-1", "r-2"]
    (found,) = tasks_to_records([{"data": {"image": "a"}, "annotations": [{"result": results}]}], CONFIG)
    drawn = [r.mask() for r in found.annotations[0].regions]
    assert np.array_equal(drawn[0] | drawn[1], fill_holes(two))
    (box,) = region_to_results(region(BLOB, "fish"), CONFIG.control("rectangle"), "image")
    (found,) = tasks_to_records([{"data": {"image": "a"}, "annotations": [{"result": [box]}]}], CONFIG)
    rows, columns = np.nonzero(BLOB)
    assert found.annotations[0].regions[0].mask().sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_the_images_of_a_task_are_joined_again() -> None:
    config = parse_label_config(
        '<View><Image name="left" value="$l"/><Image name="pages" valueList="$p"/>'
        '<BrushLabels name="brush" toName="left,pages"><Label value="cat"/></BrushLabels></View>'
    )
    cat = region(BLOB, "cat", "brush")
    before = [
        ImageRecord(5, "l.png", "left", 0, SIZE_HW, (Annotation(None, (cat,)),)),
        ImageRecord(5, "0.png", "pages", 0, None, (Annotation(None, ()),)),
        ImageRecord(5, "1.png", "pages", 1, SIZE_HW, (Annotation(None, (cat,)),)),
        ImageRecord(6, "m.png", "left", 0, None, ()),
        ImageRecord(6, "2.png", "pages", 0, None, ()),
    ]
    tasks = list(records_to_tasks(before, config))
    assert [task["data"] for task in tasks] == [
        {"l": "l.png", "p": ["0.png", "1.png"]},
        {"l": "m.png", "p": ["2.png"]},
    ]
    after = tasks_to_records([{**task, "id": n} for n, task in zip((5, 6), tasks, strict=True)], config)
    assert list(after) == before


def test_what_no_control_can_show_is_refused() -> None:
    with pytest.raises(
        LabelStudioFormatError, match=r"region 'r': expected a control of the config .* \['cow'\], got none"
    ):
        list(records_to_tasks([record(region(BLOB, "cow"))], CONFIG))
    with pytest.raises(LabelStudioFormatError, match=r"expected one of the config's images \['image'\], got 'other'"):
        list(records_to_tasks([ImageRecord(1, "a", "other")], CONFIG))
    with pytest.raises(LabelStudioFormatError, match=r"expected a control of \['bitmasklabels', .*, got 'choices'"):
        region_to_results(region(BLOB, "cat"), CONFIG.control("quality"), "image")


def test_a_box_goes_to_a_rectangle_exactly_unless_it_came_from_another_control() -> None:
    xml = XML.replace('<Label value="fish"/>', '<Label value="fish"/><Label value="cat"/>')
    config = parse_label_config(xml)
    box = (3.125, 4.0, 10.5, 7.25)
    boxed = replace(region(BLOB, "cat"), box_xywh=box)
    (task,) = records_to_tasks([record(boxed, region(BLOB, "cat"), replace(boxed, control="brush"))], config)
    results = task["annotations"][0]["result"]
    assert [result["type"] for result in results] == ["rectanglelabels", "brushlabels", "brushlabels"]
    (back,) = tasks_to_records([{"data": {"image": "/a.png"}, "annotations": [{"result": results[:1]}]}], config)
    assert back.annotations[0].regions[0].box_xywh == pytest.approx(box)


def test_two_images_of_one_number_in_one_place_are_two_tasks() -> None:
    records = [ImageRecord(1, name, "image") for name in ("/a.png", "/b.png")]
    assert [task["data"] for task in records_to_tasks(records, CONFIG)] == [{"image": "/a.png"}, {"image": "/b.png"}]


def test_what_has_no_address_makes_no_task() -> None:
    assert list(records_to_tasks([ImageRecord(1, "", "image")], CONFIG)) == []


def test_markings_become_annotations_or_predictions() -> None:
    drawn = region(BLOB, "cat")
    both = record(drawn, predictions=(Prediction(3, (drawn,), score=0.5, model_version="v1"),))
    finished = marked_as(both, "annotations")
    assert ([a.regions for a in finished.annotations], finished.predictions) == ([(drawn,)] * 2, ())
    guessed = marked_as(both, "predictions", "imported")
    assert [(p.score, p.model_version) for p in guessed.predictions] == [(0.5, "v1"), (None, "imported")]
    for nothing in (Annotation(1, (), skipped=True), Annotation(1, ())):
        empty = marked_as(ImageRecord(1, "a", "image", annotations=(nothing,)), "predictions")
        assert (empty.annotations, empty.predictions) == ((), ())


def test_a_file_of_tasks_is_counted(tmp_path: Path) -> None:
    ring = BLOB & ~np.roll(BLOB, 3, axis=1)
    ring[10, 13:18] = True
    holed = np.ones(SIZE_HW, dtype=np.bool_)
    holed[4:6, 4:6] = False
    records = [
        record(region(BLOB, "cat"), region(holed, "bird"), region(ring, "fish"), region(BLOB, "unknown")),
        ImageRecord(2, "", "image", left_out=(LeftOut("unreadable task", "task 2"),)),
    ]
    counts = write_tasks(records, CONFIG, tmp_path / "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert len(task["annotations"][0]["result"]) == 3
    assert (counts.images_in, counts.images_out, counts.regions_in, counts.regions_out) == (2, 1, 4, 3)
    assert counts.left_out == {"unreadable task": 1, "region that no control can show": 1}
    assert counts.notes == {"regions whose holes were filled": 1, "regions that became boxes": 1}
    with pytest.raises(
        LabelStudioFormatError, match=r"at least one image for tasks.json, got none: unreadable task \(1\)"
    ):
        write_tasks(records[1:], CONFIG, tmp_path / "tasks.json")
