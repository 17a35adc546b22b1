"""YOLO segmentation: what is written, how well it agrees with the masks, what is read, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.yolo import (
    YoloCounts,
    YoloOptions,
    join_polygons,
    line_to_shape,
    polygon_to_line,
    read_yolo,
    write_yolo,
    yolo_to_records,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import fill_holes, mask_iou
from converters.encodings.polygons import mask_to_polygons, polygons_to_mask
from converters.errors import OutputError, YOLOError
from converters.files.image_files import folder_names, folder_sizes
from converters.records import Annotation, DatasetCategory, ImageRecord, Region

SIZE_HW = (20, 30)
CATEGORIES = (DatasetCategory(7, "cat"), DatasetCategory(1, "dog"))
masks = arrays(np.bool_, SIZE_HW).filter(lambda mask: bool(mask.any()))
EXACT = YoloOptions(tolerance_px=0.0)

TWO_PARTS = np.zeros(SIZE_HW, dtype=np.bool_)
TWO_PARTS[2:8, 3:9] = TWO_PARTS[12:18, 20:28] = True
RING = np.zeros(SIZE_HW, dtype=np.bool_)
RING[4:16, 4:16] = True
RING[8:12, 8:12] = False


def region(mask: np.ndarray, *labels: str, **more: Any) -> Region:
    return Region("r", labels or ("cat",), "", mask_to_coco_rle(mask), **more)


def record(*regions: Region, image: str = "a/cat.jpg", size_hw: tuple[int, int] = SIZE_HW) -> ImageRecord:
    return ImageRecord(1, image, "image", size_hw=size_hw, annotations=(Annotation(1, regions),))


def lines_of(folder: Path, name: str = "a/cat.txt") -> list[str]:
    return (folder / "labels" / name).read_text().splitlines()


def read(folder: Path, size_hw: tuple[int, int] = SIZE_HW, **more: Any) -> list[ImageRecord]:
    dataset = read_yolo(folder)
    return list(yolo_to_records(dataset, lambda _: size_hw, lambda stem: f"{stem}.jpg", **more))


@given(st.lists(masks, min_size=1, max_size=3))
def test_masks_survive_but_for_their_holes(tmp_path_factory: pytest.TempPathFactory, drawn: list[np.ndarray]) -> None:
    folder = tmp_path_factory.mktemp("yolo") / "out"
    counts = write_yolo([record(*map(region, drawn))], CATEGORIES, folder, EXACT)
    (found,) = read(folder)
    back = [r.mask() for r in found.annotations[0].regions]
    assert all(np.array_equal(mask, fill_holes(original)) for mask, original in zip(back, drawn, strict=True))
    ious = [mask_iou(mask, original) for mask, original in zip(back, drawn, strict=True)]
    assert (counts.lowest_iou, counts.mean_iou) == (min(ious), pytest.approx(np.mean(ious)))
    assert counts.regions_in == counts.regions_out == len(drawn)


@given(masks)
def test_joined_parts_cover_the_pixels_of_all(mask: np.ndarray) -> None:
    parts = mask_to_polygons(mask, 0)
    joined = join_polygons(parts)
    assert np.array_equal(polygons_to_mask([joined], SIZE_HW), polygons_to_mask(parts, SIZE_HW))
    assert {tuple(point) for point in joined.tolist()} == {tuple(point) for part in parts for point in part.tolist()}


def test_parts_are_joined_between_their_nearest_corners() -> None:
    first = np.array([(0, 0), (4, 0), (4, 4), (0, 4)], dtype=np.float64)
    joined = join_polygons([first, first + 6]).tolist()
    assert joined[2:8] == [[4, 4], [6, 6], [10, 6], [10, 10], [6, 10], [6, 6]]
    assert joined[8] == [4, 4]


def test_parts_are_joined_or_split_and_holes_are_filled_and_counted(tmp_path: Path) -> None:
    both = [record(region(TWO_PARTS), region(RING, "dog"))]
    joined = write_yolo(both, CATEGORIES, tmp_path / "joined", EXACT)
    assert [line.split()[0] for line in lines_of(tmp_path / "joined")] == ["0", "1"]
    assert joined.notes == {"regions whose parts were joined by lines": 1, "regions whose holes were filled": 1}
    assert joined.lowest_iou == mask_iou(fill_holes(RING), RING)
    split = write_yolo(both, CATEGORIES, tmp_path / "split", YoloOptions(tolerance_px=0, split_parts=True))
    assert [line.split()[0] for line in lines_of(tmp_path / "split")] == ["0", "0", "1"]
    assert split.notes == {"regions split into their parts": 1, "regions whose holes were filled": 1}
    assert (split.regions_in, split.regions_out, split.left_out) == (2, 3, {})


def test_a_drawn_polygon_is_written_as_it_is_unless_it_says_something_else(tmp_path: Path) -> None:
    inside = ((3.0, 2.0), (24.0, 2.0), (12.0, 15.0))
    beyond = ((20.0, 2.0), (50.0, 2.0), (50.0, 40.0))  # clipped corner by corner it would be another triangle
    drawn = [region(polygons_to_mask([points], SIZE_HW), polygon=points) for points in (inside, beyond)]
    counts = write_yolo([record(*drawn)], CATEGORIES, tmp_path / "out", EXACT)
    assert counts.lowest_iou == 1.0
    assert lines_of(tmp_path / "out")[0] == polygon_to_line(0, np.array(inside), SIZE_HW)
    capped = write_yolo([record(drawn[0])], CATEGORIES, tmp_path / "capped", YoloOptions(max_vertices=3))
    assert (capped.lowest_iou, len(lines_of(tmp_path / "capped")[0].split())) == (1.0, 7)


def test_the_layout_is_that_of_ultralytics(tmp_path: Path) -> None:
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(tmp_path / "pictures" / "a" / "cat.jpg")
    half = np.zeros(SIZE_HW, dtype=np.bool_)
    half[:10, :15] = True
    counts = write_yolo(
        [record(region(half, "dog")), record(image="b.jpg")],
        CATEGORIES,
        tmp_path / "out",
        image_folder=tmp_path / "pictures",
    )
    assert lines_of(tmp_path / "out") == ["1 0 0 0.5 0 0.5 0.5 0 0.5"]
    assert lines_of(tmp_path / "out", "b.txt") == []  # a negative image
    assert (tmp_path / "out" / "images" / "a" / "cat.jpg").is_file()
    assert '  0: "cat"\n  1: "dog"\n' in (tmp_path / "out" / "data.yaml").read_text()
    assert counts.left_out == {"image file that is not in the folder": 1}
    assert isinstance(counts, YoloCounts)
    dataset = read_yolo(tmp_path / "out")
    assert (dataset.categories, dataset.labels) == (
        (DatasetCategory(1, "cat"), DatasetCategory(2, "dog")),
        ("a/cat.txt", "b.txt"),
    )
    pictures = tmp_path / "out" / "images"
    cat, missing = yolo_to_records(dataset, folder_sizes(pictures), folder_names(pictures), ImagePlace("/data/"))
    assert (cat.image, cat.size_hw) == ("/data/a/cat.jpg", (20, 30))
    assert np.array_equal(cat.annotations[0].regions[0].mask(), half)
    assert (missing.image, missing.left_out[0].where) == ("", "labels/b.txt")


def test_a_drawn_polygon_is_written_as_it_was_drawn(tmp_path: Path) -> None:
    points = ((3.0, 2.0), (27.0, 5.0), (15.0, 18.0))
    drawn = region(polygons_to_mask([np.array(points)], SIZE_HW), polygon=points)
    write_yolo([record(drawn)], CATEGORIES, tmp_path / "out")
    assert lines_of(tmp_path / "out") == ["0 0.1 0.1 0.9 0.25 0.5 0.9"]


def test_a_region_of_a_thousand_parts_is_joined_in_little_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((200, 300)) < 0.15
    counts = write_yolo([record(region(noise), size_hw=noise.shape)], CATEGORIES, tmp_path / "out", EXACT)
    assert len(mask_to_polygons(noise, 0)) > 1000
    assert counts.regions_out == 1


@given(arrays(np.float64, (4, 2), elements=st.floats(0, 20)), st.integers(0, 90))
def test_a_line_survives_to_a_thousandth_of_a_pixel(polygon: np.ndarray, number: int) -> None:
    shape = line_to_shape(polygon_to_line(number, polygon, (20, 30)), (20, 30))
    assert (shape.number, shape.score) == (number, None)
    assert np.allclose(shape.polygon, polygon, atol=1e-3)


def test_boxes_and_scores_are_read() -> None:
    box = line_to_shape("3 0.5 0.5 0.2 0.4", (10, 100))
    assert box.polygon.tolist() == [[40, 3], [60, 3], [60, 7], [40, 7]]
    assert line_to_shape("3 0.5 0.5 0.2 0.4 0.9", (10, 100)).score == 0.9
    assert line_to_shape("0 0 0 1 0 1 1 0.25", (10, 10)).score == 0.25


BROKEN_LINES = [
    ("cat 0 0 1 0 1 1", "expected 'class x y x y ...' in numbers"),
    ("0 0 0 1 0 1 one", "expected 'class x y x y ...' in numbers"),
    ("1.5 0 0 1 0 1 1", "expected 'class x y x y ...' in numbers"),
    ("0", "expected a class from 0, then 4 values of a box or 6 and more"),
    ("0 0.1 0.2", "expected a class from 0, then 4 values"),
    ("-1 0 0 1 0 1 1", "expected a class from 0, then 4 values"),
    ("0 0 0 1 0 1 nan", "expected shares of the image's sides"),
    ("0 0 0 1 0 1 inf", "expected shares of the image's sides"),
    ("0 10 20 300 40 50 60", "expected shares of the image's sides"),
    ("0 0 0 1 0 1 1 7", "expected a score from 0 to 1 after the last pair, got 7.0"),
    ("9 0 0 1 0 1 1", "expected a class of data.yaml (0 to 1), got 9"),
    ("0 0 0 0 0 0 0", "expected a polygon around the centre of a pixel or more, got none"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN_LINES)
def test_a_line_that_cannot_be_read_is_listed_and_stops_nothing(tmp_path: Path, line: str, message: str) -> None:
    write_yolo([record(region(TWO_PARTS))], CATEGORIES, tmp_path / "out")
    path = tmp_path / "out" / "labels" / "a" / "cat.txt"
    path.write_text(f"\n{line}\n{path.read_text()}")
    (found,) = read(tmp_path / "out")
    assert [r.id for r in found.annotations[0].regions] == ["3"]
    assert found.left_out[0].reason == "unreadable line"
    assert found.left_out[0].where.startswith("a/cat.txt, line 2: ")
    assert message in found.left_out[0].where


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"\xff\xfe0 0 0"), "expected text in UTF-8"),
        (lambda path: path.write_bytes(bytes((1 << 26) + 1)), "expected a label file of at most 67108864 bytes"),
    ],
)
def test_a_label_file_that_cannot_be_read_is_listed(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    write_yolo([record(region(TWO_PARTS))], CATEGORIES, tmp_path / "out")
    damage(tmp_path / "out" / "labels" / "a" / "cat.txt")
    (found,) = read(tmp_path / "out")
    assert found.annotations == ()
    assert message in found.left_out[0].where


def test_scores_make_predictions_and_large_images_are_left_out(tmp_path: Path) -> None:
    write_yolo([record(region(TWO_PARTS))], CATEGORIES, tmp_path / "out")
    (tmp_path / "out" / "labels" / "a" / "cat.txt").write_text("0 0 0 1 0 1 1 0.25\n")
    (found,) = read(tmp_path / "out")
    assert (found.annotations, found.predictions[0].regions[0].score) == ((), 0.25)
    (large,) = read(tmp_path / "out", max_pixels=100)
    assert "expected an image of at most 100 pixels" in large.left_out[0].where


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    with pytest.raises(YOLOError, match=r"expected label files \(.txt\) in .*labels, got none"):
        read_yolo(tmp_path)
    with pytest.raises(OutputError, match="got one that holds files"):
        write_yolo([record()], CATEGORIES, tmp_path)
    with pytest.raises(YOLOError, match=r"expected at least one image .*: image name that cannot be a file"):
        write_yolo([record(image="../x.jpg")], CATEGORIES, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data.yaml"]
