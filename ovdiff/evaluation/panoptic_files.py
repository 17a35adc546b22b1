"""Datasets in COCO's panoptic form: a JSON file of segments, a PNG of colours for each image, and perhaps objects.

    segment id = R + 256 G + 65536 B of a pixel, 0 = nobody says what it is

Objects, for average precision, come from a second JSON file in COCO's form for instances, if there is one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from converters.files.class_lists import ListedClass
from converters.files.png import read_png
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, LabelledImage, Measure, TrueObject, Truth
from ovdiff.evaluation.folders import FilesOf, choose_files, require_files
from ovdiff.evaluation.label_files import decoded, read_pixels, require_one_size
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Vocabulary

MEASURES: frozenset[Measure] = frozenset({"semantic", "panoptic", "instances"})
"""What such a dataset can be held against, if it has objects."""


@dataclass(frozen=True)
class Segment:
    """A segment of an image: its number in the PNG, its label, and whether it is a crowd."""

    number: int
    label: int
    is_crowd: bool


@dataclass(frozen=True)
class PanopticImage:
    """The files of an image, relative to the dataset's folder, and its segments.

    Attributes:
        image: the path of the picture.
        png: the path of the PNG of segments.
        segments: the segments that the JSON lists.
        key: the image's id, by which another JSON file lists its objects.
    """

    image: str
    png: str
    segments: tuple[Segment, ...]
    key: int | str


@dataclass(frozen=True, eq=False)
class PanopticFiles:
    """The images of a dataset with their segments.

    Attributes:
        dataset: its name, for messages.
        root: the dataset's folder.
        images: the images by name.
        objects: the objects of each image by its id, as COCO's JSON has them; ``None`` if the dataset has none.
        labels: the label of each category's number, for objects.
    """

    dataset: str
    root: Path
    images: Mapping[str, PanopticImage]
    labels: Mapping[int, int]
    objects: Mapping[int | str, Sequence[Mapping[str, Any]]] | None = None

    def read(self, name: str) -> LabelledImage:
        """Read an image and its segments by the image's name.

        Raises:
            DatasetError: there is no such image, a file cannot be read, the PNG is of another size than the image, it
                shows a segment that the JSON does not list, or an object is damaged.
        """
        if name not in self.images:
            raise DatasetError(f"{self.dataset}: there is no image {name!r}; the first is {next(iter(self.images))!r}.")
        entry = self.images[name]
        image_path, png_path = self.root / entry.image, self.root / entry.png
        image = read_pixels(self.dataset, image_path)
        numbers = decoded(self.dataset, png_path, segment_numbers)
        require_one_size(self.dataset, image, image_path, numbers, png_path)
        segments = self._segments(numbers, entry, png_path)
        label_map = segments.label_map()
        label_map[segments.ids == 0] = UNKNOWN
        crowds = frozenset(place for place, segment in enumerate(entry.segments, 1) if segment.is_crowd)
        objects = None
        if self.objects is not None:
            size_hw = (image.shape[0], image.shape[1])
            objects = tuple(self._object(item, size_hw, name) for item in self.objects.get(entry.key, ()))
        return LabelledImage(image, Truth(label_map, segments, crowds, objects))

    def _segments(self, numbers: NDArray[np.integer], entry: PanopticImage, path: Path) -> SegmentMap:
        """Number the segments from 1, in the order of the JSON."""
        place = {0: 0, **{segment.number: number for number, segment in enumerate(entry.segments, 1)}}
        found, where = np.unique(numbers, return_inverse=True)
        strange = [number for number in found.tolist() if number not in place]
        if strange:
            raise DatasetError(
                f"{self.dataset}: {str(path)!r} shows the segment {strange[0]}, which the JSON does not list. The PNGs "
                "and the JSON are of different versions; unpack both again."
            )
        ids = np.array([place[number] for number in found.tolist()], dtype=np.int32)[where].reshape(numbers.shape)
        return SegmentMap(ids, tuple(segment.label for segment in entry.segments))

    def _object(self, item: Mapping[str, Any], size_hw: tuple[int, int], name: str) -> TrueObject:
        try:
            label, outline = self.labels[item["category_id"]], item["segmentation"]
            mask = coco_mask.decode(_run_lengths(outline, size_hw)).astype(np.bool_)
        except Exception as error:  # pycocotools raises plain Exceptions and what its C code stumbles over.
            raise DatasetError(
                f"{self.dataset}: the object {item.get('id')!r} of the image {name!r} cannot be read: "
                f"{type(error).__name__}: {error}. Unpack the annotations again."
            ) from error
        if mask.shape != size_hw:
            raise DatasetError(f"{self.dataset}: the object {item.get('id')!r} of the image {name!r} has another size.")
        return TrueObject(label, mask, bool(item.get("iscrowd", 0)))


def _run_lengths(outline: Any, size_hw: tuple[int, int]) -> Any:
    """Return pycocotools' run lengths of polygons, of a list of lengths, or of such run lengths."""
    if isinstance(outline, dict) and not isinstance(outline["counts"], list):
        return outline
    found = coco_mask.frPyObjects(outline, *size_hw)
    return coco_mask.merge(found) if isinstance(found, list) else found


def segment_numbers(path: Path) -> NDArray[np.integer]:
    """Return the number of the segment that each pixel of a PNG belongs to, (H, W) int32.

    Raises:
        ValueError: it is no intact PNG of colours.
    """
    red, green, blue = np.moveaxis(read_png(path, ("RGB",)).astype(np.int32), -1, 0)
    return red + (green << 8) + (blue << 16)


def read_annotations(dataset: str, path: Path) -> dict[str, Any]:
    """Return the content of a JSON file in COCO's form.

    Raises:
        DatasetError: it cannot be read, or lacks images, annotations or categories.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{dataset}: {str(path)!r} cannot be read: {error}. Unpack it again.") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DatasetError(f"{dataset}: {str(path)!r} has no list of {key}. Is it the JSON of another dataset?")
    return content


def panoptic_images(
    dataset: str, content: Mapping[str, Any], labels: Mapping[int, int], image_folder: str, png_folder: str
) -> dict[str, PanopticImage]:
    """Return the images of a panoptic JSON file by name, in the order of their names.

    Args:
        dataset: the dataset's name, for messages.
        content: what :func:`read_annotations` returned.
        labels: the label of each category's number.
        image_folder: the folder of the pictures, relative to the dataset's.
        png_folder: the folder of the PNGs, relative to the dataset's.

    Raises:
        DatasetError: an entry lacks what it must have, or is of a category that the dataset does not have.
    """
    try:
        pictures = {image["id"]: image["file_name"] for image in content["images"]}
        found = {}
        for item in content["annotations"]:
            picture = pictures[item["image_id"]]
            segments = tuple(
                Segment(each["id"], labels[each["category_id"]], bool(each.get("iscrowd", 0)))
                for each in item["segments_info"]
            )
            entry = PanopticImage(
                f"{image_folder}/{picture}", f"{png_folder}/{item['file_name']}", segments, item["image_id"]
            )
            found[PurePosixPath(picture).stem] = entry
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{dataset}: the panoptic JSON has an entry that cannot be used ({type(error).__name__}: {error}). Is it "
            "the JSON of another dataset?"
        ) from error
    return {name: found[name] for name in sorted(found)}


@dataclass(frozen=True)
class PanopticFolder:
    """Where the parts of a panoptic dataset lie, relative to its folder.

    Attributes:
        annotations: the JSON file of segments.
        images: where the pictures may be.
        pngs: where the PNGs of segments may be.
        objects: the JSON file of objects.
    """

    annotations: str
    images: tuple[FilesOf, ...]
    pngs: tuple[FilesOf, ...]
    objects: str


def open_panoptic(name: str, root: Path, where: PanopticFolder, classes: Sequence[ListedClass]) -> Dataset:
    """Find a panoptic dataset in its folder.

    Args:
        name: the dataset's name.
        root: its folder.
        where: where its parts lie.
        classes: its categories; their values are their numbers in the JSON files.

    Raises:
        DatasetError: it is not there, not all of it, or its JSON is that of another dataset.
    """
    content = read_annotations(name, root / where.annotations)
    labels = {row.value: label for label, row in enumerate(classes, 1)}
    if {item.get("id") for item in content["categories"]} != labels.keys():
        raise DatasetError(
            f"{name}: {str(root / where.annotations)!r} has other categories than the {len(labels)} of this dataset. "
            "Is it the JSON of another one?"
        )
    images, pngs = choose_files(name, root, where.images), choose_files(name, root, where.pngs)
    found = panoptic_images(name, content, labels, images.folder, pngs.folder)
    require_files(name, root, (path for entry in found.values() for path in (entry.image, entry.png)))
    objects = None
    if (root / where.objects).is_file():
        objects = objects_by_image(read_annotations(name, root / where.objects))
    none = f"{where.objects} is not there, so average precision is not measured."
    return Dataset(
        name,
        Vocabulary(ovdiff_categories(classes, with_kinds=True)),
        tuple(found),
        PanopticFiles(name, root, found, labels, objects).read,
        counts_background=False,
        measures=MEASURES if objects is not None else MEASURES - {"instances"},
        notes=() if objects is not None else (none,),
    )


def objects_by_image(content: Mapping[str, Any]) -> dict[int | str, list[Mapping[str, Any]]]:
    """Return the annotations of a JSON file of instances by the ids of their images."""
    found: dict[int | str, list[Mapping[str, Any]]] = {}
    for item in content["annotations"]:
        found.setdefault(item.get("image_id"), []).append(item)
    return found
