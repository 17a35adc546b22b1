"""PASCAL VOC 2012 in a folder of its layout, with all its odd cases."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset
from ovdiff.evaluation.datasets.voc import VOC20, VOC21
from tests.ovdiff.evaluation.made import values, write_image, write_labels, write_text


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """Return the parent of a VOCdevkit with three images: colour, grey, and CMYK with a turned camera."""
    root = tmp_path / "VOCdevkit/VOC2012"
    write_text(root / "ImageSets/Segmentation/val.txt", "2007_000033\n2007_000042\n2007_000061\n")
    write_image(root / "JPEGImages/2007_000033.jpg")
    write_image(root / "JPEGImages/2007_000042.jpg", mode="L")
    write_image(root / "JPEGImages/2007_000061.jpg", mode="CMYK", orientation=6)
    for name in ("2007_000033", "2007_000042", "2007_000061"):
        write_labels(root / f"SegmentationClass/{name}.png", values((0, 1, 255, 20), (0,)), palette=True)
    return tmp_path


def test_the_categories_are_the_published_twenty_with_the_prompts_of_the_paper() -> None:
    names = VOC21.vocabulary.names
    assert (len(names), names[0], names[10], names[19]) == (20, "aeroplane", "diningtable", "tvmonitor")
    prompts = [category.phrases[0] for category in VOC21.categories]
    assert " ".join(prompts[i] for i in (0, 10, 15, 19)) == "airplane table potted plant monitor"
    assert VOC21.categories == VOC20.categories
    assert (VOC21.counts_background, VOC20.counts_background) == (True, False)


def test_the_border_is_unknown_and_background_counts(devkit: Path) -> None:
    read = VOC21.open(devkit).read("2007_000033")
    assert read.truth.label_map.dtype == np.int32
    np.testing.assert_array_equal(read.truth.label_map, values((0, 1, UNKNOWN, 20), (0,), dtype=np.int32))


def test_voc20_does_not_count_background(devkit: Path) -> None:
    label_map = VOC20.open(devkit).read("2007_000033").truth.label_map
    assert set(np.unique(label_map)) == {UNKNOWN, 1, 20}
    assert (label_map[1:] == UNKNOWN).all()


@pytest.mark.parametrize("name", ["2007_000033", "2007_000042", "2007_000061"])
def test_pictures_of_any_mode_become_rgb_as_they_are_stored(devkit: Path, name: str) -> None:
    image = VOC21.open(devkit).read(name).image
    assert (image.shape, image.dtype) == ((6, 8, 3), np.uint8)
    bright = image[:, 1].mean(axis=0)
    assert bright[0] > 240 if name != "2007_000042" else np.ptp(bright) == 0


@pytest.mark.parametrize("inside", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_folder_may_be_the_datasets_or_one_above(devkit: Path, inside: str) -> None:
    assert VOC21.open(devkit / inside).images == ("2007_000033", "2007_000042", "2007_000061")


def test_another_number_of_images_is_said(devkit: Path) -> None:
    (note,) = VOC21.open(devkit).notes
    assert note == "The split has 3 images; the published one has 1449, so figures may differ."


def test_an_opened_dataset_can_be_sent_to_another_process(devkit: Path) -> None:
    sent: Dataset = pickle.loads(pickle.dumps(VOC21.open(devkit)))
    assert sent.read("2007_000033").image.shape == (6, 8, 3)


def test_an_empty_folder_is_refused_with_what_is_expected_and_how_it_is_obtained(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"voc21: the folder '.*' has neither VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt nor VOC2012/"
        r"ImageSets/Segmentation/val.txt nor ImageSets/Segmentation/val.txt. It holds nothing. "
        r"It is VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC",
    ):
        VOC21.open(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"voc20: the folder '.*/nowhere' does not exist. It is VOCtrainval"):
        VOC20.open(tmp_path / "nowhere")


def test_a_file_is_no_folder_of_a_dataset(devkit: Path) -> None:
    with pytest.raises(DatasetError, match=r"val.txt' is a file; name the folder of the dataset\. It is VOCtrainval"):
        VOC21.open(devkit / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")


def test_an_archive_that_was_not_unpacked_is_told(tmp_path: Path) -> None:
    (tmp_path / "VOCtrainval_11-May-2012.tar").write_bytes(b"packed")
    with pytest.raises(DatasetError, match=r"Unpack VOCtrainval_11-May-2012\.tar there"):
        VOC21.open(tmp_path)


def test_a_half_extracted_archive_says_how_many_are_missing(devkit: Path) -> None:
    for name in ("2007_000042", "2007_000061"):
        (devkit / f"VOCdevkit/VOC2012/SegmentationClass/{name}.png").unlink()
    with pytest.raises(
        DatasetError, match=r"2 of 3 files are missing in '.*SegmentationClass'; the first is 2007_000042.png"
    ):
        VOC21.open(devkit)


def test_a_damaged_mask_is_named(devkit: Path) -> None:
    path = devkit / "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png"
    path.write_bytes(path.read_bytes()[:-30])
    opened = VOC21.open(devkit)
    with pytest.raises(DatasetError, match=r"voc21: the labels '.*2007_000033.png' cannot be read: .*Unpack them"):
        opened.read("2007_000033")


def test_an_image_that_is_not_listed_is_refused(devkit: Path) -> None:
    with pytest.raises(DatasetError, match=r"voc21: there is no image '\.\./x'; the first is '2007_000033'"):
        VOC21.open(devkit).read("../x")
