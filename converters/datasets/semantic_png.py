"""Semantic PNGs, both ways: one indexed picture for each image; the value of a pixel stands for its category.

    DIR/labels.json     {"labels": [{"value": 0, "name": "background", "colour": "#000000"},
                                    {"value": 1, "name": "cat", "colour": "#800000", "id": 7, "kind": "thing"}, ...],
                         "images": [{"file_name": "a/cat.jpg", "mask": "a/cat.png", "width", "height", "task_id"}]}
    DIR/masks/a/cat.png 8-bit palette picture in PASCAL VOC's colours

    value 0         background: no region
    value 1 to 254  the categories, in their order
    value 255       pixels that do not count: a region there has the label that `SemanticOptions.ignore_label` names

Where regions overlap, the rule of `encodings.overlaps` decides. The picture does not tell regions of one category
apart: when it is read, all pixels of a category in an image become one region.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from converters.datasets.coco_reader import ImagePlace
from converters.encodings.coco_rle import label_map_to_coco_rles
from converters.encodings.colours import hex_of, voc_palette
from converters.encodings.masks import MAX_PIXELS
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from converters.errors import ConverterError, RecordError, SemanticPNGError
from converters.files.image_files import SizeLookup
from converters.files.json_values import Json, identifier, whole_number
from converters.files.output import JsonList, name_in_folder, new_folder, write_json
from converters.files.png import read_png
from converters.records import Annotation, DatasetCategory, ImageRecord, LeftOut, Region
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

LABELS_NAME, MASKS_NAME = "labels.json", "masks"
IGNORE = 255
_BACKGROUND = {"value": 0, "name": "background", "colour": "#000000"}
_MAX_CATEGORIES = 254
_MAX_LABELS_BYTES = 1 << 28
_MODES = ("P", "L", "1")


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
        for image, name in with_own_file(select_images(records, options, size_of, tally), ".png", tally):
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


# ---------------------------------------------------------------- back


@dataclass(frozen=True)
class SemanticDataset:
    """A folder of semantic PNGs: its categories, the meaning of each pixel value, and the mask of each image.

    `categories` contains the label to ignore, too, if labels.json names a label for 255. Each item of `images` holds
    the file name of the image, the path of its mask relative to `masks`, and the number of the task, None if unknown.
    """

    masks: Path
    categories: tuple[DatasetCategory, ...]
    names: Mapping[int, str]
    images: tuple[tuple[str, str, int | str | None], ...]


def read_semantic_png(folder: Path, *, image_suffix: str = ".png") -> SemanticDataset:
    """Read labels.json of a folder and list its masks.

    Args:
        folder: the folder that holds labels.json and masks/.
        image_suffix: the suffix of the images' file names if labels.json does not list the images. With ".jpg",
            masks/a.png is the mask of a.jpg.

    Raises:
        SemanticPNGError: labels.json is damaged or contradicts itself.
        OSError: labels.json cannot be opened.
    """
    if not image_suffix.startswith(".") or "/" in image_suffix:
        raise SemanticPNGError(f"expected a suffix of images such as .jpg, got {image_suffix!r:.40}")
    path = folder / LABELS_NAME
    content = _read_json(path)
    labels = [_read_label(item, path) for item in _objects(content, "labels", path)]
    named = [(value, category) for value, category in labels if value != 0]
    for what, values in (("values", [v for v, _ in labels]), ("names", [c.name for _, c in named])):
        if len(set(values)) < len(values):
            raise SemanticPNGError(f"{path}: expected labels with {what} that differ, got {values!r:.200}")
    masks = folder / MASKS_NAME
    listed = "images" in content
    return SemanticDataset(
        masks=masks,
        categories=_with_ids(named),
        names={value: category.name for value, category in named},
        images=_listed_images(_objects(content, "images", path)) if listed else _found_images(masks, image_suffix),
    )


def semantic_png_to_records(
    dataset: SemanticDataset, place: ImagePlace | None = None, *, max_pixels: int = MAX_PIXELS
) -> Iterator[ImageRecord]:
    """Convert semantic PNGs to one record for each image, one PNG at a time; a category in an image is one region.

    An image whose mask cannot be used becomes a record without annotations, and `left_out` says why.

    Args:
        dataset: a dataset as `read_semantic_png` returns it.
        place: where the images will be shown.
        max_pixels: refuse larger masks.
    """
    place = place or ImagePlace()
    for file_name, mask, task_id in dataset.images:
        left_out: list[LeftOut] = []
        annotations: tuple[Annotation, ...] = ()
        size_hw = None
        try:
            values = read_png(_inside(dataset.masks, mask), _MODES, max_pixels=max_pixels)
            size_hw = (values.shape[0], values.shape[1])
            annotations = (Annotation(None, tuple(_regions(values, dataset.names, left_out, mask))),)
        except ConverterError as error:
            left_out.append(LeftOut("unreadable mask", str(error)))
        yield ImageRecord(
            task_id=task_id,
            image=place.address(file_name),
            image_tag=place.image_tag,
            size_hw=size_hw,
            annotations=annotations,
            left_out=tuple(left_out),
        )


def _regions(values: Values, names: Mapping[int, str], left_out: list[LeftOut], mask: str) -> Iterator[Region]:
    for value, rle in label_map_to_coco_rles(values).items():
        if value in names:
            yield Region(id=str(value), labels=(names[value],), control="", rle=rle)
        else:
            left_out.append(LeftOut(f"pixels of a value that {LABELS_NAME} does not name", f"{mask}: {value}"))


def _read_json(path: Path) -> Json:
    if path.stat().st_size > _MAX_LABELS_BYTES:
        raise SemanticPNGError(f"{path}: expected at most {_MAX_LABELS_BYTES} bytes, got {path.stat().st_size}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SemanticPNGError(f"{path}: expected JSON, which cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SemanticPNGError(f"{path}: expected an object with 'labels', got {type(content).__name__}")
    return content


def _objects(content: Json, key: str, path: Path) -> list[Json]:
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise SemanticPNGError(f"{path}: expected a list of objects under {key!r}")
    return items


def _read_label(item: Json, path: Path) -> tuple[int, DatasetCategory]:
    """Return the pixel value and the category of an entry of `labels`; the id is -1 if the entry has none."""
    value, name, number, kind = whole_number(item.get("value")), item.get("name"), item.get("id", -1), item.get("kind")
    if value is None or not 0 <= value <= IGNORE:
        got = item.get("value")
        raise SemanticPNGError(f"{path}: expected labels with a value from 0 to {IGNORE}, got {got!r:.40}")
    if not isinstance(name, str) or not name.strip():
        raise SemanticPNGError(f"{path}: expected a name for the value {value}, got {name!r:.40}")
    if whole_number(number) is None:
        raise SemanticPNGError(f"{path}: expected a whole number as id of {name!r}, got {number!r:.40}")
    return value, DatasetCategory(number, name, kind if kind in ("thing", "stuff") else None)


def _with_ids(labels: Sequence[tuple[int, DatasetCategory]]) -> tuple[DatasetCategory, ...]:
    """Return the categories with their own ids, or with pixel values as ids if an id is missing or comes twice."""
    ids = [category.id for _, category in labels]
    usable = min(ids, default=0) >= 0 and len(set(ids)) == len(ids)
    return tuple(c if usable else DatasetCategory(value, c.name, c.kind) for value, c in labels)


def _listed_images(items: Sequence[Json]) -> tuple[tuple[str, str, int | str | None], ...]:
    found = []
    for item in items:
        file_name, mask, task_id = item.get("file_name"), item.get("mask"), item.get("task_id")
        if not isinstance(file_name, str) or not isinstance(mask, str):
            raise SemanticPNGError(f"expected images with a file_name and a mask, got {item!r:.80}")
        found.append((file_name, mask, identifier(task_id)))
    return tuple(found)


def _found_images(masks: Path, image_suffix: str) -> tuple[tuple[str, str, int | str | None], ...]:
    names = sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png"))
    return tuple((str(PurePosixPath(name).with_suffix(image_suffix)), name, None) for name in names)


def _inside(masks: Path, name: str) -> Path:
    inside = name_in_folder(name, PurePosixPath(name).suffix)
    if inside is None:
        raise SemanticPNGError(f"expected the name of a mask in {masks.name}/, got {name!r:.60}")
    return masks / inside
