"""A COCO file opened, corrected and written back: what nobody touched is what it was."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from converters.datasets.coco import CocoDataset, CocoOptions
from converters.datasets.coco_index import coco_categories, read_coco
from converters.datasets.coco_reader import ImagePlace, coco_to_records
from converters.datasets.coco_update import update_coco
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.coco_rle import coco_rle_to_mask, mask_to_coco_rle
from converters.errors import CocoError
from converters.files.output import write_json
from converters.label_studio.config_for import Extras, label_config_for
from converters.label_studio.label_config import LabelConfig, parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.label_studio.tasks import marked_as, records_to_tasks
from converters.selection import ConversionCounts

SIZE_HW = (20, 30)
ROOT = "/data/local-files/?d=pictures/"
RLE = mask_to_coco_rle(np.eye(*SIZE_HW, dtype=np.bool_))
POLYGONS = [[3.3, 2.1, 20.8, 5.5, 9.2, 17.9], [22.0, 1.0, 28.0, 1.0, 28.0, 6.5, 22.0, 6.5]]
ORIGINAL: CocoDataset = {
    "licenses": [{"id": 4, "name": "CC-BY", "url": "http://example.com"}],
    "info": {"year": 2017, "version": "1.0", "contributor": "someone"},
    "annotations": [
        {"id": 900, "image_id": 5, "category_id": 18, "segmentation": POLYGONS, "area": 123.456,
         "bbox": [3.3, 1, 25, 17], "iscrowd": 0, "attributes": {"occluded": True}},
        {"image_id": 5, "category_id": 3, "id": 17, "iscrowd": 1, "segmentation": RLE, "area": 20.0,
         "bbox": [0, 0, 20, 20]},
        {"id": 30, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0,
         "segmentation": [[1, 2, 4, 6]]},
        {"id": 2, "image_id": 9, "category_id": 18, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 32, "iscrowd": 0},
    ],
    "images": [
        {"id": 9, "file_name": "train/a b%20c.jpg", "width": 30, "height": 20, "license": 4, "coco_url": "http://x/9"},
        {"id": 5, "file_name": "train/5.jpg", "width": 30, "height": 20, "license": 4, "date_captured": "2013"},
        {"id": 6, "file_name": "train/6.jpg", "width": 30, "height": 20},
    ],
    "categories": [
        {"supercategory": "animal", "id": 18, "name": "dog", "keypoints": ["nose"]},
        {"supercategory": "vehicle", "id": 3, "name": "car"},
    ],
}  # fmt: skip


def config_of(dataset: CocoDataset, kind: str = "BrushLabels") -> LabelConfig:
    return parse_label_config(label_config_for(coco_categories(dataset), kind))


def opened(dataset: CocoDataset, config: LabelConfig) -> list[dict[str, Any]]:
    """Return the tasks that Label Studio would be given; as an export they are what it gives back."""
    return list(records_to_tasks(coco_to_records(dataset, ImagePlace(ROOT)), config))


def closed(
    dataset: CocoDataset, tasks: list[dict[str, Any]], config: LabelConfig, **options: Any
) -> tuple[CocoDataset, ConversionCounts]:
    before = copy.deepcopy(dataset)
    options = {"image_root": ROOT, **options}
    updated = update_coco(dataset, tasks_to_records(tasks, config), config, CocoOptions(**options))
    assert dataset == before  # never modified
    return updated


def by_id(dataset: CocoDataset) -> dict[int, dict[str, Any]]:
    return {annotation["id"]: annotation for annotation in dataset["annotations"]}


def task_of(tasks: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(task for task in tasks if task["data"]["image"].endswith(name))


def result(region_id: str, mask: np.ndarray, label: str = "car") -> dict[str, Any]:
    return {
        "id": region_id, "from_name": "label", "to_name": "image", "type": "brushlabels", "original_width": 30,
        "original_height": 20, "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [label]},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"])
def test_what_nobody_touched_stays_byte_for_byte(tmp_path: Path, kind: str) -> None:
    write_json(ORIGINAL, tmp_path / "original.json")
    config = config_of(ORIGINAL, kind)
    updated, counts = closed(read_coco(tmp_path / "original.json"), opened(ORIGINAL, config), config)
    write_json(updated, tmp_path / "updated.json")
    assert (tmp_path / "updated.json").read_bytes() == (tmp_path / "original.json").read_bytes()
    assert counts.left_out == {}
    assert (counts.images_in, counts.images_out, counts.regions_out) == (3, 3, 4)
    assert counts.notes == {
        "annotations that stay as they were": 3, "annotations that could not be shown and stay as they were": 1
    }  # fmt: skip


def test_one_changed_mask_changes_one_annotation() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[2:10, 4:8] = True
    task = task_of(tasks, "5.jpg")
    (changed,) = [r for r in task["annotations"][0]["result"] if r["id"] == "900"]
    changed["value"]["rle"] = mask_to_brush_rle(mask)
    updated, counts = closed(ORIGINAL, tasks, config)
    new = {"segmentation": mask_to_coco_rle(mask), "area": 32, "bbox": [4, 2, 4, 8]}
    assert by_id(updated) == {**by_id(ORIGINAL), 900: {**by_id(ORIGINAL)[900], **new}}
    assert [a["id"] for a in updated["annotations"]] == [900, 17, 30, 2]
    assert {key: updated[key] for key in updated if key != "annotations"} == {
        key: ORIGINAL[key] for key in ORIGINAL if key != "annotations"
    }
    assert counts.notes["annotations changed"] == 1


def test_another_label_changes_the_category_alone() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    for changed in task_of(tasks, "5.jpg")["annotations"][0]["result"]:
        changed["value"]["brushlabels"] = ["car"]
    updated, _ = closed(ORIGINAL, tasks, config)
    assert by_id(updated) == {**by_id(ORIGINAL), 900: {**by_id(ORIGINAL)[900], "category_id": 3}}


def test_regions_are_removed_and_added() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[0, 0] = True
    task_of(tasks, "5.jpg")["annotations"][0]["result"] = [result("new", mask)]
    task_of(tasks, "6.jpg")["annotations"][0]["result"] = [result("newer", ~mask, "dog")]
    updated, counts = closed(ORIGINAL, tasks, config)
    assert [a["id"] for a in updated["annotations"]] == [30, 2, 901, 902]
    assert by_id(updated)[901] == {
        "id": 901, "image_id": 5, "category_id": 3, "segmentation": mask_to_coco_rle(mask), "area": 1,
        "bbox": [0, 0, 1, 1], "iscrowd": 0,
    }  # fmt: skip
    assert (by_id(updated)[902]["image_id"], by_id(updated)[902]["category_id"]) == (6, 18)
    assert (counts.notes["annotations removed"], counts.notes["annotations added"]) == (2, 2)


def test_a_new_label_becomes_a_new_category() -> None:
    config = parse_label_config(
        label_config_for((*coco_categories(ORIGINAL),)).replace("</Brush", '<Label value="cat"/></Brush')
    )
    tasks = opened(ORIGINAL, config)
    task_of(tasks, "6.jpg")["annotations"][0]["result"] = [result("new", np.ones(SIZE_HW, dtype=np.bool_), "cat")]
    updated, counts = closed(ORIGINAL, tasks, config)
    assert updated["categories"][:2] == ORIGINAL["categories"]
    assert updated["categories"][2] == {"id": 1, "name": "cat", "supercategory": ""}
    assert by_id(updated)[901]["category_id"] == 1
    assert counts.notes["categories added"] == 1


def test_a_region_with_two_labels_takes_the_annotations_it_has_and_makes_the_rest() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    task_of(tasks, "c.jpg")["annotations"][0]["result"][0]["value"]["brushlabels"] = ["dog", "car"]
    updated, _ = closed(ORIGINAL, tasks, config)
    assert by_id(updated)[2] == by_id(ORIGINAL)[2]
    assert by_id(updated)[901]["category_id"] == 3
    shown = coco_to_records(ORIGINAL)[0].annotations[0].regions[0]
    assert np.array_equal(coco_rle_to_mask(by_id(updated)[901]["segmentation"]), shown.mask())


def test_images_that_are_not_in_the_export_or_not_annotated_stay_as_they_were() -> None:
    config = config_of(ORIGINAL)
    kept, skipped, _ = opened(ORIGINAL, config)
    skipped["annotations"][0] |= {"was_cancelled": True, "result": []}
    updated, counts = closed(ORIGINAL, [kept, skipped], config)
    assert updated == ORIGINAL
    assert counts.left_out == {"skipped by the annotator": 1}
    assert counts.notes["images of the COCO file that stay as they were"] == 2


@pytest.mark.parametrize("damaged", [("900",), ("900", "17")])
def test_what_cannot_be_read_was_not_removed_by_a_person(damaged: tuple[str, ...]) -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    for region in task_of(tasks, "5.jpg")["annotations"][0]["result"]:
        if region["id"] in damaged:
            region["value"]["rle"] = [1, 2, 3]
    updated, counts = closed(ORIGINAL, tasks, config)
    assert updated == ORIGINAL
    assert counts.left_out["unreadable region"] == len(damaged)


def test_predictions_that_were_accepted_stay_as_they_were() -> None:
    config = config_of(ORIGINAL)
    records = [marked_as(record, "predictions") for record in coco_to_records(ORIGINAL, ImagePlace(ROOT))]
    tasks = list(records_to_tasks(records, config))
    for task in tasks:
        shown = [result for prediction in task["predictions"] for result in prediction["result"]]
        accepted = [{**result, "origin": "prediction"} for result in shown]
        task["annotations"] = [{"result": accepted, "parent_prediction": 1}]
    assert closed(ORIGINAL, tasks, config)[0] == ORIGINAL


def test_strange_images_are_left_out_with_the_reason() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    twice = copy.deepcopy(tasks[1])
    other = copy.deepcopy(tasks[1])
    other["data"]["image"] = ROOT + "train/other.jpg"
    elsewhere = copy.deepcopy(tasks[1])
    elsewhere["data"]["image"] = "s3://elsewhere.jpg"
    turned = copy.deepcopy(tasks[0])
    turned["annotations"][0]["result"] = [
        {**result("x", np.ones((30, 20), dtype=np.bool_)), "original_width": 20, "original_height": 30}
    ]
    updated, counts = closed(ORIGINAL, [turned, tasks[1], twice, other, elsewhere], config)
    assert updated == ORIGINAL
    assert counts.left_out == {
        "image of another size than in the COCO file": 1,
        "image that was in the export before": 1,
        "image that is not in the COCO file (or under another image root)": 1,
        "image address that gives no file name": 1,
    }


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_a_label_that_was_renamed_after_the_import_changes_the_category_alone(kind: str) -> None:
    tasks = json.loads(json.dumps(opened(ORIGINAL, config_of(ORIGINAL, kind))).replace('["car"]', '["auto"]'))
    renamed = parse_label_config(label_config_for(coco_categories(ORIGINAL), kind).replace('"car"', '"auto"'))
    updated, counts = closed(ORIGINAL, tasks, renamed)
    assert updated["categories"][2:] == [{"id": 19, "name": "auto", "supercategory": ""}]
    assert by_id(updated) == {**by_id(ORIGINAL), 17: {**by_id(ORIGINAL)[17], "category_id": 19}}
    assert "annotations added" not in counts.notes


def test_a_control_that_was_added_after_the_import_changes_nothing() -> None:
    tasks = opened(ORIGINAL, config_of(ORIGINAL))
    xml = label_config_for(coco_categories(ORIGINAL))
    brush = xml[xml.index("  <BrushLabels") : xml.index("  <KeyPointLabels")]
    polygon = brush.replace("BrushLabels", "PolygonLabels").replace('name="label"', 'name="polygon"')
    assert closed(ORIGINAL, tasks, parse_label_config(xml.replace(brush, polygon + brush)))[0] == ORIGINAL


def test_regions_that_came_back_without_their_ids_replace_nothing() -> None:
    config = config_of(ORIGINAL)
    tasks = opened(ORIGINAL, config)
    for found in task_of(tasks, "5.jpg")["annotations"][0]["result"]:
        del found["id"]  # as JSON_MIN gives it
    updated, counts = closed(ORIGINAL, tasks, config)
    assert updated == ORIGINAL
    assert counts.left_out == {
        "image whose regions have no ids to find annotations by: export JSON, not JSON_MIN": 1
    }  # fmt: skip


def test_a_name_that_is_no_address_stops_nothing() -> None:
    odd = {**ORIGINAL, "images": [*ORIGINAL["images"], {"id": 7, "file_name": "http://[::1/a.png"}]}
    config = config_of(ORIGINAL)
    assert closed(odd, opened(ORIGINAL, config), config)[0] == odd


def test_contradictions_are_refused() -> None:
    with pytest.raises(CocoError, match="expected one annotation an image to write back, got every_annotator"):
        closed(ORIGINAL, [], config_of(ORIGINAL), every_annotator=True)
    with pytest.raises(CocoError, match="expected whole regions to write back, got split_parts"):
        closed(ORIGINAL, [], config_of(ORIGINAL), split_parts=True)
    with pytest.raises(CocoError, match="expected whole regions to write back, got split_parts or min_area_px"):
        closed(ORIGINAL, [], config_of(ORIGINAL), min_area_px=9)


def test_images_of_one_name_stay_as_they_were() -> None:
    config = config_of(ORIGINAL)
    twice = {**ORIGINAL, "images": [*ORIGINAL["images"], {"id": 1, "file_name": "train/5.jpg"}, {"id": 10}]}
    tasks = opened(ORIGINAL, config)
    updated, counts = closed(twice, [tasks[1]], config)
    assert updated == twice
    assert counts.left_out == {"image that is not in the COCO file (or under another image root)": 1}


def test_rows_that_cannot_be_used_and_odd_ids_stay_as_they_are() -> None:
    orphan = {"id": 77, "image_id": 1234, "category_id": 3, "segmentation": RLE}
    nameless, again = {"id": 19}, {"id": 20, "name": "dog"}
    odd = {
        **ORIGINAL,
        "annotations": [*({**a, "image_id": float(a["image_id"]), "category_id": str(a["category_id"])}
                          for a in ORIGINAL["annotations"]), {**ORIGINAL["annotations"][3], "id": 3, "category_id": 20},
                        orphan],
        "categories": [*ORIGINAL["categories"], nameless, again],
    }  # fmt: skip
    config = config_of(odd)
    tasks = opened(odd, config)
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[2:10, 4:8] = True
    task_of(tasks, "5.jpg")["annotations"][0]["result"].append(result("new", mask))
    updated, counts = closed(odd, tasks, config)
    *same, new = updated["annotations"]
    assert (same, updated["categories"]) == (odd["annotations"], odd["categories"])
    assert (new["id"], new["image_id"], new["category_id"]) == (901, 5, 3)
    assert counts.left_out == {}


def test_a_box_alone_stays_a_box_and_takes_over_the_box_that_was_drawn() -> None:
    boxes = [
        {"id": n, "image_id": 6, "category_id": 3, "bbox": [1.5 + n, 2, 3, 4.25], "area": 12, "segmentation": []}
        for n in (1, 2)
    ]
    dataset = {**ORIGINAL, "annotations": boxes}
    config = parse_label_config(label_config_for(coco_categories(dataset), extras=Extras(boxes=True)))
    tasks = opened(dataset, config)
    assert closed(dataset, tasks, config)[0] == dataset
    (first, _) = task_of(tasks, "6.jpg")["annotations"][0]["result"]
    assert first["type"] == "rectanglelabels"
    first["value"]["width"] = 20.0
    updated, _ = closed(dataset, tasks, config)
    assert updated["annotations"] == [{**boxes[0], "bbox": [2.5, 2, 6, 4.25], "area": 25.5}, boxes[1]]


def test_images_whose_names_come_back_in_the_same_words_are_not_confused() -> None:
    names = ("http://a/5.jpg?v=1", "http://a/5.jpg?v=2")
    images = [{**ORIGINAL["images"][n], "file_name": name} for n, name in enumerate(names)]
    twins = {**ORIGINAL, "images": images}
    config = config_of(twins)
    tasks = list(records_to_tasks(coco_to_records(twins), config))
    updated, counts = closed(twins, tasks, config, image_root="")
    assert updated == twins
    assert counts.left_out == {"image that is not in the COCO file (or under another image root)": 2}


masks = arrays(np.bool_, (8, 9)).filter(lambda mask: bool(mask.any()))


@given(
    st.lists(st.tuples(masks, st.sampled_from([18, 3])), max_size=4), st.sampled_from(["BrushLabels", "PolygonLabels"])
)
@settings(deadline=None)
def test_any_masks_come_back_as_they_were(drawn: list[tuple[np.ndarray, int]], kind: str) -> None:
    annotations = [
        {"id": 10 * n, "image_id": 5, "category_id": category, "segmentation": mask_to_coco_rle(mask), "note": n}
        for n, (mask, category) in enumerate(drawn, start=1)
    ]
    images = [{"id": 5, "file_name": "5.jpg", "width": 9, "height": 8}]
    dataset = {**ORIGINAL, "images": images, "annotations": annotations}
    config = config_of(dataset, kind)
    exported = json.loads(json.dumps(opened(dataset, config)))
    assert closed(dataset, exported, config)[0] == dataset
