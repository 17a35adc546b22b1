"""COCO val2017 by the pixels of COCO-Stuff, in folders of its layouts."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.coco import COCO_OBJECT, COCO_STUFF, COCO_STUFF27, GROUPS, OBJECTS, STUFF
from tests.ovdiff.evaluation.made import values, write_image, write_labels

NAME = "000000000139"
PIXELS = values((0, 12, 89, 91, 181, 255))  # person, stop sign, toothbrush, banner, wood, unlabelled


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    write_image(tmp_path / f"coco/val2017/{NAME}.jpg")
    write_labels(tmp_path / f"coco/stuffthingmaps_trainval2017/val2017/{NAME}.png", PIXELS)
    return tmp_path


def test_there_are_80_171_and_27_categories() -> None:
    assert (len(OBJECTS), len(STUFF), len(GROUPS)) == (80, 171, 27)
    assert (STUFF[0].name, STUFF[79].name, STUFF[80].name, STUFF[170].name) == (
        "person", "toothbrush", "banner", "wood"
    )  # fmt: skip
    assert STUFF[:80] == OBJECTS
    assert next(each.phrases for each in OBJECTS if each.name == "keyboard") == ("computer keyboard",)


def test_objects_close_the_gaps_and_all_else_is_background(coco: Path) -> None:
    label_map = COCO_OBJECT.open(coco).read(NAME).truth.label_map
    np.testing.assert_array_equal(label_map, values((1, 12, 80, 0, 0, 0), dtype=np.int32))
    assert OBJECTS[11].name == "stop sign"


def test_stuff_closes_the_gaps_and_has_no_background(coco: Path) -> None:
    opened = COCO_STUFF.open(coco)
    assert not opened.counts_background
    label_map = opened.read(NAME).truth.label_map
    np.testing.assert_array_equal(label_map, values((1, 12, 80, 81, 171, UNKNOWN), dtype=np.int32))


def test_groups_are_merged(coco: Path) -> None:
    label_map = COCO_STUFF27.open(coco).read(NAME).truth.label_map
    names = [GROUPS[label - 1].name for label in label_map[0, :5]]
    assert names == ["person", "outdoor", "indoor", "textile", "solid"]
    assert label_map[0, 5] == UNKNOWN
    assert [each.phrases[0] for each in GROUPS if each.name.startswith("food")] == ["food", "food"]


def test_a_value_in_a_gap_belongs_to_another_dataset(coco: Path) -> None:
    write_labels(coco / f"coco/stuffthingmaps_trainval2017/val2017/{NAME}.png", values((11,)))
    with pytest.raises(DatasetError, match="have values that this dataset does not know: 11"):
        COCO_STUFF.open(coco).read(NAME)


@pytest.mark.parametrize(
    ("images", "maps"),
    [
        ("val2017", "stuffthingmaps/val2017"),
        ("val2017", "val2017"),
        ("images/val2017", "annotations/val2017"),
    ],
)
def test_other_ways_to_unpack_are_known(tmp_path: Path, images: str, maps: str) -> None:
    write_image(tmp_path / images / f"{NAME}.jpg")
    write_labels(tmp_path / maps / f"{NAME}.png", PIXELS)
    write_labels(tmp_path / maps / f"{NAME}_labelTrainIds.png", values((7,)))
    opened = COCO_STUFF.open(tmp_path)
    assert opened.images == (NAME,)
    assert opened.read(NAME).truth.label_map[0, 4] == 171


def test_images_without_labels_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    write_image(tmp_path / f"val2017/{NAME}.jpg")
    with pytest.raises(
        DatasetError,
        match=r"neither stuffthingmaps_trainval2017/val2017/\*.png nor .*stuffthingmaps_trainval2017.zip of",
    ):
        COCO_OBJECT.open(tmp_path)
    with pytest.raises(DatasetError, match=r"coco-object: the folder .* has neither val2017 nor coco/val2017"):
        COCO_OBJECT.open(tmp_path / "val2017")
