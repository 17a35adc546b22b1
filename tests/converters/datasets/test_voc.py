"""VOC's XML as supervision and the devkit read it: whole pixels from 1, the last one included."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import numpy as np
import pytest
from PIL import Image

from converters.datasets.voc import box_of, write_voc
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import OutputError, VOCError
from converters.records import Annotation, DatasetCategory, ImageRecord, Region
from converters.selection import ConversionCounts, Selection

SIZE_HW = (20, 30)
CATEGORIES = (DatasetCategory(7, "cat"), DatasetCategory(1, "<dog>"))
BOX, ELL = np.zeros(SIZE_HW, dtype=np.bool_), np.zeros(SIZE_HW, dtype=np.bool_)
BOX[2:8, 3:9] = True
ELL[12:20, 20:22] = ELL[18:20, 20:30] = True


def region(mask: np.ndarray, *labels: str, **more: Any) -> Region:
    return Region("r", labels or ("cat",), "brush", mask_to_coco_rle(mask), **more)


def record(*regions: Region, name: str = "deep/a.png", task_id: int = 1) -> ImageRecord:
    return ImageRecord(task_id, name, "image", size_hw=SIZE_HW, annotations=(Annotation(1, regions),))


def written(folder: Path, *records: ImageRecord, **more: Any) -> ConversionCounts:
    return write_voc(records, CATEGORIES, folder / "voc", Selection(image_root=""), **more)


def objects(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for found in parse(path).getroot().iter("object"):
        edges = (found.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
        yield found.findtext("name") or "", tuple(map(int, edges))  # type: ignore[arg-type]


def test_each_region_is_a_box_and_shapes_are_counted(tmp_path: Path) -> None:
    counts = written(tmp_path, record(region(BOX), region(ELL, "<dog>")), record(name="b.png", task_id=2))
    path = tmp_path / "voc/Annotations/deep/a.xml"
    assert list(objects(path)) == [("cat", (4, 3, 9, 8)), ("<dog>", (21, 13, 30, 20))]
    root = parse(path).getroot()
    assert [root.findtext(key) for key in ("filename", "size/width", "size/height", "size/depth", "segmented")] == [
        "deep/a.png", "30", "20", "3", "0",
    ]  # fmt: skip
    assert list(objects(tmp_path / "voc/Annotations/b.xml")) == []
    assert (tmp_path / "voc/ImageSets/Main/trainval.txt").read_text() == "deep/a\nb\n"
    assert (counts.images_out, counts.regions_out, counts.left_out) == (2, 2, {})
    assert counts.notes == {"shapes written as their boxes": 1}


def test_a_drawn_box_covers_every_pixel_it_touches_and_stays_in_the_image() -> None:
    drawn = region(BOX, box_xywh=(3.2, 2.5, 5.1, 4.5))
    assert box_of(drawn) == (4, 3, 9, 7)
    assert box_of(region(BOX, box_xywh=(-1.5, -0.2, 40.0, 30.0))) == (1, 1, 30, 20)
    assert box_of(region(np.ones(SIZE_HW, dtype=np.bool_))) == (1, 1, 30, 20)


def test_a_box_that_comes_back_from_percent_is_no_pixel_larger() -> None:
    below, above = 99.99999999999999, 6.000000000000001  # of 100 px in 1920, and of 1 + 5 px in 480
    large = region(np.ones((480, 1920), dtype=np.bool_), box_xywh=(below, 1.0, 20.0, above - 1))
    assert box_of(large) == (101, 2, 120, 6)


def test_images_are_copied_beside(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    Image.new("RGB", SIZE_HW[::-1]).save(tmp_path / "in/deep/a.png")
    counts = written(tmp_path, record(region(BOX)), record(name="gone.png", task_id=2), image_folder=tmp_path / "in")
    assert (tmp_path / "voc/JPEGImages/deep/a.png").is_file()
    assert counts.left_out == {"image file that is not in the folder": 1}


def test_what_xml_cannot_hold_is_left_out_or_refused(tmp_path: Path) -> None:
    strange = [record(name=name, task_id=2) for name in ("b\x01.png", "c%0Ad.png", "e.png%0A")]
    counts = written(tmp_path, record(region(BOX)), *strange)
    assert counts.left_out == {"image name that XML or a line of trainval.txt cannot hold": 3}
    assert (tmp_path / "voc/ImageSets/Main/trainval.txt").read_text().count("\n") == 1
    with pytest.raises(VOCError, match=re.escape(r"expected names of categories that XML can hold, got 'a\x02'")):
        write_voc([], (DatasetCategory(1, "a\x02"),), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_an_image_there_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(
        VOCError, match=r"expected at least one image for .*voc, got none: image without annotations \(1"
    ):
        written(tmp_path, ImageRecord(1, "a.png", "image", size_hw=SIZE_HW))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/mine").touch()
    with pytest.raises(OutputError, match="an empty folder"):
        written(tmp_path, record(region(BOX)))
