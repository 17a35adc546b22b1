"""YOLO datasets read: the layouts that are about, images without labels, boxes, and lines that cannot be read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.yolo import write_yolo
from converters.datasets.yolo_reader import WITHOUT_LABELS, read_yolo, yolo_to_records
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import YOLOError
from converters.files.image_files import folder_sizes
from converters.records import Annotation, DatasetCategory, ImageRecord, Keypoint, Region

SIZE_HW = (20, 30)
GOOD = "0 0 0 0.5 0 0.5 0.5 0 0.5\n"
HALF = np.zeros(SIZE_HW, dtype=np.bool_)
HALF[:10, :15] = True


def make(folder: Path, labels: Mapping[str, str | None], names: str = "names: [cat, dog]\n") -> None:
    """Make a dataset of images by name, each with the text of its label file, None for no file."""
    folder.mkdir(exist_ok=True)
    (folder / "data.yaml").write_text(names)
    for image, text in labels.items():
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE_HW[::-1]).save(folder / image)
        if text is not None:
            path = folder / image.replace("images", "labels").replace(".jpg", ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def read(source: Path, place: ImagePlace | None = None, **more: Any) -> list[ImageRecord]:
    dataset = read_yolo(source)
    return list(yolo_to_records(dataset, folder_sizes(dataset.images), place, **more))


def found_in(records: list[ImageRecord]) -> dict[str, list[tuple[str, ...]]]:
    """Return the labels of the regions of each image."""
    return {record.image: [r.labels for a in record.annotations for r in a.regions] for record in records}


def test_what_we_write_comes_back(tmp_path: Path) -> None:
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(tmp_path / "pictures" / "a" / "cat.jpg")
    drawn = Region("r", ("dog",), "", mask_to_coco_rle(HALF))
    before = [
        ImageRecord(n, name, "image", size_hw=SIZE_HW, annotations=(Annotation(1, (drawn,)),))
        for n, name in enumerate(("a/cat.jpg", "b.jpg"))
    ]
    categories = (DatasetCategory(7, "cat"), DatasetCategory(1, "dog"))
    write_yolo(before, categories, tmp_path / "out", image_folder=tmp_path / "pictures")
    assert read_yolo(tmp_path / "out").categories == (DatasetCategory(1, "cat"), DatasetCategory(2, "dog"))
    cat, missing = read(tmp_path / "out", ImagePlace("/data/"))
    assert (cat.image, cat.size_hw, cat.notes) == ("/data/a/cat.jpg", SIZE_HW, ())
    assert np.array_equal(cat.annotations[0].regions[0].mask(), HALF)
    assert (missing.image, missing.left_out[0].where) == ("", "labels/b.txt")
    assert missing.left_out[0].reason == "image that is not there: its size is unknown"


def test_an_image_without_a_label_file_is_a_negative_and_is_counted(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": GOOD, "images/b.jpg": None, "images/c/d.jpg": ""})
    records = read(tmp_path)
    assert found_in(records) == {"a.jpg": [("cat",)], "b.jpg": [], "c/d.jpg": []}
    assert [len(record.annotations) for record in records] == [1, 1, 1]
    assert [record.notes for record in records] == [(), (WITHOUT_LABELS,), ()]
    assert all(record.left_out == () for record in records)


def test_the_folders_of_roboflow_are_read(tmp_path: Path) -> None:
    labels = {"train/images/a.jpg": GOOD, "valid/images/a.jpg": None, "test/images/b.jpg": GOOD.replace("0 ", "1 ", 1)}
    make(tmp_path, labels, "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    Image.new("RGB", (3, 3)).save(tmp_path / "sheet.png")  # no image of the dataset
    assert found_in(read(tmp_path)) == {
        "test/images/b.jpg": [("dog",)],
        "train/images/a.jpg": [("cat",)],
        "valid/images/a.jpg": [],
    }


def test_labels_beside_their_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "obj.names").write_text("cat\ndog\n\n")
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(GOOD)
    assert found_in(read(tmp_path)) == {"a.jpg": [("cat",)]}


def test_the_export_of_label_studio_itself_is_read(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": GOOD})
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert found_in(read(tmp_path)) == {"a.jpg": [("cat",)]}


def test_a_yaml_file_of_another_name_leads_to_its_dataset(tmp_path: Path) -> None:
    make(tmp_path / "coco8", {"images/train/a.jpg": GOOD})
    (tmp_path / "coco8" / "data.yaml").rename(tmp_path / "coco8" / "coco8.yml")
    assert found_in(read(tmp_path / "coco8")) == {"train/a.jpg": [("cat",)]}
    assert found_in(read(tmp_path / "coco8" / "coco8.yml")) == {"train/a.jpg": [("cat",)]}
    (tmp_path / "my.yaml").write_text("path: coco8\ntrain: images/train\nval: images/train\nnames: {0: cat}\n")
    assert found_in(read(tmp_path / "my.yaml")) == {"train/a.jpg": [("cat",)]}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my.yaml").write_text("path: ../coco8\nnames: {0: cow}\n")
    with pytest.raises(YOLOError, match=r"expected images in .*other, for the sizes, got 0 label files"):
        read(tmp_path / "other" / "my.yaml")
    dataset = read_yolo(tmp_path / "coco8", data_yaml=tmp_path / "other" / "my.yaml")
    assert (dataset.data.names, len(dataset.files)) == ({0: "cow"}, 1)


def test_images_may_lie_in_another_folder(tmp_path: Path) -> None:
    make(tmp_path / "set", {"images/a/b.jpg": GOOD})
    (tmp_path / "set" / "images").rename(tmp_path / "pictures")
    dataset = read_yolo(tmp_path / "set", images=tmp_path / "pictures")
    records = list(yolo_to_records(dataset, folder_sizes(dataset.images)))
    assert found_in(records) == {"a/b.jpg": [("cat",)]}


def test_images_may_lie_in_any_folder_of_the_dataset(tmp_path: Path) -> None:
    make(tmp_path, {"images/a/b.jpg": GOOD})
    (tmp_path / "images").rename(tmp_path / "pictures")
    dataset = read_yolo(tmp_path, images=tmp_path / "pictures")
    records = list(yolo_to_records(dataset, folder_sizes(dataset.images)))
    assert found_in(records) == {"a/b.jpg": [("cat",)]}


def test_a_box_is_a_box_inside_its_image(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": f"0 0.5 0.5 0.2 0.4\n1 0.9 0.5 0.4 0.4 0.75\n{GOOD}"})
    (found,) = read(tmp_path)
    boxes = [region.box_xywh for region in found.predictions[0].regions]
    assert boxes == [pytest.approx((12, 6, 6, 8)), pytest.approx((21, 6, 9, 8)), None]
    assert found.predictions[0].regions[1].score == 0.75


NOSE, TAIL = Keypoint("nose", 3, 4, is_hidden=True), Keypoint("tail", 15, 10)
POSE = "names: [cat]\nkpt_shape: [2, {values}]\n{names}"


@pytest.mark.parametrize(
    ("values", "names", "line", "found"),
    [
        (
            3,
            "kpt_names: {0: [nose, tail]}\n",
            "0.1 0.2 1 0.5 0.5 2",
            (Keypoint("nose", 3, 4, is_hidden=True), Keypoint("tail", 15, 10)),
        ),
        (3, "kpt_names: [nose, tail]\n", "0 0 0 0.5 0.5 2", (TAIL,)),
        (2, "", "0.1 0.2 0 0", (Keypoint("1", 3, 4),)),
    ],
)
def test_the_points_of_a_pose_follow_its_box(
    tmp_path: Path, values: int, names: str, line: str, found: tuple[Keypoint, ...]
) -> None:
    make(
        tmp_path,
        {"images/a.jpg": f"0 0.5 0.5 0.2 0.4 {line}\n0 0.5 0.5 0.2 0.4\n"},
        POSE.format(values=values, names=names),
    )
    (record,) = read(tmp_path)
    first, second = record.annotations[0].regions
    assert first.box_xywh == second.box_xywh == pytest.approx((12, 6, 6, 8))
    assert (first.keypoints, second.keypoints, record.left_out) == (found, (), ())
    assert read_yolo(tmp_path).categories[0].keypoints == (("nose", "tail") if names else ("1", "2"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.4 0.1 0.1 2", "expected a class, a box and 2 times 3 values, as kpt_shape says"),
        ("0 0.5 0.5 0.2 0.4 x 0 0 0 0 0", "expected points in numbers"),
        ("0 0.5 0.5 0.2 0.4 nan 0 2 0 0 0", "expected shares of the image's sides"),
        ("0 0.5 0.5 0.2 0.4 90 0 2 0 0 0", "expected shares of the image's sides"),
    ],
)
def test_a_pose_that_cannot_be_read_is_listed(tmp_path: Path, line: str, message: str) -> None:
    make(tmp_path, {"images/a.jpg": f"{line}\n"}, POSE.format(values=3, names=""))
    (record,) = read(tmp_path)
    assert (record.left_out[0].reason, record.annotations) == ("unreadable line", ())  # no negative
    assert message in record.left_out[0].where


def test_a_class_may_be_written_as_other_tools_write_numbers(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": GOOD.replace("0 ", "1.0 ", 1) + GOOD.replace("0 ", "0.5 ", 1)})
    (record,) = read(tmp_path)
    assert [region.labels for region in record.annotations[0].regions] == [("dog",)]
    assert [item.reason for item in record.left_out] == ["unreadable line"]


def test_two_numbers_of_one_name_are_one_category(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": GOOD + GOOD.replace("0 ", "2 ", 1)}, "names: [cat, dog, cat]\n")
    assert read_yolo(tmp_path).categories == (DatasetCategory(1, "cat"), DatasetCategory(2, "dog"))
    assert found_in(read(tmp_path)) == {"a.jpg": [("cat",), ("cat",)]}


def test_an_image_that_is_none_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": GOOD, "images/b.jpg": None})
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.jpg").write_text("no picture")
    records = read(tmp_path)
    assert [record.image for record in records] == ["", ""]
    assert [record.left_out[0].where for record in records] == ["labels/a.txt", "b.jpg"]
    assert records[0].left_out[0].reason == "image that cannot be read: its size is unknown"


BROKEN_LINES = [
    ("cat 0 0 1 0 1 1", "expected 'class x y x y ...' in numbers"),
    ("0 0 0 1 0 1 one", "expected 'class x y x y ...' in numbers"),
    ("1.5 0 0 1 0 1 1", "expected a class from 0"),
    ("0", "expected a class from 0, then 4 values of a box or 6 and more"),
    ("0 0.1 0.2", "expected a class from 0, then 4 values"),
    ("-1 0 0 1 0 1 1", "expected a class from 0, then 4 values"),
    ("0 0 0 1 0 1 nan", "expected shares of the image's sides"),
    ("0 0 0 1 0 1 inf", "expected shares of the image's sides"),
    ("0 10 20 300 40 50 60", "expected shares of the image's sides"),
    ("0 0 0 1 0 1 1 7", "expected a score from 0 to 1 after the last pair, got 7.0"),
    ("9 0 0 1 0 1 1", "expected a class of data.yaml (0 to 1), got 9"),
    ("0 0 0 0 0 0 0", "expected a polygon or box around the centre of a pixel or more, got none"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN_LINES)
def test_a_line_that_cannot_be_read_is_listed_and_stops_nothing(tmp_path: Path, line: str, message: str) -> None:
    make(tmp_path, {"images/a/cat.jpg": f"\n{line}\n{GOOD}"})
    (found,) = read(tmp_path)
    assert [r.id for r in found.annotations[0].regions] == ["3"]
    assert found.left_out[0].reason == "unreadable line"
    assert found.left_out[0].where.startswith("labels/a/cat.txt, line 2: ")
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
    make(tmp_path, {"images/a/cat.jpg": GOOD})
    damage(tmp_path / "labels" / "a" / "cat.txt")
    (found,) = read(tmp_path)
    assert found.annotations == ()
    assert message in found.left_out[0].where


def test_scores_make_predictions_and_large_images_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, {"images/a/cat.jpg": "0 0 0 1 0 1 1 0.25\n"})
    (found,) = read(tmp_path)
    assert (found.annotations, found.predictions[0].regions[0].score) == ((), 0.25)
    (large,) = read(tmp_path, max_pixels=100)
    assert "expected an image of at most 100 pixels" in large.left_out[0].where


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"data.yaml": "names: [cat]"},
            "expected images in .*, for the sizes, got 0 label files and no image: name the folder",
        ),
        ({}, "expected a data.yaml, another YAML file or classes.txt or obj.names .* got none: name the file with"),
        ({"a.yaml": "names: [cat]", "b.yml": "names: [dog]"}, "got a.yaml, b.yml: name the file with --data-yaml"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(YOLOError, match=message):
        read_yolo(tmp_path)
