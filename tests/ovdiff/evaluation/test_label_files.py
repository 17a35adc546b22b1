"""Images with a file of labels each."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
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
