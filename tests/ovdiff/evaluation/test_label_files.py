"""Images with a file of labels each."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.catalogue import dataset_kind
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.label_files import LabelFiles, label_table
from tests.ovdiff.evaluation.made import values, write_image, write_labels, write_text


def _read(folder: Path) -> LabelFiles:
    return LabelFiles("x", folder, {"a": ("a.jpg", "a.png")}, label_table({3: 1, 300: 2}, unknown=(255,)))


def test_labels_of_sixteen_bits_are_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.png", values((3, 300, 255), dtype=np.uint16))
    label_map = _read(tmp_path).read("a").truth.label_map
    np.testing.assert_array_equal(label_map, values((1, 2, UNKNOWN), dtype=np.int32))


@pytest.mark.parametrize("strange", [4, 301, 65535])
def test_a_value_that_stands_for_nothing_is_refused(tmp_path: Path, strange: int) -> None:
    write_image(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.png", values((3, 5, strange), dtype=np.uint16))
    with pytest.raises(DatasetError, match=rf"x: the labels '.*a.png' have values .*not know: (4, 5|5, {strange})\."):
        _read(tmp_path).read("a")


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.png", values((3,))[:5])
    with pytest.raises(DatasetError, match=r"x: the image '.*a.jpg' has 8x6 pixels, and its labels '.*' have 8x5"):
        _read(tmp_path).read("a")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "a.jpg", "no picture")
    write_labels(tmp_path / "a.png", values((3,)))
    with pytest.raises(DatasetError, match=r"x: The file '.*a.jpg' is no picture"):
        _read(tmp_path).read("a")


def test_labels_that_are_gone_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match=r"x: the labels '.*a.png' cannot be read"):
        _read(tmp_path).read("a")


def test_a_picture_of_colours_is_no_file_of_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="expected a PNG of mode P or L or I;16 or I, got RGB"):
        _read(tmp_path).read("a")


_LAYOUTS: dict[str, tuple[str, str, str]] = {
    "voc21": ("VOC2012/JPEGImages", "VOC2012/SegmentationClass", "VOC2012/ImageSets/Segmentation/val.txt"),
    "context60": ("VOC2010/JPEGImages", "VOC2010/SegmentationClassContext", "VOC2010/ImageSets/Main/val.txt"),
    "coco-object": ("val2017", "val2017", ""),
    "coco-stuff": ("val2017", "stuffthingmaps/val2017", ""),
    "coco-stuff27": ("images/val2017", "annotations/val2017", ""),
    "ade20k": ("ADEChallengeData2016/images/validation", "ADEChallengeData2016/annotations/validation", ""),
}
"""Of each dataset with JPEGs: the folders of images and of labels, and the list of images, if it has one."""


@pytest.mark.parametrize("name", _LAYOUTS)
def test_grey_and_cmyk_jpegs_of_every_dataset_become_rgb_and_damaged_ones_are_named(name: str, tmp_path: Path) -> None:
    images, labels, split = _LAYOUTS[name]
    for number, mode in enumerate(("L", "CMYK", "RGB"), start=1):
        write_image(tmp_path / images / f"{number:012}.jpg", mode=mode)
        write_labels(tmp_path / labels / f"{number:012}.png", values((1, 2)))
    if split:
        write_text(tmp_path / split, "\n".join(f"{number:012}" for number in (1, 2, 3)))
    opened = dataset_kind(name).open(tmp_path)
    grey, inked = (opened.read(f"{number:012}").image for number in (1, 2))
    assert grey.shape == inked.shape == (6, 8, 3) and grey.dtype == np.uint8
    assert (grey[..., 0] == grey[..., 1]).all() and inked[2, 1, 0] > 240 and inked[2, 1, 1] < 15
    path = tmp_path / images / f"{3:012}.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=rf"{name}: The image file '.*0003.jpg' cannot be read: .* Unpack it again"):
        opened.read(f"{3:012}")
