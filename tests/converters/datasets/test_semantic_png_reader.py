"""Label PNGs of others: 16 bits, colours, alpha, objects, pixels that do not count, and masks that cannot be read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.pixel_labels import read_label_list
from converters.datasets.semantic_png_reader import (
    VOID_PIXELS,
    SemanticDataset,
    read_label_png,
    read_semantic_png,
    semantic_png_to_records,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.colours import voc_palette
from converters.errors import SemanticPNGError
from converters.records import DatasetCategory, ImageRecord, Region

CAT = [{"value": 1, "name": "cat"}]
COLOURS = [{"value": 1, "name": "cat", "colour": "#ff0000"}, {"value": 2, "name": "dog", "colour": [0, 0, 9]}]


def foreign(folder: Path, labels: Any, *, void: tuple[int, ...] = (), **masks: Image.Image) -> SemanticDataset:
    (folder / "labels.json").write_text(json.dumps({"labels": labels}))
    (folder / "masks").mkdir()
    for name, mask in masks.items():
        mask.save(folder / "masks" / f"{name}.png")
    return read_semantic_png(folder, image_suffix=".jpg", void=void)


def found_in(record: ImageRecord) -> dict[str, tuple[str, list[list[int]]]]:
    """Return the label and the pixels of each region by its id."""
    return {r.id: (r.labels[0], r.mask().astype(int).tolist()) for r in record.annotations[0].regions}


def save(path: Path, pixels: Any, dtype: type = np.uint8, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(pixels, dtype=dtype))
    (image if mode is None else image.convert(mode)).save(path)


def test_grey_masks_without_a_list_of_images_are_read(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1, 255], [2, 2, 9]], dtype=np.uint8))
    labels = [{"value": 2, "name": "dog"}, {"value": 1, "name": "cat"}]
    dataset = foreign(tmp_path, labels, b=mask, a=Image.new("1", (3, 2), 1))
    assert dataset.categories == (DatasetCategory(2, "dog"), DatasetCategory(1, "cat"))
    first, second = semantic_png_to_records(dataset)
    assert (first.image, second.image, first.task_id) == ("a.jpg", "b.jpg", None)
    assert first.annotations[0].regions == (
        Region("1", ("cat",), "", mask_to_coco_rle(np.ones((2, 3), dtype=np.bool_))),
    )
    assert [r.labels for r in second.annotations[0].regions] == [("cat",), ("dog",)]
    assert [item.where for item in second.left_out] == ["b.png: 9", "b.png: 255"]
    assert second.left_out[0].reason == "pixels of a value that labels.json does not name"


values = arrays(np.uint16, (4, 5), elements=st.sampled_from([0, 1, 255, 256, 40_000, 65_535]))


@settings(deadline=None)  # it writes files
@given(values)
def test_sixteen_bits_are_values(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read_label_png(path, {}), pixels)


@settings(deadline=None)  # it writes files
@given(arrays(np.uint8, (4, 5), elements=st.integers(0, 21)), st.sampled_from(["RGB", "RGBA", "P", "L", "LA"]))
def test_every_kind_of_png_has_the_same_values(
    tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray, mode: str
) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    labels = read_label_list("voc")
    pixels[pixels == 21] = 255
    if mode in ("L", "LA"):
        Image.fromarray(pixels).convert(mode).save(path)
    else:
        picture = Image.fromarray(pixels)
        picture.putpalette([channel for colour in voc_palette() for channel in colour])
        (picture if mode == "P" else picture.convert(mode)).save(path)
    assert np.array_equal(read_label_png(path, labels.by_colour), pixels)


def test_transparent_pixels_are_background(tmp_path: Path) -> None:
    save(tmp_path / "la.png", [[[1, 255], [1, 0]]])
    assert read_label_png(tmp_path / "la.png", {}).tolist() == [[1, 0]]
    save(tmp_path / "rgba.png", [[[255, 0, 0, 255], [255, 0, 0, 0], [0, 1, 0, 255]]])
    assert read_label_png(tmp_path / "rgba.png", {0xFF0000: 7}).tolist() == [[7, 0, -1]]


def test_colours_stand_for_their_labels_and_other_colours_are_counted(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 9]], [[1, 2, 3], [0, 0, 0]]], dtype=np.uint8))
    (found,) = semantic_png_to_records(foreign(tmp_path, COLOURS, a=picture))
    assert found_in(found) == {"1": ("cat", [[1, 0], [0, 0]]), "2": ("dog", [[0, 1], [0, 0]])}
    assert [item.where for item in found.left_out] == ["a.png: a colour that no label has"]


def test_black_is_background_where_it_is_nothing_else(tmp_path: Path) -> None:
    labels = [{"value": 0, "name": "background", "colour": "#000000"}, *COLOURS]
    (found,) = semantic_png_to_records(foreign(tmp_path, labels, a=Image.new("RGB", (3, 2))))
    assert (found_in(found), found.left_out) == ({}, ())


def test_values_that_do_not_count_are_noted_or_become_a_label(tmp_path: Path) -> None:
    dataset = foreign(tmp_path, CAT, void=(9, 255), a=Image.fromarray(np.array([[1, 9, 255]], dtype=np.uint8)))
    (found,) = semantic_png_to_records(dataset)
    assert (list(found_in(found)), found.left_out, found.notes) == (["1"], (), (VOID_PIXELS,))
    named = read_semantic_png(tmp_path, void=(9, 255), void_label="unsure")
    assert named.categories == (DatasetCategory(1, "cat"), DatasetCategory(2, "unsure"))
    (found,) = semantic_png_to_records(named)
    assert [r.labels[0] for r in found.annotations[0].regions] == ["cat", "unsure", "unsure"]
    assert found.notes == ()


def test_a_thousand_values_are_not_all_listed(tmp_path: Path) -> None:
    noise = Image.fromarray(np.arange(1000, dtype=np.uint16).reshape(20, 50))
    (found,) = semantic_png_to_records(foreign(tmp_path, CAT, a=noise))
    assert (len(found.left_out), found.left_out[-1].where) == (101, "a.png: 898 more values")


# ---------------------------------------------------------------- datasets by name


def test_voc_is_read_object_by_object(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    save(root / "SegmentationClass" / "2007_1.png", [[15, 15, 255, 15], [0, 9, 9, 255]])
    save(root / "SegmentationObject" / "2007_1.png", [[1, 1, 255, 2], [0, 3, 3, 255]])
    save(root / "SegmentationClass" / "2007_2.png", [[20, 20]])
    for folder in (tmp_path / "VOCdevkit", root):
        dataset = read_semantic_png(folder, "voc")
        first, second = semantic_png_to_records(dataset)
        assert (first.image, second.image) == ("JPEGImages/2007_1.jpg", "JPEGImages/2007_2.jpg")
        assert found_in(first) == {
            "15-1": ("person", [[1, 1, 0, 0], [0, 0, 0, 0]]),
            "15-2": ("person", [[0, 0, 0, 1], [0, 0, 0, 0]]),
            "9-3": ("chair", [[0, 0, 0, 0], [0, 1, 1, 0]]),
        }
        assert found_in(second) == {"20": ("tvmonitor", [[1, 1]])}
        assert (first.notes, first.left_out, len(dataset.categories)) == ((VOID_PIXELS,), (), 20)


def test_objects_of_another_size_are_an_unreadable_mask(tmp_path: Path) -> None:
    save(tmp_path / "SegmentationClass" / "a.png", [[15, 15]])
    save(tmp_path / "SegmentationObject" / "a.png", [[1], [1]])
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path, "voc"))
    assert (found.annotations, found.left_out[0].reason) == ((), "unreadable mask")


def test_ade20k_is_read(tmp_path: Path) -> None:
    save(tmp_path / "annotations" / "training" / "ADE_train_1.png", [[0, 1, 150]])
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path, "ade20k"))
    assert found.image == "images/training/ADE_train_1.jpg"
    assert found_in(found) == {"1": ("wall", [[0, 1, 0]]), "150": ("flag", [[0, 0, 1]])}


CITY = "gtFine/val/ulm/ulm_0_gtFine_"


def test_the_instances_of_cityscapes_are_read_groups_as_crowds(tmp_path: Path) -> None:
    save(tmp_path / f"{CITY}instanceIds.png", [[26000, 26001, 26, 7, 3]], np.uint16)
    save(tmp_path / f"{CITY}labelIds.png", [[26, 26, 26, 7, 3]])
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path, "cityscapes"))
    assert found.image == "leftImg8bit/val/ulm/ulm_0_leftImg8bit.png"
    regions = {r.id: (r.labels[0], r.is_crowd) for r in found.annotations[0].regions}
    assert regions == {"7": ("road", False), "26": ("car", True), "26-1": ("car", False), "26-2": ("car", False)}
    assert (found.notes, found.left_out) == ((VOID_PIXELS,), ())


@pytest.mark.parametrize(
    ("kind", "pixels", "labels"),
    [
        ("labelIds", [[7, 33, 0]], ["road", "bicycle"]),
        ("labelTrainIds", [[0, 18, 255]], ["road", "bicycle"]),
        ("color", [[[128, 64, 128], [119, 11, 32], [0, 0, 0]]], ["road", "bicycle"]),
    ],
)
def test_the_other_pngs_of_cityscapes_are_read(tmp_path: Path, kind: str, pixels: Any, labels: list[str]) -> None:
    save(tmp_path / f"{CITY}{kind}.png", pixels)
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path, "cityscapes"))
    assert [r.labels[0] for r in found.annotations[0].regions] == labels
    assert (found.left_out, found.notes) == ((), (VOID_PIXELS,))


def test_a_text_file_gives_any_folder_its_labels(tmp_path: Path) -> None:
    save(tmp_path / "pngs" / "a" / "b.png", [[0, 1, 2]])
    (tmp_path / "names.txt").write_text("background\nroad\nsky\n")
    dataset = read_semantic_png(tmp_path / "pngs", str(tmp_path / "names.txt"), image_suffix=".jpg")
    (found,) = semantic_png_to_records(dataset)
    assert found.image == "a/b.jpg"
    assert found_in(found) == {"1": ("road", [[0, 1, 0]]), "2": ("sky", [[0, 0, 1]])}


# ---------------------------------------------------------------- broken ones


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("RGB", (3, 2)), "a.png: expected grey values or a palette, got colours, of which no label is known"),
        (None, "expected a PNG, which cannot be read"),
    ],
)
def test_a_mask_that_cannot_be_read_is_listed_and_stops_nothing(
    tmp_path: Path, mask: Image.Image | None, message: str
) -> None:
    dataset = foreign(tmp_path, CAT, a=mask or Image.new("L", (1, 1)), b=Image.new("L", (3, 2)))
    if mask is None:
        (tmp_path / "masks" / "a.png").write_bytes(b"no PNG")
    first, second = semantic_png_to_records(dataset)
    assert (first.annotations, first.left_out[0].reason) == ((), "unreadable mask")
    assert message in first.left_out[0].where
    assert second.size_hw == (2, 3)


def test_images_that_labels_json_lists_wrongly_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"labels": CAT, "images": [{"file_name": 1}]}))
    with pytest.raises(SemanticPNGError, match="expected images with a file_name and a mask"):
        read_semantic_png(tmp_path)


def test_a_folder_without_labels_says_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(SemanticPNGError, match=r"expected labels.json in .*, got none: name the meaning .* --labels"):
        read_semantic_png(tmp_path)


def test_a_mask_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "secret.png")
    content = {"labels": CAT, "images": [{"file_name": "a.png", "mask": "../secret.png"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path))
    assert "expected the name of a mask in masks/, got '../secret.png'" in found.left_out[0].where


def test_a_suffix_is_one(tmp_path: Path) -> None:
    with pytest.raises(SemanticPNGError, match=r"expected a suffix of images such as \.jpg, got 'jpg'"):
        read_semantic_png(tmp_path, image_suffix="jpg")
