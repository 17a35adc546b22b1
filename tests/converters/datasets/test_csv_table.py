import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.datasets.csv_table import COLUMNS, write_csv_table
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import CSVError
from converters.records import Annotation, DatasetCategory, ImageRecord, Region

SIZE_HW = (20, 30)
CATEGORIES = (DatasetCategory(7, "cat"), DatasetCategory(1, "dog"))
BOX, ELL = np.zeros(SIZE_HW, dtype=np.bool_), np.zeros(SIZE_HW, dtype=np.bool_)
BOX[2:8, 3:9] = True
ELL[12:20, 20:22] = ELL[18:20, 20:30] = True


def region(region_id: str, mask: np.ndarray, *labels: str, **more: Any) -> Region:
    return Region(region_id, labels or ("cat",), "brush", mask_to_coco_rle(mask), **more)


def test_each_region_is_a_row_and_an_image_without_one_keeps_a_row(tmp_path: Path) -> None:
    drawn = region("c", BOX, "dog", box_xywh=(3.25, 2.0, 1 / 3, 2.0))
    regions = (region("a", BOX, score=0.5, origin="prediction"), region("=b", ELL, "cat", "dog"), drawn)
    records = [
        ImageRecord(1, "deep/a.png", "image", size_hw=SIZE_HW, annotations=(Annotation(1, regions),)),
        ImageRecord(2, "b.png", "image", size_hw=SIZE_HW, annotations=(Annotation(2, ()),)),
    ]
    counts = write_csv_table(records, CATEGORIES, tmp_path / "regions.csv")
    with (tmp_path / "regions.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == COLUMNS
    start = ["deep/a.png", "30", "20", "1"]
    assert rows == [
        [*start, "a", "cat", "7", "3", "2", "6", "6", "36", "0.5", "prediction"],
        [*start, "'=b", "cat", "7", "20", "12", "10", "8", "32", "", ""],
        [*start, "'=b", "dog", "1", "20", "12", "10", "8", "32", "", ""],
        [*start, "c", "dog", "1", "3.25", "2.0", "0.333", "2.0", "36", "", ""],
        ["b.png", "30", "20", "2", *[""] * 10],
    ]
    assert (counts.images_out, counts.regions_in, counts.regions_out) == (2, 3, 4)
    assert counts.notes == {"shapes of which only box and area were written": 2}


def test_without_an_image_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(CSVError, match=r"expected at least one image for x\.csv, got none: nothing was left out"):
        write_csv_table([], CATEGORIES, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []
