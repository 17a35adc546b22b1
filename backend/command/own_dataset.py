"""Labelled images of one's own as a dataset: a COCO or COCO panoptic file, label PNGs, or a Label Studio export.

The readers of the converters make records of them, one image at a time. What nobody labelled is background; of a
panoptic file it is unknown, as there every pixel has a segment. It is unknown, too, what a box or a region without a
label shows, and what a partial annotation leaves out. Images of Label Studio are read upright, as people labelled them;
those of the other forms as they are stored, if their labels have that size.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from backend.command.lint import label_config_vocabulary
from backend.serving.teaching.annotated import says_partial
from converters.datasets.coco_index import index_coco, read_coco
from converters.datasets.coco_reader import coco_to_records
from converters.datasets.panoptic import JSON_NAME, panoptic_to_records
from converters.datasets.pixel_labels import LABELS_NAME
from converters.datasets.semantic_png_reader import SemanticDataset, read_semantic_png, semantic_png_to_records
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from converters.errors import ConverterError
from converters.files.image_files import IMAGE_SUFFIXES, find_image_file, folder_sizes, image_file_name
from converters.label_studio.label_config import read_label_config
from converters.label_studio.reader import Wanted, read_export
from converters.metrics.panoptic_quality import SegmentMap
from converters.records import Annotation, DatasetCategory, ImageRecord, Region
from ovdiff.errors import DatasetError, ImageError
from ovdiff.evaluation.catalogue import dataset_names
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, LabelledImage, Measure, TrueObject, Truth
from ovdiff.evaluation.names import with_names
from ovdiff.images import read_image, read_stored_image
from ovdiff.vocabulary import Category, Vocabulary

_FORMS = (
    "Give a COCO or COCO panoptic file; a folder of label PNGs, with --labels if no labels.json is in it; or a Label "
    "Studio export with its --label-config."
)
_VOID = "\0void"
"""The label of regions of pixels that do not count; no category can have this name."""

_BACKGROUND = "background"
"""What figures call the pixels without a label."""

_BOXES = ("rectangle", "ellipse")


@dataclass(frozen=True)
class OwnDataset:
    """Where labelled images of one's own lie. Called, it opens them; it can be sent to another process.

    Attributes:
        path: a COCO or COCO panoptic file, a folder of label PNGs, or a Label Studio export.
        images: the folder of the images; ``None`` is the folder of ``path``, or ``path`` itself if it is a folder.
        label_config: the label config of a Label Studio export.
        labels: what the values of label PNGs mean, if no labels.json says it: "voc", "ade20k", "cityscapes", or a file.
        max_categories: so many labels a label config may have.
        partial: whether all annotations are partial, and not only those that say so: what has no label is unknown.
    """

    path: Path
    images: Path | None = None
    label_config: Path | None = None
    labels: str | None = None
    max_categories: int = 200
    partial: bool = False

    def __call__(self) -> Dataset:
        """Open the dataset.

        Raises:
            DatasetError: it is in no form that is known, or cannot be read.
        """
        try:
            found = replace(_found(self), partial=self.partial)
            truth = _truth_hash(self, found.label_pngs)
        except (ConverterError, OSError) as error:
            raise DatasetError(f"{str(self.path)!r} cannot be read as a dataset: {error}. {_FORMS}") from error
        if not found.records:
            raise DatasetError(f"{str(self.path)!r} has no image with labels.")
        if found.counts_background:
            _require_no_background(found.categories, self.path)
        read = partial(_read, found, self.images or (self.path if self.path.is_dir() else self.path.parent))
        return Dataset(
            _dataset_name(self.path),
            Vocabulary(found.categories),
            tuple(found.records),
            read,
            counts_background=found.counts_background,
            measures=found.measures,
            notes=found.notes,
            truth=truth,
        )


def opened_with_names(opens: Callable[[], Dataset], choice: str) -> Dataset:
    """Open a dataset, and have its categories asked for by other words (:func:`~ovdiff.evaluation.names.with_names`).

    Raises:
        DatasetError: it cannot be opened, or the list of words does not fit.
    """
    return with_names(opens(), choice)


@dataclass(frozen=True)
class _Found:
    """What is in a dataset: its categories, and how the record of each image is made, by the image's name.

    Attributes:
        lost_regions_alone: whether only regions that were lost make a truth unusable, and not everything left out.
        boxes: the controls of a label config that draw boxes.
        upright: whether the labels are of the upright images, whatever their size.
        partial: whether all annotations are partial.
        label_pngs: the PNGs that hold labels.
        notes: what a reader of the figures should know, in a sentence each.
    """

    categories: tuple[Category, ...]
    records: Mapping[str, Callable[[], ImageRecord]]
    measures: frozenset[Measure]
    counts_background: bool = True
    lost_regions_alone: bool = False
    boxes: frozenset[str] = frozenset()
    upright: bool = False
    partial: bool = False
    label_pngs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Mapping[str, int]:
        return {category.name: label for label, category in enumerate(self.categories, 1)}


def _found(source: OwnDataset) -> _Found:
    path = source.path
    if source.label_config is not None:
        return _label_studio(source, source.label_config)
    if path.is_dir() and (path / JSON_NAME).is_file():
        return _coco(path / JSON_NAME, source.images)
    if path.is_dir():
        return _label_pngs(path, source.labels)
    return _coco(path, source.images)


def _label_studio(source: OwnDataset, config: Path) -> _Found:
    vocabulary = label_config_vocabulary(config, source.max_categories)
    wanted = Wanted(annotations="preferred", predictions="none")
    described = read_label_config(config)
    records = read_export(source.path, described, wanted=wanted)
    labelled = {
        _name(record): partial(_same, record)
        for record in records
        if record.image and record.preferred_annotation() is not None
    }
    return _Found(
        vocabulary.categories,
        labelled,
        frozenset({"semantic", "panoptic", "instances"}),
        lost_regions_alone=True,
        boxes=frozenset(each.name for each in described.controls if each.kind.lower().startswith(_BOXES)),
        upright=True,
    )


def _coco(path: Path, images: Path | None) -> _Found:
    """Return what is in a COCO file, of objects or of segments."""
    content = read_coco(path)
    index = index_coco(content)
    is_panoptic = any("segments_info" in item for item in content["annotations"])
    size_of = folder_sizes(images or path.parent)
    records: dict[str, Callable[[], ImageRecord]] = {}
    for key, image in index.images.items():
        part = {"images": [image], "annotations": index.annotations[key], "categories": content["categories"]}
        if is_panoptic:
            made = partial(_first, panoptic_to_records, part, path.with_suffix(""), size_of=size_of)
        else:
            made = partial(_first, coco_to_records, part, size_of=size_of)
        file_name = image.get("file_name")
        if isinstance(file_name, str):
            if file_name in records:
                raise DatasetError(
                    f"{str(path)!r} lists two images of the file name {file_name!r}. Each image needs a name of its "
                    "own: give them file names with their folders, or join their annotations under one image."
                )
            records[file_name] = made
    measures: frozenset[Measure] = frozenset({"semantic", "panoptic"} if is_panoptic else {"semantic", "instances"})
    pngs = path.with_suffix("")
    return _Found(
        _categories(index.categories),
        records,
        measures,
        counts_background=not is_panoptic,
        label_pngs=tuple(sorted(pngs.rglob("*.png"))) if is_panoptic and pngs.is_dir() else (),
        notes=_notes_of_joined(index.names),
    )


def _notes_of_joined(names: Mapping[int, str]) -> tuple[str, ...]:
    """Return a note for each name that several categories have: they are one category."""
    counts = Counter(names.values())
    return tuple(
        f"{count} categories of the file have the name {name!r}; they were evaluated as one."
        for name, count in counts.items()
        if count > 1
    )


def _label_pngs(folder: Path, labels: str | None) -> _Found:
    dataset = read_semantic_png(folder, labels, void_label=_VOID)
    known = dataset.labels
    categories = _categories(category for category in dataset.categories if category.name != _VOID)
    records = {file.image: partial(_of_png, dataset, place) for place, file in enumerate(dataset.layout.files)}
    zero_is_background = 0 not in known.names and 0 not in known.values_of("void")
    counts = zero_is_background or bool(known.values_of("background"))
    pngs = tuple(png for file in dataset.layout.files for png in (file.path, file.objects) if png is not None)
    return _Found(categories, records, frozenset[Measure]({"semantic"}), counts_background=counts, label_pngs=pngs)


def _of_png(dataset: SemanticDataset, place: int) -> ImageRecord:
    layout = replace(dataset.layout, files=dataset.layout.files[place : place + 1])
    return next(semantic_png_to_records(replace(dataset, layout=layout)))


def _first(read: Callable[..., Iterable[ImageRecord]], *arguments: object, **options: object) -> ImageRecord:
    return next(iter(read(*arguments, **options)))


def _same(record: ImageRecord) -> ImageRecord:
    return record


def _name(record: ImageRecord) -> str:
    """Return the name of the image of a task; the task's number tells images of one name apart."""
    return f"{image_file_name(record.image)} (task {record.task_id})"


def _categories(found: Iterable[DatasetCategory]) -> tuple[Category, ...]:
    """Return the words of a dataset; where it does not say whether one is a thing or stuff, the engine decides."""
    return tuple(Category(category.name, kind=category.kind) for category in found)


def _read(found: _Found, images: Path, name: str) -> LabelledImage:
    """Read an image and its truth.

    Raises:
        DatasetError: the image is missing or damaged, its truth cannot be read whole, or is of another size.
    """
    if name not in found.records:
        raise DatasetError(f"There is no image {name!r}; the first is {next(iter(found.records))!r}.")
    try:
        record = found.records[name]()
        annotation = _whole_annotation(record, found.lost_regions_alone, name)
        image = _image(_image_path(images, record), None if found.upright else record.size_hw)
        return LabelledImage(image, _truth(found, annotation, (image.shape[0], image.shape[1])))
    except (ConverterError, ImageError, OSError) as error:
        raise DatasetError(f"{name}: {error}") from error


def _image(path: Path, size_hw: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return an image as it is stored, if it has the size of its labels so; else upright."""
    stored = read_stored_image(path) if size_hw is not None else None
    return stored if stored is not None and stored.shape[:2] == size_hw else read_image(path)


def _whole_annotation(record: ImageRecord, lost_regions_alone: bool, name: str) -> Annotation:
    annotation = record.preferred_annotation()
    faults = [f"{item.reason}: {item.where}" for item in record.left_out]
    if annotation is None and record.predictions:
        raise DatasetError(
            f"{name}: its annotations have scores, so a model found them, and they are no truth. Name a file that "
            "people made."
        )
    if annotation is None or annotation.lost_regions or (faults and not lost_regions_alone):
        raise DatasetError(f"{name}: its labels cannot be read whole: {'; '.join(faults[:3]) or 'it has none'}.")
    return annotation


def _image_path(folder: Path, record: ImageRecord) -> Path:
    """Return the path of an image; that of a label PNG may have any suffix of images."""
    name = image_file_name(record.image)
    names = (name, PurePosixPath(name).name, *(str(Path(name).with_suffix(suffix)) for suffix in IMAGE_SUFFIXES))
    path = next((path for each in names if (path := find_image_file(folder, each)) is not None), None)
    if path is None:
        raise ImageError(f"the image {name!r} is not in {str(folder)!r}; name the folder of the images with --images")
    return path


def _truth(found: _Found, annotation: Annotation, size_hw: tuple[int, int]) -> Truth:
    labels = found.labels
    known = [(region, labels[name]) for region in annotation.regions for name in region.labels if name in labels]
    labelled = [(region, label) for region, label in known if not _is_box(region, found)]
    numbers = _numbers(labelled, found.categories)
    drawn = [LabelledRegion(region.rle, number) for (region, _), number in zip(labelled, numbers, strict=True)]
    ids = regions_to_label_map(drawn, size_hw).label_map
    categories = dict(zip(numbers, (label for _, label in labelled), strict=True))
    segments = SegmentMap(ids, tuple(categories[number] for number in sorted(categories)))
    label_map = segments.label_map()
    is_partial = found.partial or says_partial(annotation)
    if is_partial or not found.counts_background:
        label_map[ids == 0] = UNKNOWN
    label_map[_unclear(found, annotation, size_hw) & (ids == 0)] = UNKNOWN
    crowds = {number for (region, _), number in zip(labelled, numbers, strict=True) if region.is_crowd}
    # What is found in a box may be right, so it counts as little as what is found in a crowd.
    objects = tuple(TrueObject(n, each.mask(), each.is_crowd or _is_box(each, found)) for each, n in known)
    things = tuple(each for each in objects if found.categories[each.label - 1].kind != "stuff")
    return Truth(
        label_map,
        segments if "panoptic" in found.measures else None,
        frozenset(crowds),
        things if "instances" in found.measures and not is_partial else None,
    )


def _is_box(region: Region, found: _Found) -> bool:
    return region.box_xywh is not None or region.control in found.boxes


def _numbers(labelled: list[tuple[Region, int]], categories: tuple[Category, ...]) -> list[int]:
    """Return the number of each region's segment, from 1 on; all regions of a kind of stuff are one segment."""
    owners = [
        (label, 0 if categories[label - 1].kind == "stuff" else place) for place, (_, label) in enumerate(labelled, 1)
    ]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners), 1)}
    return [numbers[owner] for owner in owners]


def _unclear(found: _Found, annotation: Annotation, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where nobody says what there is, (H, W) bool: void, boxes, and regions without a label of the dataset."""
    unclear = np.zeros(size_hw, dtype=np.bool_)
    for region in annotation.regions:
        if _is_box(region, found) or not found.labels.keys() & set(region.labels):
            unclear |= region.mask()
    return unclear


def _truth_hash(source: OwnDataset, label_pngs: Iterable[Path]) -> str:
    """Return a hash of the files of labels, each with all its bytes: a corrected label often has the same size."""
    path = source.path
    found = hashlib.sha256(str(source.partial).encode())
    described = (path / JSON_NAME, path / LABELS_NAME) if path.is_dir() else (path,)
    for text in (*described, source.label_config, source.labels and Path(source.labels)):
        if text and text.is_file():
            found.update(text.read_bytes())
    for png in label_pngs:
        content = png.read_bytes() if png.is_file() else b""
        found.update(f"{png.name} ".encode() + hashlib.sha256(content).digest())
    return found.hexdigest()


def _dataset_name(path: Path) -> str:
    """Return the name of a dataset of one's own; it is never that of a known one, whose published figures differ."""
    return f"{path.stem} (own)" if path.stem in dataset_names() else path.stem


def _require_no_background(categories: Iterable[Category], path: Path) -> None:
    """Refuse a category that could not be told from what nobody labelled.

    Raises:
        DatasetError: a category has the name of the background.
    """
    named = next((each.name for each in categories if each.name == _BACKGROUND), None)
    if named is not None:
        raise DatasetError(
            f"{str(path)!r} has a category {named!r}, which is also what pixels without a label are called, so the "
            "figures of the two could not be told apart. Rename it, or remove it with its regions."
        )
