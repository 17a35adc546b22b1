"""Datasets in COCO's panoptic form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from converters.files.class_lists import ListedClass
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset
from ovdiff.evaluation.folders import FilesOf
from ovdiff.evaluation.panoptic_files import MEASURES, PanopticFolder, open_panoptic
from tests.ovdiff.evaluation.made import SIZE_HW, values, write_image, write_text

CLASSES = (ListedClass(1, "cat", "thing"), ListedClass(17, "dog", "thing"), ListedClass(200, "rug", "stuff"))
WHERE = PanopticFolder("panoptic.json", (FilesOf("images", ".jpg"),), (FilesOf("segments", ".png"),), "instances.json")
CAT, CROWD, RUG = 300, 70_000, 5
SEGMENTS = [
    {"id": CAT, "category_id": 1, "iscrowd": 0},
    {"id": CROWD, "category_id": 17, "iscrowd": 1},
    {"id": RUG, "category_id": 200},
    {"id": 9, "category_id": 200, "iscrowd": 0},  # without a pixel
]
NUMBERS = values((0, CAT, CROWD, RUG), dtype=np.int64)


def _write(folder: Path, **changes: Any) -> None:
    """Write a dataset of one image; changes replace keys of its JSON."""
    write_image(folder / "images/a.jpg")
    colours = np.stack((NUMBERS % 256, NUMBERS // 256 % 256, NUMBERS // 65536), axis=-1).astype(np.uint8)
    (folder / "segments").mkdir(exist_ok=True)
    Image.fromarray(colours).save(folder / "segments/a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": SEGMENTS}],
        "categories": [{"id": row.value, "name": row.name} for row in CLASSES],
    }
    write_text(folder / "panoptic.json", json.dumps({**content, **changes}))


def _write_objects(folder: Path, *objects: dict[str, Any]) -> None:
    content = {"images": [], "categories": [], "annotations": [{"image_id": 7, "id": 1, **each} for each in objects]}
    write_text(folder / "instances.json", json.dumps(content))


def _open(folder: Path) -> Dataset:
    return open_panoptic("x", folder, WHERE, CLASSES)


def test_segments_get_their_numbers_labels_and_crowds(tmp_path: Path) -> None:
    _write(tmp_path)
    opened = _open(tmp_path)
    truth = opened.read("a").truth
    assert opened.images == ("a",)
    assert truth.segments is not None
    np.testing.assert_array_equal(truth.segments.ids, values((0, 1, 2, 3)))
    assert truth.segments.categories == (1, 2, 3, 3)
    assert truth.crowds == {2}
    np.testing.assert_array_equal(truth.label_map, values((UNKNOWN, 1, 2, 3), dtype=np.int32))


def test_without_objects_there_is_no_average_precision(tmp_path: Path) -> None:
    _write(tmp_path)
    opened = _open(tmp_path)
    assert opened.measures == MEASURES - {"instances"}
    assert opened.notes == ("instances.json is not there, so average precision is not measured.",)
    assert opened.read("a").truth.objects is None


def test_objects_are_read_from_polygons_and_both_kinds_of_run_lengths(tmp_path: Path) -> None:
    _write(tmp_path)
    mask = np.zeros(SIZE_HW, dtype=np.uint8)
    mask[2:4, 1:6] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))
    counts = [8, 2, 4, 2, 4, 2, 4, 2, 4, 2, 14]
    _write_objects(
        tmp_path,
        {"category_id": 1, "segmentation": [[1, 2, 6, 2, 6, 4, 1, 4]], "iscrowd": 0},
        {"category_id": 17, "segmentation": {"size": list(SIZE_HW), "counts": packed["counts"].decode()}},
        {"category_id": 17, "segmentation": {"size": list(SIZE_HW), "counts": counts}, "iscrowd": 1},
    )
    opened = _open(tmp_path)
    objects = opened.read("a").truth.objects
    assert opened.measures == MEASURES
    assert objects is not None
    assert [(each.label, each.is_crowd) for each in objects] == [(1, False), (2, False), (2, True)]
    for each in objects:
        np.testing.assert_array_equal(each.mask, mask.astype(bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2]], "cannot be read: "),
        ({"size": [6, 8]}, "cannot be read: KeyError"),
        ({"size": [5, 5], "counts": [25]}, "has another size"),
        (None, "cannot be read: "),
    ],
)
def test_a_damaged_object_is_named(tmp_path: Path, segmentation: Any, message: str) -> None:
    _write(tmp_path)
    _write_objects(tmp_path, {"category_id": 1, "segmentation": segmentation})
    with pytest.raises(DatasetError, match=rf"x: the object 1 of the image 'a' {message}"):
        _open(tmp_path).read("a")


def test_a_segment_that_the_json_does_not_list_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, annotations=[{"image_id": 7, "file_name": "a.png", "segments_info": SEGMENTS[1:]}])
    with pytest.raises(DatasetError, match=r"x: '.*a.png' shows the segment 300, which the JSON does not list"):
        _open(tmp_path).read("a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 1, "name": "cat"}]}, "has other categories than the 3 of this dataset"),
        ({"images": []}, r"an entry that cannot be used \(KeyError: 7\)"),
        ({"annotations": [7]}, "an entry that cannot be used"),
        ({"annotations": None}, "has no list of annotations"),
    ],
)
def test_the_json_of_another_dataset_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    _write(tmp_path, **changes)
    with pytest.raises(DatasetError, match=rf"x: .*{message}"):
        _open(tmp_path)


def test_a_json_that_ends_too_early_is_named(tmp_path: Path) -> None:
    _write(tmp_path)
    text = (tmp_path / "panoptic.json").read_text()
    write_text(tmp_path / "panoptic.json", text[: len(text) // 2])
    with pytest.raises(DatasetError, match=r"x: '.*panoptic.json' cannot be read: .*Unpack it again"):
        _open(tmp_path)


def test_pictures_that_are_missing_are_counted(tmp_path: Path) -> None:
    entries = [
        {"image_id": number, "file_name": f"{name}.png", "segments_info": []} for number, name in ((7, "a"), (8, "b"))
    ]
    _write(tmp_path, images=[{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}], annotations=entries)
    with pytest.raises(
        DatasetError, match=r"1 of 2 files are missing in '.*images'; the first is b.jpg. In other folders 1"
    ):
        _open(tmp_path)


def test_an_image_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(DatasetError, match="x: there is no image 'b'; the first is 'a'"):
        _open(tmp_path).read("b")
