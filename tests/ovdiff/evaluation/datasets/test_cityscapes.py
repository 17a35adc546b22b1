"""Cityscapes in a folder of its layout."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.cityscapes import CATEGORIES, CITYSCAPES
from tests.ovdiff.evaluation.made import values, write_image, write_labels

FIRST = "frankfurt/frankfurt_000000_000294"


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    for name in (FIRST, "lindau/lindau_000000_000019"):
        write_image(tmp_path / f"leftImg8bit/val/{name}_leftImg8bit.png")
        write_labels(tmp_path / f"gtFine/val/{name}_gtFine_labelIds.png", values(range(8), range(8, 16), (24, 33, 0)))
        write_labels(tmp_path / f"gtFine/val/{name}_gtFine_instanceIds.png", values((26000,), dtype=np.uint16))
    return tmp_path


def test_there_are_19_categories_in_the_order_of_train_ids() -> None:
    assert len(CATEGORIES) == 19
    assert (CATEGORIES[0].name, CATEGORIES[11].name, CATEGORIES[18].name) == ("road", "person", "bicycle")


def test_ids_become_labels_and_those_that_do_not_count_unknown(streets: Path) -> None:
    opened = CITYSCAPES.open(streets)
    assert opened.images == (FIRST, "lindau/lindau_000000_000019")
    label_map = opened.read(FIRST).truth.label_map
    assert label_map[0].tolist() == [UNKNOWN] * 7 + [1]  # 7 is road
    assert label_map[1].tolist() == [2, UNKNOWN, UNKNOWN, 3, 4, 5, UNKNOWN, UNKNOWN]  # sidewalk, building, wall, fence
    assert label_map[2].tolist() == [12, 19] + [UNKNOWN] * 6  # person, bicycle


def test_licence_plates_are_unknown_and_converted_labels_are_not_taken_for_the_own_ones(streets: Path) -> None:
    """The plate's id is -1, which 8 bits hold as 255. Converters write train ids beside, where 0 is road."""
    write_labels(streets / f"gtFine/val/{FIRST}_gtFine_labelIds.png", values((7, 255, 34 - 1)))
    write_labels(streets / f"gtFine/val/{FIRST}_gtFine_labelTrainIds.png", values((0, 1, 2)))
    assert CITYSCAPES.open(streets).read(FIRST).truth.label_map[0, :3].tolist() == [1, UNKNOWN, 19]
    (streets / f"gtFine/val/{FIRST}_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"the first is .*_gtFine_labelIds\.png"):
        CITYSCAPES.open(streets)


@pytest.mark.slow
def test_it_agrees_with_torchvision(streets: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    theirs = datasets.Cityscapes(streets, split="val", mode="fine", target_type="semantic")
    train_ids = {each.id: each.train_id for each in datasets.Cityscapes.classes}
    for name, (_, target) in zip(CITYSCAPES.open(streets).images, theirs, strict=True):
        expected = np.vectorize(lambda value: train_ids[value])(np.array(target))
        expected = np.where(np.isin(expected, (255, -1)), UNKNOWN, expected + 1)
        np.testing.assert_array_equal(CITYSCAPES.open(streets).read(name).truth.label_map, expected)


def test_the_archive_of_images_that_was_left_out_is_missed(streets: Path) -> None:
    (streets / "leftImg8bit").rename(streets / "elsewhere")
    with pytest.raises(
        DatasetError,
        match=r"1 of 1 files are missing in '.*leftImg8bit/val/frankfurt'; the first is "
        r"frankfurt_000000_000294_leftImg8bit.png. In other folders 1 more are missing.*cityscapes-dataset.com",
    ):
        CITYSCAPES.open(streets)
