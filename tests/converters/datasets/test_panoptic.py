"""COCO panoptic as panopticapi reads it, and back: exactly for regions that do not overlap, by the rule for others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.panoptic import (
    PanopticOptions,
    panoptic_to_records,
    read_panoptic,
    rgb_to_segment_ids,
    segment_ids_to_rgb,
    write_panoptic,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import ConverterError, OutputError, PanopticError, RecordError
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region

SIZE_HW = (8, 12)
CATEGORIES = (DatasetCategory(7, "cat"), DatasetCategory(1, "dog"), DatasetCategory(3, "sky", "stuff"))
label_maps = arrays(np.int32, SIZE_HW, elements=st.integers(0, 5))


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def region(region_id: str, label: str, mask: np.ndarray, **more: Any) -> Region:
    return Region(region_id, (label,), "", mask_to_coco_rle(mask), **more)


def record(*regions: Region, task_id: int = 1, **more: Any) -> ImageRecord:
    annotations = more.pop("annotations", (Annotation(None, regions),))
    return ImageRecord(task_id, f"{task_id}.png", "image", size_hw=SIZE_HW, annotations=annotations, **more)


def panopticapi_segments(folder: Path, number: int = 0) -> list[tuple[dict[str, Any], np.ndarray, dict[str, Any]]]:
    """Read one image as panopticapi's pq_compute does: RGB, rgb2id, then the entries of segments_info."""
    dataset = json.loads((folder / "panoptic.json").read_text())
    categories = {category["id"]: category for category in dataset["categories"]}
    annotation = dataset["annotations"][number]
    rgb = np.array(Image.open(folder / "panoptic" / annotation["file_name"]), dtype=np.uint32)
    ids = rgb[:, :, 0] + rgb[:, :, 1] * 256 + rgb[:, :, 2] * 256 * 256
    assert {info["id"] for info in annotation["segments_info"]} == set(np.unique(ids).tolist()) - {0}
    return [(info, ids == info["id"], categories[info["category_id"]]) for info in annotation["segments_info"]]


@given(st.integers(0, (1 << 24) - 1))
def test_an_id_survives_as_a_colour(number: int) -> None:
    rgb = segment_ids_to_rgb(np.array([[number]], dtype=np.int32))
    assert rgb[0, 0].tolist() == [number & 255, number >> 8 & 255, number >> 16]
    assert rgb_to_segment_ids(rgb)[0, 0] == number


@given(label_maps)
def test_regions_that_do_not_overlap_survive_exactly(
    tmp_path_factory: pytest.TempPathFactory, label_map: np.ndarray
) -> None:
    names = ["cat", "cat", "dog", "dog", "sky"]
    regions = [region(f"r{n}", names[n - 1], label_map == n) for n in range(1, 6) if (label_map == n).any()]
    before = [record(*regions), record(task_id=2)]
    folder = tmp_path_factory.mktemp("panoptic") / "out"
    counts = write_panoptic(before, CATEGORIES, folder)
    assert (counts.images_in, counts.images_out, counts.regions_in) == (2, 2, len(regions))
    assert (counts.left_out, counts.notes, counts.regions_out) == ({}, {}, len(regions))
    assert list(panoptic_to_records(*read_panoptic(folder))) == before


def test_the_files_are_what_panopticapi_reads(tmp_path: Path) -> None:
    regions = (
        region("a", "cat", box(0, 0, 4, 4)),
        region("b", "sky", box(4, 0, 8, 3), score=0.5),
        region("c", "sky", box(4, 9, 8, 12)),
    )
    counts = write_panoptic([record(*regions)], CATEGORIES, tmp_path / "out")
    (cat, cat_mask, cat_category), (sky, sky_mask, sky_category) = panopticapi_segments(tmp_path / "out")
    assert np.array_equal(cat_mask, box(0, 0, 4, 4))
    assert cat == {
        "id": 1, "category_id": 7, "area": 16, "bbox": [0, 0, 4, 4], "iscrowd": 0, "isthing": 1, "region_id": "a"
    }  # fmt: skip
    assert np.array_equal(sky_mask, box(4, 0, 8, 3) | box(4, 9, 8, 12))
    assert sky == {"id": 2, "category_id": 3, "area": 24, "bbox": [0, 4, 12, 4], "iscrowd": 0, "isthing": 0}
    assert (cat_category["name"], cat_category["isthing"]) == ("cat", 1)
    assert (sky_category["name"], sky_category["isthing"]) == ("sky", 0)
    assert all(0 <= channel <= 255 for channel in cat_category["color"])
    assert counts.notes == {"regions joined with others of their stuff category": 1}
    assert counts.left_out == {}


def test_overlaps_are_resolved_by_the_rule_and_counted(tmp_path: Path) -> None:
    predicted = Prediction(
        None,
        (
            region("low", "cat", box(0, 0, 8, 8), score=0.3),
            region("high", "dog", box(2, 2, 6, 6), score=0.9),
            region("under", "cat", box(3, 3, 5, 5), score=0.8),
        ),
    )
    counts = write_panoptic(
        [record(annotations=(), predictions=(predicted,))],
        CATEGORIES,
        tmp_path / "out",
        PanopticOptions(source="predictions"),
    )
    (low, low_mask, _), (high, high_mask, _) = panopticapi_segments(tmp_path / "out")
    assert (low["region_id"], high["region_id"]) == ("low", "high")
    assert np.array_equal(high_mask, box(2, 2, 6, 6))
    assert np.array_equal(low_mask, box(0, 0, 8, 8) & ~box(2, 2, 6, 6))
    assert counts.notes == {"pixels that several segments claimed": 16}
    assert counts.left_out == {"region of which others cover every pixel": 1}
    assert counts.details == ("region of which others cover every pixel: task 1, region 'under'",)
    (found,) = panoptic_to_records(*read_panoptic(tmp_path / "out"), ImagePlace(image_root="/data/"))
    assert (found.image, found.annotations) == ("/data/1.png", ())
    assert [r.score for r in found.predictions[0].regions] == [0.3, 0.9]


def test_stuff_may_be_named(tmp_path: Path) -> None:
    write_panoptic([record()], CATEGORIES, tmp_path / "out", PanopticOptions(stuff=frozenset({"dog"})))
    dataset, _ = read_panoptic(tmp_path / "out")
    assert [category["isthing"] for category in dataset["categories"]] == [1, 0, 0]
    with pytest.raises(RecordError, match=r"expected stuff to be among .*, got \['sea'\]"):
        write_panoptic([record()], CATEGORIES, tmp_path / "new", PanopticOptions(stuff=frozenset({"sea"})))
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over_and_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="to be a new or an empty folder, got one that holds files"):
        write_panoptic([record()], CATEGORIES, tmp_path)
    with pytest.raises(
        PanopticError, match=r"expected at least one image .*, got none: image without annotations \(1\)"
    ):
        write_panoptic([record(annotations=())], CATEGORIES, tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ---------------------------------------------------------------- broken ones


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_panoptic([record(region("a", "cat", box(0, 0, 4, 4)))], CATEGORIES, tmp_path / "out")
    return tmp_path / "out"


def changed(folder: Path, **annotation: Any) -> list[ImageRecord]:
    dataset, pngs = read_panoptic(folder)
    dataset["annotations"][0].update(annotation)
    return list(panoptic_to_records(dataset, pngs))


SEGMENT = {"id": 1, "category_id": 7}
LEFT_OUT = [
    ({"file_name": "../panoptic.json"}, "unreadable annotation", "expected the name of a PNG in panoptic"),
    ({"file_name": None}, "unreadable annotation", "expected the name of a PNG in panoptic, got None"),
    ({"file_name": "a\0"}, "unreadable annotation", "expected the name of a PNG in panoptic"),
    ({"file_name": "none.png"}, "unreadable annotation", "none.png: expected a PNG, which cannot be read"),
    ({"segments_info": None}, "unreadable annotation", "expected segments_info to be a list, got NoneType"),
    ({"segments_info": []}, "pixels of a segment that the JSON does not list", "image 1, segment 1"),
    ({"segments_info": [SEGMENT, SEGMENT]}, "segment without a pixel, or listed twice", "image 1, segment 1"),
    ({"segments_info": [SEGMENT, {**SEGMENT, "id": 9}]}, "segment without a pixel, or listed twice", "segment 9"),
    ({"segments_info": [SEGMENT, 5]}, "unreadable segment", "expected objects in segments_info, got int"),
    ({"segments_info": [SEGMENT, {"id": 0}]}, "unreadable segment", "expected a segment id from 1 to 16777215, got 0"),
    ({"segments_info": [SEGMENT, {"id": 2}]}, "unreadable segment", "segment 2: expected the id of a category"),
    ({"segments_info": [{**SEGMENT, "score": "high"}]}, "score that is no number", "segment 1: expected a score as a"),
]


@pytest.mark.parametrize(("annotation", "reason", "where"), LEFT_OUT)
def test_what_cannot_be_read_is_listed(folder: Path, annotation: dict[str, Any], reason: str, where: str) -> None:
    (found,) = changed(folder, **annotation)
    (item,) = found.left_out
    assert item.reason == reason
    assert where in item.where


@pytest.mark.parametrize(
    ("png", "message"),
    [
        (Image.new("L", (12, 8)), "expected a PNG of mode RGB, got L"),
        (Image.new("RGB", (8, 12)), "expected a PNG of 12x8 as its image, got 8x12"),
    ],
)
def test_a_png_of_another_kind_is_listed(folder: Path, png: Image.Image, message: str) -> None:
    png.save(folder / "panoptic" / "000000000001.png")
    (found,) = changed(folder)
    assert found.annotations == ()
    assert message in found.left_out[0].where


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"image_id": 4}, "annotation of an image that the file does not list"),
        ({"image_id": 1.0}, "another annotation of the same image"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted(folder: Path, broken: dict[str, Any], reason: str) -> None:
    dataset, pngs = read_panoptic(folder)
    (sound,) = panoptic_to_records(dataset, pngs)
    (found,) = panoptic_to_records({**dataset, "annotations": [*dataset["annotations"], broken]}, pngs)
    assert found.annotations == sound.annotations != ()
    assert [item.reason for item in found.left_out] == [reason]


def test_a_size_that_the_file_lacks_is_that_of_the_png(folder: Path) -> None:
    dataset, pngs = read_panoptic(folder)
    images = [{key: image[key] for key in ("id", "file_name")} for image in dataset["images"]]
    (sound,) = panoptic_to_records(dataset, pngs)
    (found,) = panoptic_to_records({**dataset, "images": images}, pngs)
    assert (found.size_hw, found.annotations, found.left_out) == (SIZE_HW, sound.annotations, ())


def test_a_dataset_without_a_category_is_refused(folder: Path) -> None:
    dataset, pngs = read_panoptic(folder)
    with pytest.raises(ConverterError, match="expected a category with an id and a name, got 1 categories: "):
        list(panoptic_to_records({**dataset, "categories": [{"id": 1, "name": ""}]}, pngs))


def test_crowds_survive(tmp_path: Path) -> None:
    regions = (
        region("a", "cat", box(0, 0, 3, 3), is_crowd=True),
        region("b", "cat", box(3, 3, 6, 6)),
        region("c", "sky", box(6, 6, 8, 8), is_crowd=True),
    )
    counts = write_panoptic([record(*regions)], CATEGORIES, tmp_path / "out")
    dataset, pngs = read_panoptic(tmp_path / "out")
    assert [s["iscrowd"] for s in dataset["annotations"][0]["segments_info"]] == [1, 0, 1]
    (found,) = panoptic_to_records(dataset, pngs)
    assert [r.is_crowd for r in found.annotations[0].regions] == [True, False, True]
    assert counts.left_out == {}


def test_an_image_that_two_tasks_show_is_written_once(tmp_path: Path) -> None:
    first, again = record(region("a", "cat", box(0, 0, 3, 3))), record(region("b", "dog", box(3, 3, 6, 6)))
    counts = write_panoptic([first, again, record(task_id=2)], CATEGORIES, tmp_path / "out")
    assert counts.left_out == {"image that an earlier task shows": 1}
    dataset, pngs = read_panoptic(tmp_path / "out")
    assert [image["file_name"] for image in dataset["images"]] == ["1.png", "2.png"]
    found, _ = panoptic_to_records(dataset, pngs)
    assert [r.id for r in found.annotations[0].regions] == ["a"]
