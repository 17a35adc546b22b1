"""COCO files as records: our own, those of others, and those with a bad row."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.datasets.coco import CocoOptions, records_to_coco, write_coco
from converters.datasets.coco_index import coco_categories, read_coco
from converters.datasets.coco_reader import ImagePlace, coco_to_records
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import split_parts
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region
from converters.selection import UNKNOWN_SIZE

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


def test_one_bad_row_is_one_counted_row() -> None:
    good = dataset({"bbox": [1, 2, 3, 4]})
    broken = {
        "images": [*good["images"], {"id": 9, "file_name": "twice.png"}, {"file_name": "none.png"}],
        "categories": [*good["categories"], {"id": 4}, {"id": 3, "name": "cow"}, {"id": None, "name": "owl"}],
        "annotations": [*good["annotations"], {"id": 2, "image_id": 4}, {"id": 3, "image_id": [4]}],
    }
    (sound,), (found,) = coco_to_records(good), coco_to_records(broken)
    assert found.annotations == sound.annotations
    assert Counter(item.reason for item in found.left_out) == {
        "category without a name that a label can have": 1,
        "category with the id of another": 1,
        "category without a whole number as its id": 1,
        "image with the id of another": 1,
        "image without an id": 1,
        "annotation of an image that the file does not list": 2,
    }
    assert found.left_out[-1].where == "annotation 3: image [4]"


def test_rows_without_an_image_are_counted_even_if_there_is_none() -> None:
    (found,) = coco_to_records({**dataset({"bbox": [1, 2, 3, 4]}), "images": []})
    assert (found.image, len(found.left_out)) == ("", 1)


SIZES = [(None, 30), (20, 0), (0, 0), (20, -1), (20, "30x"), (20.5, 30)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_size_that_is_missing_is_that_of_the_file(height: Any, width: Any) -> None:
    broken = dataset({"bbox": [1, 2, 3, 4]}, height=height, width=width)
    (found,) = coco_to_records(broken)
    assert (found.image, found.size_hw, found.annotations) == ("a.png", None, ())
    assert [item.reason for item in found.left_out] == [UNKNOWN_SIZE]
    (sized,) = coco_to_records(broken, size_of={"a.png": SIZE_HW}.get)
    assert (sized.size_hw, len(sized.annotations[0].regions), sized.left_out) == (SIZE_HW, 1, ())


def test_an_image_without_a_region_needs_no_size() -> None:
    (found,) = coco_to_records(dataset(height=None))
    assert (found.annotations, found.left_out) == ((Annotation(None, ()),), ())


def test_ids_of_other_writers_are_the_same_ids() -> None:
    good = dataset({"bbox": [1, 2, 3, 4]})
    (sound,) = coco_to_records(good)
    for one, three in ((1.0, 3.0), ("1", "3")):
        other = {
            "images": [{**good["images"][0], "id": one}],
            "categories": [{"id": three, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": three, "bbox": [1, 2, 3, 4]}],
        }
        (found,) = coco_to_records(other)
        assert (found.annotations, found.left_out, found.task_id) == (sound.annotations, (), 1)
    (named,) = coco_to_records({**good, "images": [{**good["images"][0], "id": "a"}],
                                "annotations": [{**good["annotations"][0], "image_id": "a"}]})  # fmt: skip
    assert (named.annotations, named.task_id) == (sound.annotations, "a")
