"""Semantic PNGs: pixels, palette and labels as stated, and back exactly where regions do not overlap."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.semantic_png import (
    SemanticDataset,
    SemanticOptions,
    read_semantic_png,
    semantic_png_to_records,
    write_semantic_png,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import OutputError, RecordError, SemanticPNGError
from converters.records import Annotation, DatasetCategory, ImageRecord, Region

SIZE_HW = (6, 9)
CATEGORIES = (DatasetCategory(7, "cat"), DatasetCategory(1, "dog", "thing"), DatasetCategory(3, "unsure"))
label_maps = arrays(np.uint8, SIZE_HW, elements=st.integers(0, 3))


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def region(region_id: str, label: str, mask: np.ndarray, **more: Any) -> Region:
    return Region(region_id, (label,), "", mask_to_coco_rle(mask), **more)


def record(*regions: Region, task_id: int | None = 1, image: str = "a/cat.jpg") -> ImageRecord:
    return ImageRecord(task_id, image, "image", size_hw=SIZE_HW, annotations=(Annotation(None, regions),))


@given(label_maps)
def test_a_label_map_survives_exactly(tmp_path_factory: pytest.TempPathFactory, label_map: np.ndarray) -> None:
    values = {1: "cat", 2: "dog", 3: "unsure"}
    drawn = [region(str(n), name, label_map == n) for n, name in values.items() if (label_map == n).any()]
    before = [record(*drawn), record(task_id=2, image="b.png")]
    folder = tmp_path_factory.mktemp("semantic") / "out"
    counts = write_semantic_png(before, CATEGORIES, folder)
    assert (counts.images_out, counts.regions_in, counts.regions_out) == (2, len(drawn), len(drawn))
    assert (counts.left_out, counts.notes) == ({}, {})
    dataset = read_semantic_png(folder)
    assert dataset.categories == CATEGORIES
    assert list(semantic_png_to_records(dataset)) == before


def test_a_label_may_be_called_background(tmp_path: Path) -> None:
    before = record(region("1", "background", box(0, 0, 3, 3)))
    write_semantic_png([before], [DatasetCategory(1, "background")], tmp_path / "out")
    assert list(semantic_png_to_records(read_semantic_png(tmp_path / "out"))) == [before]


def test_the_picture_is_indexed_in_vocs_colours(tmp_path: Path) -> None:
    regions = (region("a", "cat", box(0, 0, 3, 3)), region("b", "dog", box(3, 3, 6, 6)))
    unsure = region("c", "unsure", box(0, 6, 2, 9))
    write_semantic_png([record(*regions, unsure)], CATEGORIES, tmp_path / "out", SemanticOptions(ignore_label="unsure"))
    with Image.open(tmp_path / "out" / "masks" / "a" / "cat.png") as picture:
        assert picture.mode == "P"
        pixels, colours = np.asarray(picture), np.asarray(picture.convert("RGB"))
    assert (pixels[0, 0], pixels[5, 5], pixels[0, 8], pixels[5, 0]) == (1, 2, 255, 0)
    assert colours[0, 0].tolist() == [128, 0, 0]
    assert colours[0, 8].tolist() == [224, 224, 192]
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == {
        "labels": [
            {"value": 0, "name": "background", "colour": "#000000"},
            {"value": 1, "name": "cat", "colour": "#800000", "id": 7},
            {"value": 2, "name": "dog", "colour": "#008000", "id": 1, "kind": "thing"},
            {"value": 255, "name": "unsure", "colour": "#e0e0c0", "id": 3},
        ],
        "images": [{"file_name": "a/cat.jpg", "mask": "a/cat.png", "width": 9, "height": 6, "task_id": 1}],
    }
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path / "out"), ImagePlace(image_root="/data/"))
    assert [r.labels for r in found.annotations[0].regions] == [("cat",), ("dog",), ("unsure",)]
    assert (found.image, found.left_out) == ("/data/a/cat.jpg", ())


def test_overlaps_are_resolved_by_the_rule_and_counted(tmp_path: Path) -> None:
    regions = (
        region("big", "cat", box(0, 0, 6, 6), score=0.5),
        region("under", "dog", box(1, 1, 2, 2), score=0.1),
        region("small", "dog", box(2, 2, 4, 4), score=0.5),
        region("same", "cat", box(5, 5, 6, 7), score=0.2),
    )
    counts = write_semantic_png([record(*regions)], CATEGORIES, tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / "masks" / "a" / "cat.png"))
    assert np.array_equal(pixels == 2, box(2, 2, 4, 4))
    assert np.array_equal(pixels == 1, (box(0, 0, 6, 6) | box(5, 5, 6, 7)) & ~box(2, 2, 4, 4))
    assert counts.notes == {"pixels that several categories claimed": 5}
    assert counts.left_out == {"region of which others cover every pixel": 1}
    assert (counts.regions_in, counts.regions_out) == (4, 3)


def test_images_are_kept_apart_and_inside(tmp_path: Path) -> None:
    images = ["a.jpg", "a.png", "../b.jpg", "c.jpg"]
    counts = write_semantic_png([record(image=name) for name in images], CATEGORIES, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "c.png"]
    assert (counts.images_in, counts.images_out, sum(counts.left_out.values())) == (4, 2, 2)


@pytest.mark.parametrize(
    ("categories", "ignore_label", "message"),
    [
        ([DatasetCategory(n, str(n)) for n in range(255)], None, "expected at most 254 categories .*, got 255"),
        (CATEGORIES, "fog", r"expected the label to ignore to be one of \['cat', 'dog', 'unsure'\], got 'fog'"),
        ([], None, "expected categories with a name and an id"),
    ],
)
def test_impossible_categories_are_refused(
    tmp_path: Path, categories: list[DatasetCategory], ignore_label: str | None, message: str
) -> None:
    with pytest.raises((SemanticPNGError, RecordError), match=message):
        write_semantic_png([record()], categories, tmp_path / "out", SemanticOptions(ignore_label=ignore_label))


def test_255_categories_fit_if_one_is_ignored(tmp_path: Path) -> None:
    categories = [DatasetCategory(n, str(n)) for n in range(255)]
    write_semantic_png([record()], categories, tmp_path / "out", SemanticOptions(ignore_label="0"))
    assert set(read_semantic_png(tmp_path / "out").categories) == set(categories)


def test_nothing_is_written_without_an_image_or_over_something(tmp_path: Path) -> None:
    with pytest.raises(SemanticPNGError, match=r"expected at least one image .*, got none: nothing was left out"):
        write_semantic_png([], CATEGORIES, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="got one that holds files"):
        write_semantic_png([record()], CATEGORIES, tmp_path)


# ---------------------------------------------------------------- those of others, and broken ones


def foreign(folder: Path, labels: Any, **masks: Image.Image) -> SemanticDataset:
    (folder / "labels.json").write_text(json.dumps({"labels": labels}))
    (folder / "masks").mkdir()
    for name, mask in masks.items():
        mask.save(folder / "masks" / f"{name}.png")
    return read_semantic_png(folder, image_suffix=".jpg")


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


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("RGB", (3, 2)), "a.png: expected a PNG of mode P or L or 1, got RGB"),
        (Image.new("I;16", (3, 2)), "a.png: expected a PNG of mode P or L or 1, got I;16"),
        (None, "expected a PNG, which cannot be read"),
    ],
)
def test_a_mask_of_another_kind_is_listed_and_stops_nothing(
    tmp_path: Path, mask: Image.Image | None, message: str
) -> None:
    dataset = foreign(
        tmp_path, [{"value": 1, "name": "cat"}], a=mask or Image.new("L", (1, 1)), b=Image.new("L", (3, 2))
    )
    if mask is None:
        (tmp_path / "masks" / "a.png").write_bytes(b"no PNG")
    first, second = semantic_png_to_records(dataset)
    assert (first.annotations, first.left_out[0].reason) == ((), "unreadable mask")
    assert message in first.left_out[0].where
    assert second.size_hw == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON, which cannot be read"),
        ("[]", "expected an object with 'labels', got list"),
        ('{"labels": [1]}', "expected a list of objects under 'labels'"),
        ('{"labels": [{"value": 256, "name": "a"}]}', "expected labels with a value from 0 to 255, got 256"),
        ('{"labels": [{"value": 1, "name": " "}]}', "expected a name for the value 1, got ' '"),
        ('{"labels": [{"value": 1, "name": "a", "id": "x"}]}', "expected a whole number as id of 'a', got 'x'"),
        ('{"labels": [{"value": 1, "name": "a"}, {"value": 1, "name": "b"}]}', "labels with values that differ"),
        ('{"labels": [{"value": 1, "name": "a"}, {"value": 2, "name": "a"}]}', "labels with names that differ"),
        ('{"labels": [], "images": [{"file_name": 1}]}', "expected images with a file_name and a mask"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(SemanticPNGError, match=message):
        read_semantic_png(tmp_path)


def test_a_mask_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "secret.png")
    content = {"labels": [], "images": [{"file_name": "a.png", "mask": "../secret.png"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    (found,) = semantic_png_to_records(read_semantic_png(tmp_path))
    assert "expected the name of a mask in masks/, got '../secret.png'" in found.left_out[0].where


def test_a_suffix_is_one(tmp_path: Path) -> None:
    with pytest.raises(SemanticPNGError, match=r"expected a suffix of images such as \.jpg, got 'jpg'"):
        read_semantic_png(tmp_path, image_suffix="jpg")
