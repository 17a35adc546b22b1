"""COCO instances as a Parquet table of masks, and back; pycocotools reads the masks."""

import io
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pycocotools import mask as coco_mask

from converters.datasets import rle_table
from converters.datasets.rle_table import coco_to_rle_table, read_rle_table_head, rle_table_to_coco
from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh, mask_to_coco_rle
from converters.errors import CocoError

MASK = np.zeros((4, 6), dtype=np.bool_)
MASK[1:3, 2:5] = True


def annotation(number: int, image: int, category: int, mask: Any = MASK, **more: Any) -> dict[str, Any]:
    rle = mask_to_coco_rle(mask)
    shape = {"segmentation": rle, "area": coco_rle_area(rle), "bbox": coco_rle_bbox_xywh(rle)}
    return {"id": number, "image_id": image, "category_id": category, **shape, "iscrowd": 0, **more}


DATASET = {
    "info": {"model_version": "v", "rows": {"first": 1, "last": 2}},
    "images": [
        {"id": 7, "file_name": "a.png", "width": 6, "height": 4, "row_id": "first", "carried": {"source": "ü"}},
        {"id": 9, "file_name": "b.png", "width": 6, "height": 4},
        {"id": 3, "file_name": "c.png", "width": 6, "height": 4},
    ],
    "categories": [{"id": 1, "name": "boat", "supercategory": ""}, {"id": 2, "name": "sky", "supercategory": ""}],
    "annotations": [annotation(70, 7, 2, score=0.5), annotation(71, 7, 1, ~MASK, score=0.25), annotation(30, 3, 1)],
}


def back(data: bytes) -> dict[str, Any]:
    head, images = rle_table_to_coco(io.BytesIO(data))
    found = list(images)
    annotations = [each for _, of_image in found for each in of_image]
    return {**head, "images": [image for image, _ in found], "annotations": annotations}


def test_a_dataset_survives_the_way_there_and_back() -> None:
    assert back(coco_to_rle_table(DATASET)) == DATASET


def test_a_row_is_a_mask_as_pycocotools_reads_it_and_an_image_without_masks_has_a_row() -> None:
    rows = parquet.read_table(io.BytesIO(coco_to_rle_table(DATASET))).to_pylist()
    assert [(row["image_id"], row["annotation_id"], row["category"]) for row in rows] == [
        (7, 70, "sky"), (7, 71, "boat"), (9, None, None), (3, 30, "boat")
    ]  # fmt: skip
    assert np.array_equal(coco_mask.decode({"size": rows[0]["size"], "counts": rows[0]["counts"]}), MASK)
    assert rows[0]["bbox"] == [2, 1, 3, 2] and rows[0]["area"] == 6 and rows[0]["score"] == 0.5
    assert [row["score"] for row in rows] == [0.5, 0.25, None, None]
    assert rows[0]["carried"] == '{"source": "ü"}' and {row["model_version"] for row in rows} == {"v"}


def test_the_columns_are_those_that_the_module_tells() -> None:
    table = parquet.read_schema(io.BytesIO(coco_to_rle_table(DATASET)))
    named = [line.strip().split("  ")[0] for line in (rle_table.__doc__ or "").splitlines() if line.startswith("    ")][
        1:
    ]
    assert table.names == [name.strip() for line in named for name in line.split(",")]


def test_one_dataset_has_one_form_in_bytes() -> None:
    assert coco_to_rle_table(DATASET) == coco_to_rle_table(DATASET)
    assert read_rle_table_head(io.BytesIO(coco_to_rle_table(DATASET))) == {
        "info": DATASET["info"], "categories": DATASET["categories"]
    }  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 400))
def test_any_number_of_masks_survives(counts: list[int], first: int) -> None:
    images = [{"id": first + at, "file_name": f"{at}.png", "width": 6, "height": 4} for at in range(len(counts))]
    found = [
        annotation(1000 * at + number, first + at, 1, MASK, score=number / 4)
        for at, count in enumerate(counts)
        for number in range(count)
    ]
    dataset = {**DATASET, "images": images, "annotations": found}
    assert back(coco_to_rle_table(dataset)) == dataset


def test_what_is_no_such_table_is_said() -> None:
    polygons = {**DATASET, "annotations": [{**annotation(1, 7, 1), "segmentation": [[0, 0, 1, 1, 2, 0]]}]}
    with pytest.raises(CocoError, match=r"annotation 1: expected a compressed RLE, got \[\[0, .*write the COCO file"):
        coco_to_rle_table(polygons)
    with pytest.raises(CocoError, match="expected a Parquet file of masks, and an intact one: "):
        read_rle_table_head(io.BytesIO(b"no table"))
    table = parquet.read_table(io.BytesIO(coco_to_rle_table(DATASET)))
    for changed, message in (
        (table.drop_columns(["counts", "size"]), "got one without the columns counts, size"),
        (table.replace_schema_metadata(None), "with the categories in its metadata, got none"),
    ):
        written = io.BytesIO()
        parquet.write_table(changed, written)
        with pytest.raises(CocoError, match=message):
            rle_table_to_coco(written)


def test_a_damaged_table_is_refused_and_no_mask_is_taken_for_another() -> None:
    data = coco_to_rle_table(DATASET)
    whole = back(data)
    pages = range(4, len(data) - 8 - int.from_bytes(data[-8:-4], "little"), 5)  # between the mark and the footer
    refused = 0
    for place in pages:
        damaged = bytearray(data)
        damaged[place] ^= 1
        try:
            assert back(bytes(damaged))["annotations"] == whole["annotations"]
        except CocoError:
            refused += 1
    assert refused > len(pages) / 2


def test_without_pyarrow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CocoError, match=r"expected pyarrow, .* to be installed.*: pip install '.\[ray\]'"):
        coco_to_rle_table(DATASET)
