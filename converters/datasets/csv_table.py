"""One CSV file, a row for each region: for spreadsheets and pandas.

    image, image_width, image_height, task, region, category, category_id, x, y, width, height, area_px, score, origin

The box is in pixels of the image, from its upper left corner at 0, 0, as in COCO. An image without a region has one row
with empty cells after the task, so that negatives are not lost.

A table cannot hold the shapes, which are counted: only their boxes and areas are in it. Cells that a spreadsheet would
take for formulas get an apostrophe in front (`files.csv_text`). Nothing reads the table back; `coco` is for that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh
from converters.errors import CSVError
from converters.files.csv_text import Cell, write_csv
from converters.files.image_files import SizeLookup
from converters.files.output import new_file
from converters.records import DatasetCategory, ImageRecord
from converters.selection import (
    ConversionCounts,
    SelectedImage,
    Selection,
    Tally,
    labelled_regions,
    require_distinct,
    select_images,
)

COLUMNS = (
    "image",
    "image_width",
    "image_height",
    "task",
    "region",
    "category",
    "category_id",
    "x",
    "y",
    "width",
    "height",
    "area_px",
    "score",
    "origin",
)


def write_csv_table(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    path: Path,
    options: Selection | None = None,
    size_of: SizeLookup | None = None,
) -> ConversionCounts:
    """Write records as a CSV file, row by row; the file appears whole or not at all.

    Args:
        records: the images, read once, one at a time.
        categories: the categories, for example from `categories.categories_of`.
        path: the file to write.
        options: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region.

    Raises:
        RecordError: two categories share a name or an id.
        CSVError: there was no image to write.
        OutputError: the file cannot be written.
    """
    ids = require_distinct(categories)
    tally = Tally()
    with new_file(path) as file:
        images = select_images(records, options or Selection(), size_of, tally, ids)
        write_csv(file, COLUMNS, (row for image in images for row in _rows(image, ids, tally)))
        if not tally.images_out:
            raise CSVError(f"expected at least one image for {path.name}, got none: {tally.counts().reasons()}")
    return tally.counts()


def _rows(image: SelectedImage, ids: Mapping[str, int], tally: Tally) -> Iterator[tuple[Cell, ...]]:
    names = {number: name for name, number in ids.items()}
    height, width = image.size_hw
    head: tuple[Cell, ...] = (image.file_name, width, height, image.task_id)
    tally.images_out += 1
    is_empty = True
    for region, number in labelled_regions(image, ids, tally):
        is_empty = False
        box = tuple(round(side, 3) for side in region.box_xywh or map(int, coco_rle_bbox_xywh(region.rle)))
        area_px = coco_rle_area(region.rle)
        tally.regions_out += 1
        is_box = region.box_xywh is not None or _fills(box, area_px)
        tally.note("shapes of which only box and area were written", int(not is_box))
        yield (*head, region.id, names[number], number, *box, area_px, region.score, region.origin)
    if is_empty:
        yield (*head, *(None for _ in COLUMNS[len(head) :]))


def _fills(box_xywh: Sequence[float], area_px: int) -> bool:
    return box_xywh[2] * box_xywh[3] == area_px
