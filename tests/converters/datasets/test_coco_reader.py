"""COCO files read back: our own, those of others, and broken ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from converters.datasets.coco import CocoOptions, records_to_coco, write_coco
from converters.datasets.coco_reader import ImagePlace, coco_categories, coco_to_records, read_coco
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import split_parts
from converters.errors import CocoError
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region

SIZE_HW = (20, 30)
TWO_PARTS = np.zeros(SIZE_HW, dtype=np.bool_)
TWO_PARTS[2:8, 3:9] = TWO_PARTS[12:18, 20:28] = True
CATEGORIES = (DatasetCategory(3, "cat"), DatasetCategory(1, "dog"))


def dataset(*annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "a.png", "height": 20, "width": 30, **image}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [{"id": n, "image_id": 9, "category_id": 3, **a} for n, a in enumerate(annotations, start=1)],
    }


def test_our_own_file_comes_back_as_it_was(tmp_path: Path) -> None:
    regions = (
        Region("a", ("cat",), "", mask_to_coco_rle(TWO_PARTS), origin="manual"),
        Region("b", ("dog", "cat"), "", mask_to_coco_rle(~TWO_PARTS)),
    )
    before = [
        ImageRecord(5, "/data/upload/1/a.png", "image", size_hw=SIZE_HW, annotations=(Annotation(None, regions),)),
        ImageRecord(6, "/data/upload/1/b.png", "image", size_hw=SIZE_HW, annotations=(Annotation(None, ()),)),
    ]
    written, _ = records_to_coco(before, CATEGORIES)
    write_coco(written, tmp_path / "coco.json")
    read = read_coco(tmp_path / "coco.json")
    assert coco_categories(read) == CATEGORIES
    assert coco_to_records(read, ImagePlace(image_root="/data/upload/1/")) == before


def test_annotations_with_scores_are_predictions() -> None:
    predicted = Prediction(1, (Region("a", ("cat",), "", mask_to_coco_rle(TWO_PARTS), score=0.7),))
    record = ImageRecord(1, "a.png", "image", size_hw=SIZE_HW, predictions=(predicted,))
    written, _ = records_to_coco([record], CATEGORIES, CocoOptions(source="predictions"))
    (found,) = coco_to_records(written)
    assert found.annotations == ()
    assert found.predictions[0].regions[0].score == 0.7


def test_parts_of_one_region_get_ids_of_their_own() -> None:
    record = ImageRecord(
        1,
        "a.png",
        "image",
        size_hw=SIZE_HW,
        annotations=(Annotation(1, (Region("r", ("cat",), "", mask_to_coco_rle(TWO_PARTS)),)),),
    )
    written, _ = records_to_coco([record], CATEGORIES, CocoOptions(split_parts=True))
    regions = coco_to_records(written)[0].annotations[0].regions
    assert [r.id for r in regions] == ["r", "r-2"]
    assert all(np.array_equal(r.mask(), m) for r, m in zip(regions, split_parts(TWO_PARTS), strict=True))


def test_polygons_and_counts_of_other_tools_are_read_as_pycocotools_reads_them() -> None:
    polygon = [[3.3, 2.1, 20.8, 5.5, 9.2, 17.9], [22.0, 1.0, 28.0, 1.0, 28.0, 6.5, 22.0, 6.5]]
    counts = {"size": [20, 30], "counts": [100, 40, 460]}
    foreign = dataset({"segmentation": polygon}, {"segmentation": counts, "iscrowd": 1})
    coco = COCO()
    coco.dataset = foreign
    coco.createIndex()
    (found,) = coco_to_records(foreign)
    for region, annotation in zip(found.annotations[0].regions, foreign["annotations"], strict=True):
        assert np.array_equal(region.mask(), coco.annToMask(annotation) > 0)


LEFT_OUT = [
    ({"segmentation": None}, "expected a segmentation as RLE or polygons, got None"),
    ({"segmentation": []}, "expected a segmentation as RLE or polygons, got []"),
    ({"segmentation": [[1, 2, 3, 4]]}, "expected polygons of 3 or more x, y pairs"),
    ({"segmentation": [[1, 2, 3, 4, 5, 1e9]]}, "within 120 pixels of the image"),
    ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "expected polygons of 3 or more x, y pairs"),
    ({"segmentation": {"size": [20, 30], "counts": [5]}}, "expected counts that sum to 600"),
    ({"segmentation": {"size": [30, 20], "counts": [600]}}, "expected a segmentation of [20, 30] (height, width)"),
    ({"segmentation": {"size": [99999, 99999], "counts": [5]}}, "expected an image of at most 600 pixels"),
    ({"segmentation": {"size": [20, 30], "counts": [600]}, "category_id": 8}, "expected the id of a category, got 8"),
]


@pytest.mark.parametrize(("annotation", "message"), LEFT_OUT)
def test_an_annotation_that_cannot_be_read_is_listed(annotation: dict[str, Any], message: str) -> None:
    (found,) = coco_to_records(dataset(annotation))
    assert found.annotations[0].regions == ()
    assert found.left_out[0].reason == "unreadable annotation"
    assert message in found.left_out[0].where


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (dataset(id="9"), "expected a whole number as id of each image, got '9'"),
        (dataset(height=None), "image 9: expected an image height of at least 1 pixel, got None"),
        (dataset({"image_id": 4}), "annotation 1: expected the id of an image, got 4"),
        (dataset({"image_id": [4]}), "annotation 1: expected the id of an image"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(CocoError, match=message):
        coco_to_records(broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, which cannot be read"),
        ("[]", "expected a list of objects under 'images'"),
        (json.dumps({"images": [], "categories": [1], "annotations": []}), "expected a list of objects under 'cat"),
        ("[" * 100_000, "expected JSON, which cannot be read"),
    ],
)
def test_a_file_that_is_no_coco_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(CocoError, match=rf"coco\.json: {message}"):
        read_coco(tmp_path / "coco.json")
