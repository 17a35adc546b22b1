"""Records to YOLO segmentation in Ultralytics' layout: one text file for each image, one polygon in each line.

    DIR/data.yaml          category names by number, from 0 in their order (`data_yaml`)
    DIR/images/a/cat.jpg   the images, copied there if their folder is given
    DIR/labels/a/cat.txt   "class x1 y1 x2 y2 ...": x and y as shares of the image's width and height, 0 to 1

Ultralytics looks for a label file where the last folder `images` of the image's path is called `labels`
(`img2label_paths`), and so does `label_path`: the labels of DIR/images/images/cat.jpg are DIR/images/labels/cat.txt.

YOLO cannot hold everything:

    category ids, region ids, scores   are not written; the class is the category's place in data.yaml
    holes                              are filled, and counted
    several parts of one region        are joined by lines of no width between their nearest corners, there and back,
                                       as Ultralytics joins the parts of COCO (or, with `split_parts`, each part gets a
                                       line of its own)
    pixels                             become polygons within `tolerance_px`; `YoloCounts` says how well they agree

With `YoloOptions.boxes` a line is "class x y width height": the centre and the sides of a box, for a detector.
`yolo_reader` reads datasets of this and other layouts; there, one number more at the end of a line is a score.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from converters.datasets.data_yaml import data_yaml_text
from converters.datasets.image_copies import copy_image
from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh
from converters.encodings.masks import Mask, has_holes, label_parts, mask_box, mask_iou
from converters.encodings.polygons import Polygon, mask_to_polygons, polygons_to_mask
from converters.errors import YOLOError
from converters.files.image_files import SizeLookup
from converters.files.output import new_folder
from converters.records import DatasetCategory, ImageRecord, Region
from converters.selection import (
    ConversionCounts,
    SelectedImage,
    Selection,
    Tally,
    labelled_regions,
    require_distinct,
    select_images,
    with_own_file,
)

DATA_NAME, IMAGES_NAME, LABELS_NAME = "data.yaml", "images", "labels"
_DECIMALS = 6  # a hundredth of a pixel in an image of 10,000
_BEYOND = 1.0  # coordinates may lie outside the image by this share of its side
BOX_VALUES = 4


def label_path(image: PurePosixPath) -> PurePosixPath:
    """Return where Ultralytics looks for the labels of an image: the last folder `images` of its path is `labels`.

    >>> label_path(PurePosixPath("train/images/a.jpg"))
    PurePosixPath('train/labels/a.txt')
    """
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == IMAGES_NAME]
    if places:
        parts[places[-1]] = LABELS_NAME
    return PurePosixPath(*parts).with_suffix(".txt")


@dataclass(frozen=True)
class YoloOptions(Selection):
    """The choice of what goes into a YOLO dataset (see `Selection`), and in which form.

    Attributes:
        boxes: write the box of each region, for a detector, and no polygon. Ultralytics takes a dataset as boxes alone
            as soon as one label file of it has boxes, so there is no mixture.
        tolerance_px: how far a polygon may lie from the region's outline, in pixels.
        max_vertices: the largest number of points in a part (None: any number).
    """

    boxes: bool = False
    tolerance_px: float = 1.0
    max_vertices: int | None = None


@dataclass(frozen=True)
class YoloCounts(ConversionCounts):
    """The counts of a conversion to YOLO, and the IoU of the written lines with the masks (1.0 if there is no line)."""

    lowest_iou: float = 1.0
    mean_iou: float = 1.0


# ---------------------------------------------------------------- polygons


def join_polygons(polygons: Sequence[Polygon]) -> Polygon:
    """Join polygons to one: a line of no width leads from each polygon to the next between their nearest corners.

    The line goes there and back and encloses nothing, so the joined polygon holds the pixels of all polygons. The time
    grows with the product of the corners of two neighbours.

    Args:
        polygons: one or more, each (n, 2).
    """
    there: list[Polygon] = []
    back: list[Polygon] = []
    entry = 0
    for polygon, following in pairwise(polygons):
        leave, arrive = _nearest_corners(polygon, following)
        ring = _ring_from(polygon, entry)
        leave = (leave - entry) % len(polygon)
        there.append(ring[: leave + 1])
        back.append(ring[leave:])
        entry = arrive
    return np.concatenate((*there, _ring_from(polygons[-1], entry), *reversed(back)))


def _ring_from(polygon: Polygon, first: int) -> Polygon:
    """Return the corners of a polygon, beginning with one of them, and closed: that corner comes last again."""
    return np.concatenate((polygon[first:], polygon[: first + 1]))


def _nearest_corners(first: Polygon, second: Polygon) -> tuple[int, int]:
    """Return the positions of the two corners, one in each polygon, that are nearest to each other."""
    if len(first) < len(second):
        there, here = _nearest_corners(second, first)
        return here, there
    best = (np.inf, 0, 0)
    for position, corner in enumerate(second):
        distances = np.hypot(*(first - corner).T)
        nearest = int(distances.argmin())
        best = min(best, (float(distances[nearest]), nearest, position))
    return best[1], best[2]


def polygon_to_line(number: int, polygon: Polygon, size_hw: tuple[int, int]) -> str:
    """Return a line of a label file: the class and the polygon as shares of the image's sides."""
    return _line(number, np.clip(polygon / (size_hw[1], size_hw[0]), 0, 1).ravel())


def box_to_line(number: int, box_xywh: Sequence[float], size_hw: tuple[int, int]) -> str:
    """Return a line of a label file: the class, and the centre and sides of a box as shares of the image's sides."""
    x, y, width, height = box_xywh
    centre_and_sides = np.array((x + width / 2, y + height / 2, width, height))
    return _line(number, centre_and_sides / (size_hw[1], size_hw[0], size_hw[1], size_hw[0]))


def _line(number: int, shares: Iterable[float]) -> str:
    return " ".join((str(number), *(f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".") for value in shares)))


@dataclass(frozen=True)
class YoloShape:
    """One line of a label file.

    Attributes:
        number: the class.
        polygon: the corners, (n, 2) in pixels; of a box, the four from the upper left one on.
        score: the score, None if the line has none.
        is_box: whether the line is a box.
    """

    number: int
    polygon: Polygon
    score: float | None = None
    is_box: bool = False


def line_to_shape(line: str, size_hw: tuple[int, int]) -> YoloShape:
    """Read a line of a label file: a polygon or a box, with or without a score.

    Raises:
        YOLOError: the line is neither.
    """
    words = line.split()
    try:
        values = np.array([float(word) for word in words[1:]])
        class_number = float(words[0])  # some tools write 0.0, which Ultralytics reads
        number = int(class_number) if class_number.is_integer() else -1
    except (ValueError, IndexError, OverflowError) as error:
        raise YOLOError(f"expected 'class x y x y ...' in numbers, got {line!r:.60}") from error
    score = None
    if values.size % 2 and values.size > BOX_VALUES:
        values, score = values[:-1], float(values[-1])
    if values.size % 2 or values.size < BOX_VALUES or number < 0:
        raise YOLOError(f"expected a class from 0, then 4 values of a box or 6 and more of a polygon, got {line!r:.60}")
    if not (np.abs(values - 0.5) <= 0.5 + _BEYOND).all():
        raise YOLOError(f"expected shares of the image's sides (0 to 1), got {line!r:.60}")
    if score is not None and not 0 <= score <= 1:
        raise YOLOError(f"expected a score from 0 to 1 after the last pair, got {score!r}")
    is_box = values.size == BOX_VALUES
    shares = _box_corners(values) if is_box else values.reshape(-1, 2)
    return YoloShape(number, shares * (size_hw[1], size_hw[0]), score, is_box)


def _box_corners(values: Polygon) -> Polygon:
    """Return the corners of a box given by its centre and its sides."""
    x, y, width, height = values
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    corners: Polygon = np.array((x, y)) + signs * (width / 2, height / 2)
    return corners


# ---------------------------------------------------------------- out


def write_yolo(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    folder: Path,
    options: YoloOptions | None = None,
    size_of: SizeLookup | None = None,
    image_folder: Path | None = None,
) -> YoloCounts:
    """Write records as a YOLO dataset, image by image, into a new folder that appears whole or not at all.

    Args:
        records: the images, read once, one at a time.
        categories: the categories, for example from `categories.categories_of`; they are numbered from 0 in this order.
        folder: the folder to write; it must be empty or not there yet.
        options: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region.
        image_folder: the folder to copy the images from, by their file names (None: no image is copied).

    Raises:
        RecordError: two categories share a name or an id.
        YOLOError: there was no image to write.
        OutputError: the folder is not empty or cannot be written.
    """
    options = options or YoloOptions()
    numbers = {name: number for number, name in enumerate(require_distinct(categories))}
    tally = Tally()
    lines = _LineWriter(options, tally)
    with new_folder(folder) as partial:
        for part in (IMAGES_NAME, LABELS_NAME):
            (partial / part).mkdir()
        (partial / DATA_NAME).write_text(data_yaml_text(list(numbers)), encoding="utf-8", newline="\n")
        for image, name in with_own_file(select_images(records, options, size_of, tally, numbers), ".txt", tally):
            path = partial / label_path(IMAGES_NAME / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines.of(image, numbers)), encoding="ascii", newline="\n")
            tally.images_out += 1
            if image_folder is not None:
                copy_image(image, image_folder, partial / IMAGES_NAME, tally)
        if not tally.images_out:
            raise YOLOError(f"expected at least one image for {folder}, got none: {tally.counts().reasons()}")
    return YoloCounts(**vars(tally.counts()), lowest_iou=lines.lowest_iou, mean_iou=lines.mean_iou)


class _LineWriter:
    """Makes the lines of each image, and keeps how well the lines agree with the masks."""

    def __init__(self, options: YoloOptions, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._iou_sum = 0.0
        self._regions = 0
        self.lowest_iou = 1.0

    @property
    def mean_iou(self) -> float:
        return self._iou_sum / self._regions if self._regions else 1.0

    def of(self, image: SelectedImage, numbers: Mapping[str, int]) -> Iterator[str]:
        for region, number in labelled_regions(image, numbers, self._tally):
            if self._options.boxes:
                yield self._box(region, number)
                continue
            mask = region.mask()
            lines = [polygon_to_line(number, polygon, image.size_hw) for polygon in self._polygons(region, mask)]
            written = polygons_to_mask(
                [line_to_shape(line, image.size_hw).polygon for line in lines],
                image.size_hw,
                max_pixels=mask.size,
            )
            iou = mask_iou(written, mask)
            self.lowest_iou = min(self.lowest_iou, iou)
            self._iou_sum += iou
            self._regions += 1
            self._tally.regions_out += len(lines)
            yield from lines

    def _box(self, region: Region, number: int) -> str:
        self._tally.regions_out += 1
        box = region.box_xywh or coco_rle_bbox_xywh(region.rle)
        is_box = region.box_xywh is not None or coco_rle_area(region.rle) == box[2] * box[3]
        self._tally.note("shapes written as their boxes", int(not is_box))
        return box_to_line(number, box, region.size_hw)

    def _polygons(self, region: Region, mask: Mask) -> list[Polygon]:
        """Return the polygons of a region, one for each line that is written."""
        drawn = region.drawn_polygon(self._options.max_vertices)
        if drawn is not None and label_parts(mask[mask_box(mask)])[1] == 1:
            return [drawn]
        parts = mask_to_polygons(mask, self._options.tolerance_px, self._options.max_vertices)
        self._tally.note("regions whose holes were filled", int(has_holes(mask)))
        self._tally.note("regions whose parts were joined by lines", int(len(parts) > 1))
        return [parts[0] if len(parts) == 1 else join_polygons(parts)]
