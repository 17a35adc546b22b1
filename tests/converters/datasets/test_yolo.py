"""YOLO segmentation: what is written, how well it agrees with the masks, and that Ultralytics finds it."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from converters.datasets.yolo import (
    YoloCounts,
    YoloOptions,
    box_to_line,
    join_polygons,
    label_path,
    line_to_shape,
    polygon_to_line,
    write_yolo,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import fill_holes, mask_iou
from converters.encodings.polygons import mask_to_polygons, polygons_to_mask
from converters.errors import OutputError, YOLOError
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


@given(st.lists(masks, min_size=1, max_size=3))
def test_masks_survive_but_for_their_holes(tmp_path_factory: pytest.TempPathFactory, drawn: list[np.ndarray]) -> None:
    folder = tmp_path_factory.mktemp("yolo") / "out"
    counts = write_yolo([record(*map(region, drawn))], CATEGORIES, folder, EXACT)
    back = [polygons_to_mask([line_to_shape(line, SIZE_HW).polygon], SIZE_HW) for line in lines_of(folder)]
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


@given(st.floats(0, 20), st.floats(0, 10), st.floats(0.01, 10), st.floats(0.01, 10))
def test_a_box_survives_to_a_thousandth_of_a_pixel(x: float, y: float, width: float, height: float) -> None:
    shape = line_to_shape(box_to_line(3, (x, y, width, height), SIZE_HW), SIZE_HW)
    assert (shape.number, shape.is_box) == (3, True)
    assert np.allclose(shape.polygon[[0, 2]], [(x, y), (x + width, y + height)], atol=1e-3)


def test_boxes_are_written_as_boxes(tmp_path: Path) -> None:
    half = np.zeros(SIZE_HW, dtype=np.bool_)
    half[:10, :15] = True
    drawn = region(RING, "dog", box_xywh=(3.0, 2.0, 12.0, 10.0))
    counts = write_yolo(
        [record(drawn, region(half), region(RING))], CATEGORIES, tmp_path / "out", YoloOptions(boxes=True)
    )
    assert lines_of(tmp_path / "out") == ["1 0.3 0.35 0.4 0.5", "0 0.25 0.25 0.5 0.5", "0 0.333333 0.5 0.4 0.6"]
    assert (counts.regions_out, counts.notes) == (3, {"shapes written as their boxes": 1})


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/a/cat.jpg", "labels/a/cat.txt"),
        ("train/images/cat.jpg", "train/labels/cat.txt"),
        ("images/images/cat.jpg", "images/labels/cat.txt"),
        ("images/my images/cat.v2.jpg", "labels/my images/cat.v2.txt"),
        ("cat.jpg", "cat.txt"),
    ],
)
def test_labels_lie_where_ultralytics_looks_for_them(image: str, labels: str) -> None:
    assert label_path(PurePosixPath(image)) == PurePosixPath(labels)


def test_an_image_in_a_folder_images_of_its_own_keeps_its_labels(tmp_path: Path) -> None:
    write_yolo([record(region(TWO_PARTS), image="images/cat.jpg")], CATEGORIES, tmp_path / "out")
    assert (tmp_path / "out/images/labels/cat.txt").is_file()


def test_nothing_is_written_without_an_image_or_over_something(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="got one that holds files"):
        write_yolo([record()], CATEGORIES, tmp_path)
    with pytest.raises(YOLOError, match=r"expected at least one image .*: image name that cannot be a file"):
        write_yolo([record(image="../x.jpg")], CATEGORIES, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("boxes", [False, True])
def test_ultralytics_finds_images_and_labels_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxes: bool
) -> None:
    """Runs where Ultralytics is installed: `pip install '.[ultralytics]'`."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    utils = pytest.importorskip("ultralytics.data.utils")
    names = ["a/cat.jpg", "b.jpg", "images/cat.jpg"]
    for name in names:
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(tmp_path / "pictures" / name)
    regions = [(region(TWO_PARTS), region(RING, "dog")), (), (region(RING),)]
    records = [record(*each, image=name) for each, name in zip(regions, names, strict=True)]
    write_yolo(records, CATEGORIES, tmp_path / "out", YoloOptions(boxes=boxes), image_folder=tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(utils, "check_font", lambda *_: None)  # it would fetch one from the network
    found = utils.check_det_dataset(str(tmp_path / "out" / "data.yaml"), autodownload=False)
    assert found["names"] == {0: "cat", 1: "dog"}
    assert found["train"] == found["val"] == str(tmp_path / "out" / "images")
    files = [str(Path(found["train"], name)) for name in names]
    for file, label, drawn in zip(files, utils.img2label_paths(files), regions, strict=True):
        image, found_boxes, shape, segments, _, missing, _, empty, corrupt, message = utils.verify_image_label(
            (file, label, "", False, 2, 0, 0, False)
        )
        assert (image, shape, missing, corrupt, message) == (file, SIZE_HW, 0, 0, "")
        assert (len(found_boxes), len(segments), bool(empty)) == (len(drawn), 0 if boxes else len(drawn), not drawn)
