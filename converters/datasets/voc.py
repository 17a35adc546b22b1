"""PASCAL VOC's XML, for detectors: one file for each image, one box for each region.

    DIR/Annotations/a/cat.xml        size, and the name and box of each object
    DIR/JPEGImages/a/cat.jpg         the images, copied there if their folder is given
    DIR/ImageSets/Main/trainval.txt  the names of the images without their suffix, one a line

As in the devkit, coordinates are whole pixels, count from 1, and a box includes its last pixel: a region that covers
the whole of an image of 640 x 480 has xmin 1, ymin 1, xmax 640, ymax 480.

VOC's XML cannot hold everything:

    shapes                         become their boxes, and are counted; `semantic_png` writes masks in VOC's colours
    category ids, region ids,      are not written; the categories that occur nowhere are in no file
    scores
    truncated, difficult, pose     are not known: 0, 0 and Unspecified
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from converters.datasets.image_copies import copy_image
from converters.encodings.coco_rle import coco_rle_area, coco_rle_bbox_xywh
from converters.errors import VOCError
from converters.files.image_files import SizeLookup
from converters.files.output import new_folder
from converters.label_studio.label_config import NOT_IN_XML
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

ANNOTATIONS_NAME, IMAGES_NAME, SETS_NAME = "Annotations", "JPEGImages", "ImageSets/Main"
_DECIMALS = 3  # of a box's edges in pixels: as percent and back, 100 becomes 99.99999999999999


def write_voc(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    folder: Path,
    options: Selection | None = None,
    size_of: SizeLookup | None = None,
    image_folder: Path | None = None,
) -> ConversionCounts:
    """Write records as VOC's XML, image by image, into a new folder that appears whole or not at all.

    Args:
        records: the images, read once, one at a time.
        categories: the categories, for example from `categories.categories_of`.
        folder: the folder to write; it must be empty or not there yet.
        options: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region.
        image_folder: the folder to copy the images from, by their file names (None: no image is copied).

    Raises:
        RecordError: two categories share a name or an id.
        VOCError: there was no image to write, or XML cannot hold the name of a category.
        OutputError: the folder is not empty or cannot be written.
    """
    ids = require_distinct(categories)
    if strange := [name for name in ids if NOT_IN_XML.search(name)]:
        raise VOCError(f"expected names of categories that XML can hold, got {strange[0]!r:.100}: rename it")
    tally = Tally()
    with new_folder(folder) as partial:
        for part in (ANNOTATIONS_NAME, IMAGES_NAME, SETS_NAME):
            (partial / part).mkdir(parents=True)
        images = select_images(records, options or Selection(), size_of, tally, ids)
        with (partial / SETS_NAME / "trainval.txt").open("w", encoding="utf-8", newline="\n") as names:
            for image, name in with_own_file(images, ".xml", tally):
                if NOT_IN_XML.search(image.file_name) or image.file_name.splitlines() != [image.file_name]:
                    where = f"task {image.task_id}: {image.file_name!r:.200}"
                    tally.leave_out("image name that XML or a line of trainval.txt cannot hold", where)
                    continue
                _write_xml(_annotation(image, ids, tally), partial / ANNOTATIONS_NAME / name)
                names.write(f"{name.with_suffix('')}\n")
                tally.images_out += 1
                if image_folder is not None:
                    copy_image(image, image_folder, partial / IMAGES_NAME, tally)
        if not tally.images_out:
            raise VOCError(f"expected at least one image for {folder}, got none: {tally.counts().reasons()}")
    return tally.counts()


def box_of(region: Region) -> tuple[int, int, int, int]:
    """Return xmin, ymin, xmax, ymax of the pixels that a region touches, counted from 1, the last ones included."""
    x, y, width, height = region.box_xywh or coco_rle_bbox_xywh(region.rle)
    rows, columns = region.size_hw
    left, top, right, bottom = (round(edge, _DECIMALS) for edge in (x, y, x + width, y + height))
    xmin, ymin = max(1, math.floor(left) + 1), max(1, math.floor(top) + 1)
    return xmin, ymin, min(columns, math.ceil(right)), min(rows, math.ceil(bottom))


def _annotation(image: SelectedImage, ids: Mapping[str, int], tally: Tally) -> Element:
    """Return the XML of one image, and count its regions and those that are no boxes."""
    names = {number: name for name, number in ids.items()}
    height, width = image.size_hw
    root = Element("annotation")
    _add(root, folder=IMAGES_NAME, filename=image.file_name)
    _add(SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=0)
    for region, number in labelled_regions(image, ids, tally):
        xmin, ymin, xmax, ymax = box_of(region)
        found = SubElement(root, "object")
        _add(found, name=names[number], pose="Unspecified", truncated=0, difficult=0)
        _add(SubElement(found, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
        tally.regions_out += 1
        is_box = region.box_xywh is not None or coco_rle_area(region.rle) == (xmax - xmin + 1) * (ymax - ymin + 1)
        tally.note("shapes written as their boxes", int(not is_box))
    return root


def _add(parent: Element, **values: str | int) -> None:
    for tag, value in values.items():
        SubElement(parent, tag).text = str(value)


def _write_xml(root: Element, path: Path) -> None:
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tostring(root, encoding="utf-8") + b"\n")
