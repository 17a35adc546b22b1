"""YOLO datasets to records: the layout that `yolo` writes, and the others that are about.

    DIR/*.yaml or classes.txt                            category names (`data_yaml`)
    DIR/images/a/cat.jpg     DIR/labels/a/cat.txt        Ultralytics
    DIR/train/images/a.jpg   DIR/train/labels/a.txt      Roboflow
    DIR/a.jpg                DIR/a.txt                   Darknet

Every image of the folder is read, whichever of `train` and `val` it belongs to; its labels are where `yolo.label_path`
says. An image without a label file is an image without a region: that is how YOLO writes negatives. File names are
relative to DIR/images where there is such a folder, else to DIR.

A polygon becomes a region, and a line "class x y width height" a box. One number more at the end of a line is a score.
Where data.yaml has `kpt_shape`, the points of a pose follow the box.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.data_yaml import YAML_SUFFIXES, DataYaml, read_data_yaml
from converters.datasets.yolo import (
    BOX_VALUES,
    DATA_NAME,
    IMAGES_NAME,
    LABELS_NAME,
    YoloShape,
    label_path,
    line_to_shape,
)
from converters.encodings.coco_rle import box_to_coco_rle, coco_rle_area, mask_to_coco_rle
from converters.encodings.masks import MAX_PIXELS, require_size
from converters.encodings.polygons import polygons_to_mask
from converters.errors import ConverterError, YOLOError
from converters.files.image_files import SizeLookup, folder_images
from converters.records import Annotation, DatasetCategory, ImageRecord, Keypoint, LeftOut, Prediction, Region

NAME_LISTS = ("classes.txt", "obj.names")
"""The files of category names that other tools write in place of a data.yaml: Label Studio, LabelImg, Darknet."""

WITHOUT_LABELS = "images without a label file, read as images without a region"
"""The note that is counted for each such image."""

_MAX_FILE_BYTES = 1 << 26


@dataclass(frozen=True)
class YoloFile:
    """An image and its label file.

    Attributes:
        file_name: the image's name, relative to the folder of images; None if the labels belong to no image.
        labels: the label file, None if the image has none.
    """

    file_name: str | None
    labels: Path | None


@dataclass(frozen=True)
class YoloDataset:
    """A YOLO dataset: its folder, the folder that file names are relative to, its data.yaml, and its files."""

    folder: Path
    images: Path
    data: DataYaml
    files: tuple[YoloFile, ...]

    @property
    def categories(self) -> tuple[DatasetCategory, ...]:
        """The categories in order of their numbers, with ids from 1; two numbers of one name are one category."""
        by_name: dict[str, int] = {}
        for number, name in sorted(self.data.names.items()):
            by_name.setdefault(name, number)
        points = self.data.keypoints
        return tuple(DatasetCategory(number + 1, name, keypoints=points) for name, number in by_name.items())


def read_yolo(source: Path, *, images: Path | None = None, data_yaml: Path | None = None) -> YoloDataset:
    """Read the category names of a dataset, and list its images and label files.

    Args:
        source: the folder of the dataset, or its data.yaml, which may have another name. A `path` in it is followed
            if it leads to a folder inside the folder of the file.
        images: the folder of the images if they are not in the dataset; labels/ has the same folders inside.
        data_yaml: the file of category names if it is not in the folder.

    Raises:
        YOLOError: the category names cannot be read, or there is no image and no label file.
        OSError: a file cannot be opened.
    """
    folder = source if source.is_dir() else source.parent
    path = data_yaml or (_names_file(source) if source.is_dir() else source)
    data = read_data_yaml(path)
    if data_yaml is None:
        folder = _inner_folder(folder, data)
    place = images or (folder / IMAGES_NAME if (folder / IMAGES_NAME).is_dir() else folder)
    files = tuple(_files(folder, place))
    if all(file.file_name is None for file in files):
        raise YOLOError(
            f"expected images in {place}, for the sizes, got {len(files)} label files and no image: name the folder of "
            "the dataset, and that of the images with --images if it is another"
        )
    return YoloDataset(folder, place, data, files)


def _names_file(folder: Path) -> Path:
    """Return the file of category names in a folder."""
    if (folder / DATA_NAME).is_file():
        return folder / DATA_NAME
    yamls = sorted(path for path in folder.iterdir() if path.suffix.lower() in YAML_SUFFIXES and path.is_file())
    lists = [folder / name for name in NAME_LISTS if (folder / name).is_file()]
    if len(yamls) == 1 or (not yamls and lists):
        return (*yamls, *lists)[0]
    found = ", ".join(path.name for path in yamls) or "none"
    raise YOLOError(
        f"{folder}: expected a {DATA_NAME}, another YAML file or {' or '.join(NAME_LISTS)} with the category names, "
        f"got {found}: name the file with --data-yaml"
    )


def _inner_folder(folder: Path, data: DataYaml) -> Path:
    """Return the folder that `path` of a data.yaml names, if it lies inside the folder of that file."""
    inner = folder / data.path
    try:
        is_inside = inner.is_dir() and inner.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a NUL, a name of a thousand letters
        return folder
    return inner if is_inside else folder


def _files(folder: Path, images: Path) -> Iterator[YoloFile]:
    """Yield the images with their label files, then the label files that belong to no image."""
    names = folder_images(images)
    if images == folder and any(IMAGES_NAME in PurePosixPath(name).parts[:-1] for name in names):
        names = [name for name in names if IMAGES_NAME in PurePosixPath(name).parts[:-1]]
    used: set[Path] = set()
    for name in names:
        labels = _labels_of(name, folder, images)
        used |= {labels} if labels else set()
        yield YoloFile(name, labels)
    for path in sorted(folder.rglob("*.txt")):
        if LABELS_NAME in path.relative_to(folder).parts[:-1] and path not in used and path.name not in NAME_LISTS:
            yield YoloFile(None, path)


def _labels_of(name: str, folder: Path, images: Path) -> Path | None:
    """Return the label file of an image, None if it has none."""
    inside = [PurePosixPath(images.relative_to(folder).as_posix())] if images.is_relative_to(folder) else []
    candidates = [label_path(above / name) for above in (*inside, PurePosixPath(IMAGES_NAME), PurePosixPath())]
    return next((folder / path for path in candidates if (folder / path).is_file()), None)


def yolo_to_records(
    dataset: YoloDataset, size_of: SizeLookup, place: ImagePlace | None = None, *, max_pixels: int = MAX_PIXELS
) -> Iterator[ImageRecord]:
    """Convert a YOLO dataset to one record for each image, one at a time; a line is a region.

    Args:
        dataset: a dataset as `read_yolo` returns it.
        size_of: a look-up of the size of an image by its file name, for example
            `image_files.folder_sizes(dataset.images)`. The lines hold shares of that size.
        place: where the images will be shown.
        max_pixels: leave out larger images.
    """
    place = place or ImagePlace()
    for file in dataset.files:
        where = file.labels.relative_to(dataset.folder).as_posix() if file.labels else str(file.file_name)
        size_hw = size_of(file.file_name) if file.file_name else None
        if file.file_name is None or size_hw is None:
            what = "image that is not there" if file.file_name is None else "image that cannot be read"
            left_out = (LeftOut(f"{what}: its size is unknown", where),)
            yield ImageRecord(None, "", place.image_tag, left_out=left_out)
            continue
        empty = ImageRecord(None, place.address(file.file_name), place.image_tag, size_hw=size_hw)
        yield _record(dataset.data, file.labels, where, empty, max_pixels)


def _record(data: DataYaml, labels: Path | None, where: str, empty: ImageRecord, max_pixels: int) -> ImageRecord:
    left_out: list[LeftOut] = []
    regions: list[Region] = []
    size_hw = empty.size_hw or (0, 0)
    try:
        require_size(size_hw, max_pixels=max_pixels)
        lines = _lines(labels) if labels else []
    except ConverterError as error:
        return replace(empty, size_hw=None, left_out=(LeftOut("unreadable labels", f"{where}: {error}"),))
    for number, line in lines:
        try:
            box_line, keypoints = _pose(line, data, size_hw)
            region = _region(line_to_shape(box_line, size_hw), str(number), data.names, size_hw)
            regions.append(replace(region, keypoints=keypoints))
        except ConverterError as error:
            left_out.append(LeftOut("unreadable line", f"{where}, line {number}: {error}"))
    if lines and not regions:  # an annotation without a region would say that there is nothing to see
        return replace(empty, left_out=tuple(left_out))
    is_predicted = any(region.score is not None for region in regions)
    return replace(
        empty,
        annotations=() if is_predicted else (Annotation(None, tuple(regions)),),
        predictions=(Prediction(None, tuple(regions)),) if is_predicted else (),
        left_out=tuple(left_out),
        notes=() if labels else (WITHOUT_LABELS,),
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a label file that are not empty, with their line numbers from 1."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise YOLOError(f"expected a label file of at most {_MAX_FILE_BYTES} bytes, got {path.stat().st_size}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise YOLOError(f"expected text in UTF-8, got other bytes: {error}") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _pose(line: str, data: DataYaml, size_hw: tuple[int, int]) -> tuple[str, tuple[Keypoint, ...]]:
    """Return a line of a pose dataset as the line of its box, and its points; any other line as it is."""
    words, values = line.split(), data.keypoint_values
    if not data.keypoints or len(words) == 1 + BOX_VALUES:
        return line, ()
    if len(words) != 1 + BOX_VALUES + len(data.keypoints) * values:
        points_text = f"{len(data.keypoints)} times {values} values, as kpt_shape says"
        raise YOLOError(f"expected a class, a box and {points_text}, got {line!r:.60}")
    try:
        numbers = np.array([float(word) for word in words[1 + BOX_VALUES :]]).reshape(-1, values)
    except ValueError as error:
        raise YOLOError(f"expected points in numbers, got {line!r:.60}") from error
    if not (np.abs(numbers) <= 2).all():
        raise YOLOError(
            f"expected shares of the image's sides (0 to 1) and a visibility of 0, 1 or 2, got {line!r:.60}"
        )
    points = []
    for name, (x, y, *seen) in zip(data.keypoints, numbers.tolist(), strict=True):
        is_placed = seen[0] > 0 if seen else (x, y) != (0, 0)
        if is_placed:
            points.append(Keypoint(name, x * size_hw[1], y * size_hw[0], is_hidden=seen == [1]))
    return " ".join(words[: 1 + BOX_VALUES]), tuple(points)


def _region(shape: YoloShape, region_id: str, names: Mapping[int, str], size_hw: tuple[int, int]) -> Region:
    if shape.number not in names:
        raise YOLOError(f"expected a class of {DATA_NAME} ({min(names)} to {max(names)}), got {shape.number}")
    box = _box(shape, size_hw) if shape.is_box else None
    if box is not None:
        rle = box_to_coco_rle(box, size_hw)
    else:
        rle = mask_to_coco_rle(polygons_to_mask([shape.polygon], size_hw, max_pixels=size_hw[0] * size_hw[1]))
    if not coco_rle_area(rle):
        raise YOLOError("expected a polygon or box around the centre of a pixel or more, got none")
    return Region(
        id=region_id,
        labels=(names[shape.number],),
        control="",
        rle=rle,
        polygon=None if shape.is_box else tuple((float(x), float(y)) for x, y in shape.polygon),
        score=shape.score,
        box_xywh=box,
    )


def _box(shape: YoloShape, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of a line in pixels, cut at the borders of the image."""
    (left, top), (right, bottom) = np.clip(shape.polygon[[0, 2]], 0, size_hw[::-1]).tolist()
    return left, top, right - left, bottom - top
