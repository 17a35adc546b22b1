"""ADE20K panoptic in a folder of its layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.files.class_lists import read_class_list
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.ade20k import CATEGORIES_150
from ovdiff.evaluation.datasets.ade_panoptic import ADE_PANOPTIC
from tests.ovdiff.evaluation.made import SIZE_HW, values, write_image, write_text

ROOT, IMAGES, PNGS = "ADEChallengeData2016", "images/validation", "ade20k_panoptic_val"
JSON, OBJECTS = "ade20k_panoptic_val.json", "ade20k_instance_val.json"
CLASSES, NAME, KEY, THING, STUFF = "ade20k_panoptic", "ADE_val_00000001", "ADE_val_00000001", 149, 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a dataset of one image: a thing, stuff, and pixels of which nobody says what they are."""
    root = tmp_path / ROOT
    write_image(root / f"{IMAGES}/{NAME}.jpg")
    colours = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    colours[..., 0] = values((0, 1, 2))
    (root / PNGS).mkdir(parents=True)
    Image.fromarray(colours).save(root / f"{PNGS}/{NAME}.png")
    content = {
        "images": [{"id": KEY, "file_name": f"{NAME}.jpg"}],
        "annotations": [
            {
                "image_id": KEY,
                "file_name": f"{NAME}.png",
                "segments_info": [{"id": 1, "category_id": THING}, {"id": 2, "category_id": STUFF}],
            }
        ],
        "categories": [{"id": row.value, "name": row.name} for row in read_class_list(CLASSES)],
    }
    write_text(root / JSON, json.dumps(content))
    return tmp_path


def _write_object(root: Path) -> None:
    outline = [[1, 0, 2, 0, 2, 6, 1, 6]]
    content = {**json.loads((root / JSON).read_text()), "annotations": []}
    content["annotations"] = [{"id": 1, "image_id": KEY, "category_id": THING, "segmentation": outline}]
    write_text(root / OBJECTS, json.dumps(content))


def test_the_categories_are_those_of_the_benchmark_and_100_of_them_are_things() -> None:
    assert [each.name for each in ADE_PANOPTIC.categories] == [each.name for each in CATEGORIES_150]
    kinds = [category.kind for category in ADE_PANOPTIC.categories]
    assert (kinds.count("thing"), kinds.count("stuff")) == (100, 50)


def test_numbers_of_categories_count_from_zero(folder: Path) -> None:
    label_map = ADE_PANOPTIC.open(folder).read(NAME).truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 150, 1), dtype=np.int32))


def test_objects_are_found_by_the_name_of_their_image(folder: Path) -> None:
    _write_object(folder / ROOT)
    objects = ADE_PANOPTIC.open(folder).read(NAME).truth.objects
    assert objects is not None
    assert [each.label for each in objects] == [150]


def test_the_benchmark_without_segments_is_refused(folder: Path) -> None:
    (folder / ROOT / JSON).unlink()
    with pytest.raises(
        DatasetError, match=r"ADEChallengeData2016/ade20k_panoptic_val.json nor .*prepare_ade20k_pan_seg"
    ):
        ADE_PANOPTIC.open(folder)
