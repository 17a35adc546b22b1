"""ADE20K panoptic in a folder of its layout."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.ade20k import CATEGORIES_150
from ovdiff.evaluation.datasets.ade_panoptic import ADE_PANOPTIC
from tests.ovdiff.evaluation.made import PanopticMade, values

ROOT, IMAGES, PNGS = "ADEChallengeData2016", "images/validation", "ade20k_panoptic_val"
JSON, OBJECTS = "ade20k_panoptic_val.json", "ade20k_instance_val.json"
CLASSES, NAME, KEY, THING, STUFF = "ade20k_panoptic", "ADE_val_00000001", "ADE_val_00000001", 149, 0


MADE = PanopticMade(ROOT, IMAGES, PNGS, JSON, OBJECTS, CLASSES, NAME, KEY, THING, STUFF)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a dataset of one image."""
    MADE.write(tmp_path)
    return tmp_path


def test_the_categories_are_those_of_the_benchmark_and_100_of_them_are_things() -> None:
    assert [each.name for each in ADE_PANOPTIC.categories] == [each.name for each in CATEGORIES_150]
    kinds = [category.kind for category in ADE_PANOPTIC.categories]
    assert (kinds.count("thing"), kinds.count("stuff")) == (100, 50)


def test_numbers_of_categories_count_from_zero(folder: Path) -> None:
    label_map = ADE_PANOPTIC.open(folder).read(NAME).truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 150, 1), dtype=np.int32))


def test_objects_are_found_by_the_name_of_their_image(folder: Path) -> None:
    MADE.write_object(folder / ROOT)
    objects = ADE_PANOPTIC.open(folder).read(NAME).truth.objects
    assert objects is not None
    assert [each.label for each in objects] == [150]


def test_the_benchmark_without_segments_is_refused(folder: Path) -> None:
    (folder / ROOT / JSON).unlink()
    with pytest.raises(
        DatasetError, match=r"ADEChallengeData2016/ade20k_panoptic_val.json nor .*prepare_ade20k_pan_seg"
    ):
        ADE_PANOPTIC.open(folder)
