"""Semantic PNGs to records: those that `semantic_png` writes, and those of other datasets (`semantic_layouts`).

A PNG has 8 or 16 bits of grey, a palette (the place in it is the value), or colours, which the labels must name. Its
transparent pixels are background. All pixels of a category in an image become one region, and where the dataset tells
objects apart, each object. Pixels that do not count (`void`) become no region, or regions of a label that the caller
names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from converters.datasets.coco_reader import ImagePlace
from converters.datasets.pixel_labels import (
    LABELS_NAME,
    PixelLabel,
    PixelLabels,
    objects_under,
    read_label_list,
    read_labels_json,
)
from converters.datasets.semantic_layouts import MASKS_NAME, Layout, MaskFile, layout_of
from converters.encodings.coco_rle import label_map_to_coco_rles
from converters.encodings.masks import MAX_PIXELS
from converters.errors import ConverterError, SemanticPNGError
from converters.files.json_values import Json, identifier
from converters.files.output import name_in_folder
from converters.files.png import read_png, read_png_values
from converters.records import Annotation, DatasetCategory, ImageRecord, LeftOut, Region

VOID_PIXELS = "masks with pixels that do not count, which are in no region"
"""The note that is counted for each such mask."""

LabelMap = npt.NDArray[np.int64]
"""(H, W) int64: the value of each pixel; -1 where a pixel has a colour that no label has."""

_GREY = ("P", "L", "1", "I;16", "I")
_WITH_ALPHA = ("LA", "RGB", "RGBA")
_UNKNOWN = -1
_OBJECT = 1 << 17  # above any number of an object, which has 16 bits
_INSTANCES = 1000  # Cityscapes: the value of an object is 1000 times its class, plus a number
_MAX_LISTED = 100


@dataclass(frozen=True)
class SemanticDataset:
    """Semantic PNGs: the meaning of their values, where they lie, and the label of pixels that do not count, if any."""

    labels: PixelLabels
    layout: Layout
    void_label: str | None = None

    @property
    def categories(self) -> tuple[DatasetCategory, ...]:
        """The categories; the label of pixels that do not count is the last."""
        found = self.labels.categories
        if self.void_label is None or self.void_label in {category.name for category in found}:
            return found
        return (*found, DatasetCategory(max(category.id for category in found) + 1, self.void_label))


def read_semantic_png(
    folder: Path,
    labels: str | None = None,
    *,
    image_suffix: str = ".png",
    void: Sequence[int] = (),
    void_label: str | None = None,
) -> SemanticDataset:
    """Read what the values of label PNGs mean, and list the PNGs.

    Args:
        folder: the folder that holds labels.json and masks/, or a dataset in another layout.
        labels: the list of labels: "voc", "ade20k", "cityscapes" or a text file; None reads labels.json.
        image_suffix: the suffix of the images' file names where neither labels.json nor the layout says them. With
            ".jpg", masks/a.png is the mask of a.jpg.
        void: values that do not count, beside those of the list.
        void_label: a label for the pixels that do not count; None gives them no region.

    Raises:
        SemanticPNGError: the labels are damaged or contradict themselves, or there is no PNG.
        OSError: the labels cannot be opened.
    """
    if not image_suffix.startswith(".") or "/" in image_suffix:
        raise SemanticPNGError(f"expected a suffix of images such as .jpg, got {image_suffix!r:.40}")
    if labels is None:
        path = folder / LABELS_NAME
        if not path.is_file():
            raise SemanticPNGError(
                f"expected {LABELS_NAME} in {folder}, got none: name the meaning of the pixels with --labels (voc, "
                "ade20k, cityscapes or a text file)"
            )
        known, content = read_labels_json(path)
        listed = _listed(content, path, folder / MASKS_NAME) if "images" in content else None
        layout = layout_of(folder, "", image_suffix) if listed is None else Layout(listed)
    else:
        layout = layout_of(folder, labels, image_suffix)
        known = read_label_list(layout.labels or labels)
    return SemanticDataset(_with_void(known, void), layout, void_label)


def semantic_png_to_records(
    dataset: SemanticDataset, place: ImagePlace | None = None, *, max_pixels: int = MAX_PIXELS
) -> Iterator[ImageRecord]:
    """Convert semantic PNGs to one record for each image, one PNG at a time.

    An image whose mask cannot be used becomes a record without annotations, and `left_out` says why.

    Args:
        dataset: a dataset as `read_semantic_png` returns it.
        place: where the images will be shown.
        max_pixels: refuse larger masks.
    """
    place = place or ImagePlace()
    for file in dataset.layout.files:
        empty = ImageRecord(file.task_id, place.address(file.image), place.image_tag)
        try:
            yield _record(dataset, file, empty, max_pixels)
        except ConverterError as error:
            yield replace(empty, left_out=(LeftOut("unreadable mask", str(error)),))


def read_label_png(path: Path, by_colour: Mapping[int, int], *, max_pixels: int = MAX_PIXELS) -> LabelMap:
    """Read a label PNG of any kind.

    Args:
        path: the file.
        by_colour: the value of each colour, written as 65536 R + 256 G + B.
        max_pixels: refuse larger pictures before they are decoded.

    Returns:
        The values, (H, W) int64; 0 where a pixel is transparent, -1 where no label has its colour.

    Raises:
        PNGError: the file is no PNG, or is damaged or too large.
        SemanticPNGError: the file has colours, and the labels have none.
    """
    pixels = read_png_values(path, (*_GREY, *_WITH_ALPHA), max_pixels=max_pixels)
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    is_seen = pixels[..., -1] > 0 if pixels.shape[2] in (2, 4) else np.True_
    if pixels.shape[2] == 2:
        return np.where(is_seen, pixels[..., 0], 0).astype(np.int64)
    if not by_colour:
        raise SemanticPNGError(
            f"{path.name}: expected grey values or a palette, got colours, of which no label is known: give the labels "
            "colours (value, name and #rrggbb between tabs)"
        )
    packed = pixels[..., 0].astype(np.int64) << 16 | pixels[..., 1].astype(np.int64) << 8 | pixels[..., 2]
    colours, places = np.unique(packed, return_inverse=True)
    values = np.array([by_colour.get(int(colour), _UNKNOWN) for colour in colours], dtype=np.int64)
    found: LabelMap = np.where(is_seen, values[places].reshape(packed.shape), 0)
    return found


# ---------------------------------------------------------------- one image


def _record(dataset: SemanticDataset, file: MaskFile, empty: ImageRecord, max_pixels: int) -> ImageRecord:
    if file.path is None:
        raise SemanticPNGError(f"expected the name of a mask in {MASKS_NAME}/, got {file.name!r:.60}")
    values = read_label_png(file.path, dataset.labels.by_colour, max_pixels=max_pixels)
    objects = np.zeros_like(values)
    crowds: frozenset[int] = frozenset()
    if dataset.layout.holds_instances:
        is_object = values >= _INSTANCES
        objects = np.where(is_object, values % _INSTANCES + 1, 0)
        values = np.where(is_object, values // _INSTANCES, values)
        crowds = frozenset(label.value for label in dataset.labels.labels if label.kind == "thing")
    elif file.objects is not None:
        objects = _objects(file.objects, values.shape, max_pixels)
    left_out: list[LeftOut] = []
    regions = tuple(_regions(values, objects, dataset, crowds, (left_out, file.name)))
    is_void = np.isin(values, list(dataset.labels.values_of("void"))).any()
    return replace(
        empty,
        size_hw=(values.shape[0], values.shape[1]),
        annotations=(Annotation(None, regions),),
        left_out=tuple(left_out),
        notes=(VOID_PIXELS,) if is_void and dataset.void_label is None else (),
    )


def _objects(path: Path, size_hw: tuple[int, ...], max_pixels: int) -> LabelMap:
    """Return the number of the object that each pixel belongs to; 0 and 255 (a border) are no object."""
    objects = read_png(path, ("P", "L"), (size_hw[0], size_hw[1]), max_pixels=max_pixels).astype(np.int64)
    return np.where(objects == 255, 0, objects)


def _regions(
    values: LabelMap,
    objects: LabelMap,
    dataset: SemanticDataset,
    crowds: frozenset[int],
    told: tuple[list[LeftOut], str],
) -> Iterator[Region]:
    """Yield a region for each value and object; a value that no label has is added to what is left out.

    `crowds` holds the values that are a crowd where a pixel belongs to no object.
    """
    left_out, mask = told
    names, labels = dataset.labels.names, dataset.labels
    void, background = labels.values_of("void"), labels.values_of("background")
    silent = background | (void if dataset.void_label is None else frozenset()) | ({0} - names.keys() - void)
    shown = np.where(np.isin(values, list(silent)), 0, (values + 2) * _OBJECT + objects)
    unknown: list[str] = []
    for key, rle in label_map_to_coco_rles(shown).items():
        value, number = key // _OBJECT - 2, key % _OBJECT
        name = dataset.void_label if value in void else names.get(value)
        if name is not None:
            region_id = f"{value}-{number}" if number else str(value)
            yield Region(region_id, (name,), "", rle, is_crowd=value in crowds and not number)
        else:
            unknown.append("a colour that no label has" if value == _UNKNOWN else str(value))
    reason = f"pixels of a value that {labels.source} does not name"
    left_out += [LeftOut(reason, f"{mask}: {value}") for value in unknown[:_MAX_LISTED]]
    if len(unknown) > _MAX_LISTED:
        left_out.append(LeftOut(reason, f"{mask}: {len(unknown) - _MAX_LISTED} more values"))


def _with_void(labels: PixelLabels, void: Sequence[int]) -> PixelLabels:
    """Return the labels with some values as values that do not count."""
    kept = tuple(label for label in labels.labels if label.value not in void)
    return replace(labels, labels=(*kept, *(PixelLabel(value, "void", role="void") for value in void)))


def _listed(content: Json, path: Path, masks: Path) -> tuple[MaskFile, ...]:
    """Return the masks that labels.json lists."""
    found = []
    for item in objects_under("images", content, path):
        file_name, mask = item.get("file_name"), item.get("mask")
        if not isinstance(file_name, str) or not isinstance(mask, str):
            raise SemanticPNGError(f"expected images with a file_name and a mask, got {item!r:.80}")
        inside = name_in_folder(mask, PurePosixPath(mask).suffix)
        target = masks / inside if inside is not None else None
        found.append(MaskFile(file_name, target, mask, task_id=identifier(item.get("task_id"))))
    return tuple(found)
