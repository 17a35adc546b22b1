"""Pascal Context in folders of its layouts: mmseg's pictures, the dataset's own label maps, ODISE's pictures."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN
from ovdiff.evaluation.datasets.context import CATEGORIES_59, CATEGORIES_459, CONTEXT59, CONTEXT60, PC459
from tests.ovdiff.evaluation.made import values, write_image, write_labels, write_text

TABLE, WOOD, ACCORDION, DOG = 397, 458, 1, 113


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Return the parent of a VOCdevkit with the label maps of the dataset."""
    root = tmp_path / "VOCdevkit/VOC2010"
    write_text(root / "ImageSets/Main/val.txt", "2008_000002\n")
    write_image(root / "JPEGImages/2008_000002.jpg")
    (root / "trainval").mkdir()
    label_map = values((0, ACCORDION, TABLE, WOOD, DOG), dtype=np.uint16)
    savemat(root / "trainval/2008_000002.mat", {"LabelMap": label_map})
    return tmp_path


@pytest.fixture
def converted(original: Path) -> Path:
    """Return the same with mmseg's pictures, of which the list has one image."""
    root = original / "VOCdevkit/VOC2010"
    write_text(root / "ImageSets/SegmentationContext/val.txt", "2008_000003\n")
    write_image(root / "JPEGImages/2008_000003.jpg")
    write_labels(root / "SegmentationClassContext/2008_000003.png", values((0, 1, 59, 255)), palette=True)
    return original


def test_there_are_59_and_459_categories() -> None:
    assert (len(CATEGORIES_59), len(CATEGORIES_459)) == (59, 459)
    assert (CATEGORIES_59[0].name, CATEGORIES_59[49].name, CATEGORIES_59[58].name) == ("aeroplane", "table", "wood")
    assert {category.name for category in CATEGORIES_59} < {category.name for category in CATEGORIES_459}
    assert CATEGORIES_59[0].phrases == ("airplane",)


def test_in_the_converted_labels_zero_is_what_is_none_of_the_classes(converted: Path) -> None:
    opened = CONTEXT60.open(converted)
    assert opened.images == ("2008_000003",)
    label_map = opened.read("2008_000003").truth.label_map
    np.testing.assert_array_equal(label_map, values((0, 1, 59, UNKNOWN), dtype=np.int32))


def test_context59_does_not_count_it(converted: Path) -> None:
    label_map = CONTEXT59.open(converted).read("2008_000003").truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 1, 59, UNKNOWN), dtype=np.int32))


def test_the_original_label_maps_give_the_59_classes_too_and_say_so(original: Path) -> None:
    opened = CONTEXT60.open(original)
    assert "read from the 459 classes" in opened.notes[0]
    label_map = opened.read("2008_000002").truth.label_map
    np.testing.assert_array_equal(label_map, values((0, 0, 50, 59, 23), dtype=np.int32))
    assert [CATEGORIES_59[label - 1].name for label in (50, 59, 23)] == ["table", "wood", "dog"]
    assert (CONTEXT59.open(original).read("2008_000002").truth.label_map[0, :2] == UNKNOWN).all()


def test_all_459_classes_are_read_from_the_label_maps(original: Path) -> None:
    label_map = PC459.open(original).read("2008_000002").truth.label_map
    np.testing.assert_array_equal(label_map, values((UNKNOWN, 1, 397, 458, 113), dtype=np.int32))


def test_odises_pictures_of_the_459_classes_are_one_less(tmp_path: Path) -> None:
    write_image(tmp_path / "pascal_ctx_d2/images/validation/2008_000002.jpg")
    labels = values((0, 458, 65535), dtype=np.uint16)
    write_labels(tmp_path / "pascal_ctx_d2/annotations_ctx459/validation/2008_000002.tif", labels)
    for folder in (tmp_path, tmp_path / "pascal_ctx_d2"):
        label_map = PC459.open(folder).read("2008_000002").truth.label_map
        np.testing.assert_array_equal(label_map, values((1, 459, UNKNOWN), dtype=np.int32))


def test_labels_of_another_form_are_another_truth(original: Path, request: pytest.FixtureRequest) -> None:
    assert [kind.open(original).truth for kind in (CONTEXT60, CONTEXT59, PC459)] == ["mat"] * 3
    request.getfixturevalue("converted")
    assert [kind.open(original).truth for kind in (CONTEXT60, CONTEXT59)] == ["converted"] * 2
    write_image(original / "pascal_ctx_d2/images/validation/2008_000002.jpg")
    labels = original / "pascal_ctx_d2/annotations_ctx459/validation/2008_000002.tif"
    write_labels(labels, values((0, 458, 65535), dtype=np.uint16))
    assert PC459.open(original).truth == "converted"


@pytest.mark.parametrize("content", [b"no MATLAB file", b"MATLAB 5.0 MAT-file" + b"\0" * 200, b""])
def test_a_damaged_label_map_is_named(original: Path, content: bytes) -> None:
    (original / "VOCdevkit/VOC2010/trainval/2008_000002.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=r"pc459: the labels '.*2008_000002.mat' cannot be read: "):
        PC459.open(original).read("2008_000002")


@pytest.mark.parametrize(
    "content",
    [{"Other": values((1,))}, {"LabelMap": np.ones((6, 8, 3), np.uint8)}, {"LabelMap": np.ones((6, 8))}],
)
def test_a_matlab_file_of_something_else_is_refused(original: Path, content: dict[str, object]) -> None:
    savemat(original / "VOCdevkit/VOC2010/trainval/2008_000002.mat", content)
    with pytest.raises(DatasetError, match="expected a MATLAB file with a LabelMap of whole numbers"):
        PC459.open(original).read("2008_000002")


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "VOC2010/JPEGImages/2008_000002.jpg")
    with pytest.raises(
        DatasetError, match=r"neither VOCdevkit/VOC2010/SegmentationClassContext nor .*The images are VOC"
    ):
        CONTEXT60.open(tmp_path)
    with pytest.raises(DatasetError, match=r"pc459: .* has neither VOCdevkit/VOC2010/trainval"):
        PC459.open(tmp_path)
