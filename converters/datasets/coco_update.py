"""Corrections written back into the COCO file that was imported; annotations that nobody changed keep every value.

    coco.json -- coco_reader, tasks --> Label Studio -- export, reader --> records
        |                                                                     |
        +---------------------------> update_coco <--------------------------+

The file keeps its ids, its extra keys (licenses, info, attributes, ...), its order, and every annotation of an image
that is not in the export or that nobody annotated. An annotation is found again by the id of its region.

To tell whether a person changed a region, the original annotation is sent through the label config once more. The
result is the region that Label Studio has shown, even if a control cannot hold every pixel (polygons, boxes). The
region in the export is compared with that one:

    same shape, same labels       the annotation stays as it is
    other pixels                  new segmentation, area and bbox; the id and all other keys stay
    another label                 new category_id; the id and all other keys stay
    the region is gone            the annotation is removed, unless a region of its image could not be read
    the region is new             a new annotation, numbered after the highest id
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import numpy as np

from converters.datasets.coco import CocoDataset, CocoOptions, CocoShape, CocoShapes
from converters.datasets.coco_details import attributes_of, detail_keys
from converters.datasets.coco_index import ImageId, coco_id, index_coco
from converters.datasets.coco_reader import stated_size
from converters.datasets.coco_regions import is_box_alone, read_regions
from converters.encodings.coco_rle import CocoRLE, mask_to_coco_rle
from converters.encodings.masks import MAX_PIXELS
from converters.errors import CocoError, ConverterError, ImageFileError
from converters.files.image_files import image_file_name
from converters.files.json_values import Json, JsonObject
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import LabelConfig
from converters.label_studio.reader import tasks_to_records
from converters.label_studio.tasks import records_to_tasks
from converters.records import Annotation, DatasetCategory, ImageRecord, Region
from converters.selection import ConversionCounts, SelectedImage, Tally, select_images


def update_coco(
    original: CocoDataset,
    records: Iterable[ImageRecord],
    config: LabelConfig,
    options: CocoOptions | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> tuple[CocoDataset, ConversionCounts]:
    """Write corrected records back into the COCO dataset that they were made of.

    Args:
        original: the dataset as `coco_index.read_coco` returns it; it is not changed. Images are found again by their
            file names.
        records: the corrected images, read one at a time.
        config: the label config of the project that the records come from; a label that is no category of the dataset
            becomes a new category.
        options: the choice of annotations (one for each image), and the form of changed shapes.
        max_pixels: refuse larger images.

    Returns:
        The updated dataset and the counts: `regions_out` counts its annotations, `notes` says what became of them.

    Raises:
        CocoError: `options.every_annotator`, `split_parts` or `min_area_px` is set, or the dataset has no category.
    """
    options = options or CocoOptions()
    if options.every_annotator:
        raise CocoError("expected one annotation an image to write back, got every_annotator: which would be right?")
    if options.split_parts or options.min_area_px:
        raise CocoError(
            "expected whole regions to write back, got split_parts or min_area_px: an annotation is found by its region"
        )
    tally = Tally()
    update = _Update(original, config, options, tally, max_pixels)
    for image in select_images(records, options, update.size_of, tally, is_new_dataset=False):
        update.add(image)
    return update.dataset(), tally.counts()


@dataclass(frozen=True)
class _Shown:
    """A region of the original dataset.

    Attributes:
        region: the region.
        annotations: the annotations that the region was made of.
        given: the regions that Label Studio was given to show it.
    """

    region: Region
    annotations: tuple[Json, ...]
    given: tuple[Region, ...]


@dataclass(frozen=True)
class _Change:
    """What of a region changed; of its answers those that did, as they are now, None for one that is gone."""

    shape: bool
    crowd: bool
    keypoints: bool
    answers: Mapping[str, tuple[str, ...] | None]

    def __bool__(self) -> bool:
        return bool(self.shape or self.crowd or self.keypoints or self.answers)


class _Update:
    """The original dataset, and the annotations that replace its own or are added."""

    def __init__(
        self, original: CocoDataset, config: LabelConfig, options: CocoOptions, tally: Tally, max_pixels: int
    ) -> None:
        self._original = original
        self._config = config
        self._tally = tally
        self._max_pixels = max_pixels
        self._shapes = CocoShapes(options)
        self._index = index = index_coco(original)
        self._ids = {category.name: category.id for category in index.categories}
        self._names = index.names
        self._new_categories = _new_categories(categories_of(config), self._ids, set(self._names))
        self._ids |= {category.name: category.id for category in self._new_categories}
        self._entries = index.images
        self._by_image = index.annotations
        self._images = _images_by_name(index.images)
        self._next_id = max((i for a in original["annotations"] if (i := coco_id(a.get("id"))) is not None), default=0)
        self._replaced: dict[int, JsonObject | None] = {}  # by identity of the original's annotation
        self._added: list[JsonObject] = []
        self._done: set[ImageId] = set()

    def size_of(self, file_name: str) -> tuple[int, int] | None:
        """Return (height, width) of an image of the original dataset, None if it has no such image."""
        key = self._images.get(file_name)
        return None if key is None else stated_size(self._entries[key])

    def add(self, image: SelectedImage) -> None:
        """Take over the changed and new regions of one image."""
        key = self._images.get(image.file_name)
        where = f"task {image.task_id}: {image.file_name!r:.200}"
        if key is None:
            self._tally.leave_out("image that is not in the COCO file (or under another image root)", where)
        elif (stated_size(self._entries[key]) or image.size_hw) != image.size_hw:
            self._tally.leave_out("image of another size than in the COCO file", where)
        elif key in self._done:
            self._tally.leave_out("image that was in the export before", where)
        elif image.size_hw[0] * image.size_hw[1] > self._max_pixels:
            self._tally.leave_out("image that is too large", where)
        elif not all(region.id for region in image.regions):
            what = "image whose regions have no ids to find annotations by: export JSON, not JSON_MIN"
            self._tally.leave_out(what, where)
        else:
            self._done.add(key)
            self._tally.images_out += 1
            self._add_regions(image, key)

    def dataset(self) -> CocoDataset:
        """Return the updated dataset."""
        kept = [self._replaced.get(id(annotation), annotation) for annotation in self._original["annotations"]]
        annotations = [annotation for annotation in kept if annotation is not None] + self._added
        self._tally.regions_out = len(annotations)
        self._tally.note("images of the COCO file that stay as they were", len(self._by_image) - len(self._done))
        used = {annotation.get("category_id") for annotation in self._added}
        used |= {annotation["category_id"] for annotation in self._replaced.values() if annotation}
        new = [{"id": c.id, "name": c.name, "supercategory": ""} for c in self._new_categories if c.id in used]
        self._tally.note("categories added", len(new))
        categories = [*self._original["categories"], *new]
        return {**self._original, "categories": categories, "annotations": annotations}

    def _add_regions(self, image: SelectedImage, image_id: ImageId) -> None:
        shown, unread = self._shown(image, image_id)
        self._tally.note("annotations that could not be shown and stay as they were", unread)
        owner = {given.id: position for position, item in enumerate(shown) for given in item.given}
        corrected: list[list[Region]] = [[] for _ in shown]
        new: list[Region] = []
        for region in image.regions:
            (corrected[owner[region.id]] if region.id in owner else new).append(region)
        for item, regions in zip(shown, corrected, strict=True):
            if regions or not image.lost_regions:
                self._correct(item, regions, image_id)
            else:  # its region may be the one that could not be read
                what = "annotations that stay as they were because regions of their image could not be read"
                self._tally.note(what, len(item.annotations))
        for region in new:
            self._tally.note("annotations added", self._add_new(region.labels, region, image_id))

    def _shown(self, image: SelectedImage, image_id: ImageId) -> tuple[list[_Shown], int]:
        """Return an image's original regions as Label Studio showed them, and the number of those it could not show."""
        found = read_regions(self._by_image[image_id], image.size_hw, self._index, f"image {image_id}")
        back = {region.id: region for region in image.regions}
        shown = []
        unread = len(found.left_out)
        for region in found.regions:
            came = back.get(region.id)
            # The config may have changed since the import: by a control more, or by another name of the label.
            control = "" if came is None else came.control
            given = self._given(replace(region, control=control))
            if not given and came is not None:
                given = self._given(replace(region, control=control, labels=came.labels))
            if given:
                shown.append(_Shown(region, found.sources[region.id], given))
            else:
                unread += len(found.sources[region.id])
        return shown, unread

    def _given(self, region: Region) -> tuple[Region, ...]:
        """Return the regions that Label Studio was given for an original region; none if it cannot show the region."""
        record = ImageRecord(None, "image", self._config.images[0].name, annotations=(Annotation(None, (region,)),))
        try:
            (back,) = tasks_to_records(records_to_tasks([record], self._config), self._config)
        except ConverterError:  # its label is in no control: it was left out on the way in as well, and counted there
            return ()
        return back.annotations[0].regions

    def _correct(self, item: _Shown, regions: Sequence[Region], image_id: ImageId) -> None:
        """Compare the regions that came back with the regions that were given, and change their annotations."""
        if not regions:
            self._replaced |= {id(annotation): None for annotation in item.annotations}
            self._tally.note("annotations removed", len(item.annotations))
            return
        same_shape = sorted((r.id, r.rle["counts"]) for r in regions) == sorted(
            (g.id, g.rle["counts"]) for g in item.given
        )
        labels = tuple(dict.fromkeys(label for region in regions for label in region.labels))
        change = _Change(
            shape=not same_shape,
            crowd=_is_crowd(regions) != _is_crowd(item.given),
            keypoints=_points(regions) != _points(item.given),
            answers=_changed_answers(item.given, regions),
        )
        if change or set(labels) != set(item.region.labels):
            self._rewrite(item.annotations, replace(_joined(regions), labels=labels), change, image_id)
        else:
            self._tally.note("annotations that stay as they were", len(item.annotations))

    def _rewrite(
        self,
        annotations: Sequence[Json],
        region: Region,
        change: _Change,
        image_id: ImageId,
    ) -> None:
        """Give each label of a region one of its annotations; delete those without a label, add missing ones."""
        labels = region.labels
        free = {self._name_of(annotation): annotation for annotation in annotations}
        kept = {label: free.pop(label) for label in labels if label in free}
        missing = [label for label in labels if label not in kept]
        for label in list(missing):
            if label in self._ids and free:
                kept[label] = free.pop(next(iter(free)))
                missing.remove(label)
        for label, annotation in kept.items():
            keys = self._new_shape(region, annotation) if change.shape else {}
            keys |= _changed_details(change, self._new_details(region, label), annotation)
            category_id = annotation["category_id"] if self._name_of(annotation) == label else self._ids[label]
            new = {**annotation, "category_id": category_id, **keys}
            if new != annotation:
                self._replaced[id(annotation)] = new
            self._tally.note("annotations changed", int(new != annotation))
        self._replaced |= {id(annotation): None for annotation in free.values()}
        self._tally.note("annotations removed", len(free))
        self._tally.note("annotations added", self._add_new(missing, region, image_id))

    def _add_new(self, labels: Sequence[str], region: Region, image_id: ImageId) -> int:
        """Add an annotation for each label that is a category; return how many were added."""
        added = 0
        if not region.labels:
            self._tally.leave_out("region without a label", f"image {image_id}, region {region.id!r}")
        for label in labels:
            if label not in self._ids:
                self._tally.leave_out("label that is no category", f"image {image_id}, region {region.id!r}: {label!r}")
                continue
            self._next_id += 1
            added += 1
            head = {"id": self._next_id, "image_id": self._entries[image_id]["id"], "category_id": self._ids[label]}
            self._added.append({**head, **self._shape(region).keys(), **self._new_details(region, label)})
        return added

    def _name_of(self, annotation: Json) -> str:
        return self._names[coco_id(annotation["category_id"]) or 0]

    def _new_shape(self, region: Region, annotation: Json) -> JsonObject:
        """Return the keys of a changed shape; an annotation that had a box alone keeps to its box."""
        keys = self._shape(region).keys()
        if region.box_xywh is None or not is_box_alone(annotation):
            return keys
        return {"bbox": keys["bbox"], "area": region.box_xywh[2] * region.box_xywh[3]}

    def _new_details(self, region: Region, label: str) -> JsonObject:
        names = self._index.keypoints.get(self._ids[label], ())
        return {"iscrowd": int(region.is_crowd), **detail_keys(region, names)}

    def _shape(self, region: Region) -> CocoShape:
        return self._shapes.of(region)


def _joined(regions: Sequence[Region]) -> Region:
    """Join regions to one region with all their pixels; a polygon control shows each part of a region by itself."""
    if len(regions) == 1:
        return regions[0]
    mask = np.logical_or.reduce([region.mask() for region in regions])
    rle: CocoRLE = mask_to_coco_rle(mask)
    return replace(regions[0], rle=rle, polygon=None, box_xywh=None)


def _changed_details(change: _Change, new: Mapping[str, Any], annotation: Json) -> JsonObject:
    """Return the new keys of the details that changed; an attribute that did not change keeps its value, as false."""
    points = {key: value for key, value in new.items() if key not in ("iscrowd", "attributes")}
    given = annotation.get("attributes")
    values = given.items() if isinstance(given, Mapping) else ()
    kept = {name: value for name, value in values if change.answers.get(name, ()) is not None}
    answers = {name: texts for name, texts in change.answers.items() if texts is not None}
    return {
        **({"iscrowd": new["iscrowd"]} if change.crowd else {}),
        **(points if change.keypoints else {}),
        **({"attributes": kept | attributes_of(answers)} if change.answers else {}),
    }


def _is_crowd(regions: Sequence[Region]) -> bool:
    return any(region.is_crowd for region in regions)


def _points(regions: Sequence[Region]) -> list[tuple[str, float, float, bool]]:
    return sorted((p.name, round(p.x, 2), round(p.y, 2), p.is_hidden) for region in regions for p in region.keypoints)


def _changed_answers(before: Sequence[Region], after: Sequence[Region]) -> dict[str, tuple[str, ...] | None]:
    """Return the answers that changed, as they are now; None for one that is gone."""
    sides = (before, after)
    old, new = ({name: texts for each in side for name, texts in each.answers.items()} for side in sides)
    return {name: new.get(name) for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)}


def _new_categories(
    configured: Iterable[DatasetCategory], ids: Mapping[str, int], taken: set[int]
) -> tuple[DatasetCategory, ...]:
    """Return the labels that are no category of the dataset as new categories, with ids that are free there."""
    return tuple(_numbered((c for c in configured if c.name not in ids), taken))


def _numbered(categories: Iterable[DatasetCategory], taken: set[int]) -> Iterator[DatasetCategory]:
    for category in categories:
        number = category.id if category.id not in taken else max(taken) + 1
        taken.add(number)
        yield DatasetCategory(number, category.name, category.kind)


def _images_by_name(images: Mapping[ImageId, Json]) -> dict[str, ImageId]:
    """Return the id of each image by its file name; a name that several images have is none of them."""
    by_name: dict[str, list[ImageId]] = {}
    for key, image in images.items():
        name = image.get("file_name")
        if isinstance(name, str):
            by_name.setdefault(name, []).append(key)
    # As the address of a task, "a%20b.jpg" or a URL comes back in other words; no two may do so in the same.
    in_other_words: dict[str, list[ImageId]] = {}
    for name, keys in by_name.items():
        for other in _in_other_words(name):
            in_other_words.setdefault(other, []).extend(keys)
    return {name: keys[0] for names in (in_other_words, by_name) for name, keys in names.items() if len(keys) == 1}


def _in_other_words(name: str) -> set[str]:
    """Return the names by which an image may come back, if its file name was the address of a task."""
    names = {unquote(name).lstrip("/")}
    with suppress(ImageFileError):  # as "http://[", which is no address
        names.add(image_file_name(name))
    return names
