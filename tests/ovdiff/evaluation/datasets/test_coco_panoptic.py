"""COCO panoptic in folders of its layouts."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.coco_panoptic import COCO_PANOPTIC
from tests.ovdiff.evaluation.made import PanopticMade, values, write_text

ROOT, IMAGES, PNGS = "coco", "val2017", "annotations/panoptic_val2017"
JSON, OBJECTS = "annotations/panoptic_val2017.json", "annotations/instances_val2017.json"
CLASSES, NAME, KEY, THING, STUFF = "coco_panoptic", "000000000139", 139, 90, 92


MADE = PanopticMade(ROOT, IMAGES, PNGS, JSON, OBJECTS, CLASSES, NAME, KEY, THING, STUFF)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a dataset of one image."""
    MADE.write(tmp_path)
    return tmp_path


def test_there_are_80_things_and_53_kinds_of_stuff() -> None:
    kinds = [category.kind for category in COCO_PANOPTIC.categories]
    assert (len(kinds), kinds.count("thing"), kinds.count("stuff")) == (133, 80, 53)
    last = COCO_PANOPTIC.categories[-1]
    assert (last.name, last.phrases) == ("rug-merged", ("rug",))


def test_gaps_between_the_numbers_of_categories_are_closed(folder: Path) -> None:
    label_map = COCO_PANOPTIC.open(folder).read(NAME).truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 80, 81), dtype=np.int32))


def test_objects_are_read_where_there_are_some(folder: Path) -> None:
    assert "instances" not in COCO_PANOPTIC.open(folder / "coco").measures
    MADE.write_object(folder / "coco")
    opened = COCO_PANOPTIC.open(folder)
    assert opened.measures == COCO_PANOPTIC.measures
    objects = opened.read(NAME).truth.objects
    assert objects is not None
    assert [(each.label, each.mask.sum()) for each in objects] == [(80, 6)]


def test_the_segments_may_lie_beside_the_images(folder: Path) -> None:
    (folder / "coco" / PNGS).rename(folder / "coco/panoptic_val2017")
    assert COCO_PANOPTIC.open(folder).read(NAME).truth.segments is not None


def test_an_archive_within_the_archive_that_was_not_unpacked_is_told(folder: Path) -> None:
    (folder / "coco" / PNGS).rename(folder / "elsewhere")
    write_text(folder / "coco/annotations/panoptic_val2017.zip", "")
    with pytest.raises(
        DatasetError,
        match=r"has neither annotations/panoptic_val2017/\*.png nor panoptic_val2017/\*.png. .*in which "
        r"panoptic_val2017.zip is to be unpacked too",
    ):
        COCO_PANOPTIC.open(folder)
