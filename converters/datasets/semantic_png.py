"""Records to semantic PNGs: one indexed picture for each image; the value of a pixel stands for its category.

    DIR/labels.json     {"labels": [{"value": 0, "name": "background", "colour": "#000000"},
                                    {"value": 1, "name": "cat", "colour": "#800000", "id": 7, "kind": "thing"}, ...],
                         "images": [{"file_name": "a/cat.jpg", "mask": "a/cat.png", "width", "height", "task_id"}]}
    DIR/masks/a/cat.png 8-bit palette picture in PASCAL VOC's colours

    value 0         background: no region
    value 1 to 254  the categories, in their order
    value 255       pixels that do not count: a region there has the label that `SemanticOptions.ignore_label` names

Where regions overlap, the rule of `encodings.overlaps` decides. The picture does not tell regions of one category
apart. `semantic_png_reader` reads these and others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from converters.datasets.pixel_labels import LABELS_NAME
from converters.datasets.semantic_layouts import MASKS_NAME
from converters.encodings.colours import hex_of, voc_palette
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from converters.errors import RecordError, SemanticPNGError
from converters.files.image_files import SizeLookup
from converters.files.output import JsonList, new_folder, write_json
from converters.records import DatasetCategory, ImageRecord
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

Values = npt.NDArray[np.uint8]
"""(H, W) uint8: 0 background, 1 to 254 categories, 255 pixels that do not count."""

IGNORE = 255
_BACKGROUND = {"value": 0, "name": "background", "colour": "#000000"}
_MAX_CATEGORIES = 254


@dataclass(frozen=True)
class SemanticOptions(Selection):
    """The choice of what goes into semantic PNGs (see `Selection`).

    `ignore_label` names the label whose regions become 255, for example "uncertain"; None if there is no such label.
    """

    ignore_label: str | None = None


# ---------------------------------------------------------------- out


def write_semantic_png(
    records: Iterable[ImageRecord],
    categories: Sequence[DatasetCategory],
    folder: Path,
    options: SemanticOptions | None = None,
    size_of: SizeLookup | None = None,
) -> ConversionCounts:
    """Write records as semantic PNGs, image by image, into a new folder that appears whole or not at all.

    Args:
        records: the images, read once, one at a time.
        categories: the categories, for example from `categories.categories_of`; at most 254.
        folder: the folder to write; it must be empty or not there yet.
        options: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region.

    Raises:
        RecordError: two categories share a name or an id, or the label to ignore is no category.
        SemanticPNGError: there are too many categories, or no image to write.
        OutputError: the folder is not empty or cannot be written.
    """
    options = options or SemanticOptions()
    values = _values(categories, options.ignore_label)
    tally = Tally()
    with new_folder(folder) as partial:
        images = JsonList(partial)
        for image, name in with_own_file(select_images(records, options, size_of, tally, values), ".png", tally):
            path = partial / MASKS_NAME / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _palette_picture(_value_map(image, values, tally)).save(path)
            height, width = image.size_hw
            tally.images_out += 1
            entry = {"file_name": image.file_name, "mask": str(name), "width": width, "height": height}
            images.append({**entry, "task_id": image.task_id})
        if not images:
            raise SemanticPNGError(f"expected at least one image for {folder}, got none: {tally.counts().reasons()}")
        labels = [_BACKGROUND, *(_label(category, values[category.name]) for category in categories)]
        write_json({"labels": labels, "images": images}, partial / LABELS_NAME)
    return tally.counts()


def _values(categories: Sequence[DatasetCategory], ignore_label: str | None) -> dict[str, int]:
    """Return the pixel value of each category."""
    names = list(require_distinct(categories))
    if ignore_label is not None and ignore_label not in names:
        raise RecordError(f"expected the label to ignore to be one of {names}, got {ignore_label!r}")
    counted = [name for name in names if name != ignore_label]
    if len(counted) > _MAX_CATEGORIES:
        raise SemanticPNGError(
            f"expected at most {_MAX_CATEGORIES} categories (a pixel has 8 bits, 0 is background, 255 ignore), got "
            f"{len(counted)}: COCO panoptic holds more"
        )
    values = {name: value for value, name in enumerate(counted, start=1)}
    return values if ignore_label is None else {**values, ignore_label: IGNORE}


def _label(category: DatasetCategory, value: int) -> dict[str, Any]:
    kind = {"kind": category.kind} if category.kind else {}
    return {
        "value": value,
        "name": category.name,
        "colour": hex_of(voc_palette()[value]),
        "id": category.id,
        **kind,
    }


def _value_map(image: SelectedImage, values: Mapping[str, int], tally: Tally) -> Values:
    """Return the pixels of one image."""
    labelled = list(labelled_regions(image, values, tally))
    flat = regions_to_label_map([LabelledRegion(r.rle, value, r.score) for r, value in labelled], image.size_hw)
    tally.note("pixels that several categories claimed", flat.contested_px)
    for position in flat.hidden:
        where = f"task {image.task_id}, region {labelled[position][0].id!r}"
        tally.leave_out("region of which others cover every pixel", where)
    tally.regions_out += len(labelled) - len(flat.hidden)
    return flat.label_map.astype(np.uint8)


def _palette_picture(values: Values) -> Image.Image:
    picture = Image.fromarray(values)
    picture.putpalette([channel for colour in voc_palette() for channel in colour])
    return picture
