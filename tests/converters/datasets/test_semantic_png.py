"""Semantic PNGs: pixels, palette and labels as stated, and back exactly where regions do not overlap."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.semantic_png import SemanticOptions, write_semantic_png
from converters.datasets.semantic_png_reader import read_semantic_png, semantic_png_to_records
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


@settings(deadline=None)  # it writes files
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
