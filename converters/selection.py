"""Which images and regions of the records go into a dataset of any format, and the counts of all others.

records ── select_images ──> SelectedImage(file_name, size_hw, regions) ──> coco, panoptic, ...
                 └────────── Tally ──> ConversionCounts: how much was left out, why and where
"""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal, get_args

from converters.encodings.parts import coco_rle_to_parts
from converters.errors import ImageFileError, RecordError
from converters.files.image_files import SizeLookup, image_file_name
from converters.files.output import name_in_folder
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region, newest

UNKNOWN_SIZE = "image of unknown size"
"""The reason to leave out an image without a region: only the image's file could say how large the image is."""

OTHER_SIZE = "region that states another image size"
"""The reason to leave out a region: the regions of other annotators, which are more, state another size."""

NO_REGION_LEFT = "image of which every region was left out"
"""The reason to leave out an image: without a region it would say that there is nothing to see in it."""

SHARED_NAME = "images with the file name of another image: give --image-root what all addresses begin with"
"""The note on images that are written, and that no reader of the dataset can tell apart."""

OTHER_FILE_SIZE = "images whose files are of another size than their regions state: `validate --images` names them"
"""The note on images that are written, whose masks and boxes do not fit their files."""

Detail = Literal["iscrowd", "keypoints", "answers"]
"""What a region may carry beside its shape, labels and score."""

_MAX_DETAILS = 100


@dataclass(frozen=True)
class Thresholds:
    """The scores, from 0 to 1, below which predicted regions are left out.

    Attributes:
        min_score: the score for all labels.
        of_labels: the scores of single labels, which count more, also if they are lower.
    """

    min_score: float = 0.0
    of_labels: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether anything can be left out."""
        return self.min_score > 0 or any(score > 0 for score in self.of_labels.values())

    def of(self, label: str) -> float:
        """Return the score below which regions of a label are left out."""
        return self.of_labels.get(label, self.min_score)

    def require_known(self, labels: Collection[str]) -> None:
        """Raise a RecordError if a threshold is of no label among these."""
        for label, score in self.of_labels.items():
            if label not in labels:
                near = difflib.get_close_matches(label, labels, n=1)
                raise RecordError(
                    f"expected --threshold of one of the labels {list(labels)!r:.200}, got {label}={score:g}"
                    + (f": did you mean {near[0]!r}?" if near else "")
                )


NO_THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Selection:
    """The choice of what goes into a dataset.

    Attributes:
        source: the annotations of people, or the predictions of models (with their scores).
        every_annotator: take all annotations of an image (True), or only the annotation that `preferred_annotation`
            picks (False). Of several predictions always the newest is taken.
        keep_unlabelled: take images that nobody has annotated, too, as images without a region.
        image_root: the address that file names are relative to; "" removes the part that Label Studio put in front.
        split_parts: make an entry of each connected part of a region (True), or of each region (False).
        min_area_px: drop connected parts of fewer pixels of the original image; 0 drops none.
        thresholds: leave out predicted regions with lower scores; a region of several labels stays if one of them
            would keep it.
    """

    source: Literal["annotations", "predictions"] = "annotations"
    every_annotator: bool = False
    keep_unlabelled: bool = False
    image_root: str = ""
    split_parts: bool = False
    min_area_px: int = 0
    thresholds: Thresholds = NO_THRESHOLDS


@dataclass(frozen=True)
class SelectedImage:
    """An image that goes into the dataset.

    Attributes:
        number: the position of the image among all images that were read, from 1. Images that are left out are
            counted, too, so an image has the same number in a dataset of predictions and in one of annotations. An
            image that an earlier task shows has the number that it had there.
        task_id: Label Studio's number of the task.
        file_name: the name of the image in the dataset.
        size_hw: height and width in pixels.
        regions: the regions that go in, with a score where one is known.
        lost_regions: how many regions could not be read, or are of another size than the image.
    """

    number: int
    task_id: int | str | None
    file_name: str
    size_hw: tuple[int, int]
    regions: tuple[Region, ...]
    lost_regions: int = 0


@dataclass(frozen=True)
class ConversionCounts:
    """How much a conversion read, wrote and left out.

    Attributes:
        images_in, images_out: how many images were read, and how many were written.
        regions_in, regions_out: how many regions were read, and how many entries were written for them.
        left_out: how often something was left out, by reason.
        details: the reason and the place of the first 100 things that were left out.
        notes: how often a region was written in another form than it was drawn in, by the kind of change.
    """

    images_in: int
    images_out: int
    regions_in: int
    regions_out: int
    left_out: Mapping[str, int]
    details: tuple[str, ...]
    notes: Mapping[str, int]

    def reasons(self) -> str:
        """Return the reasons for leaving things out, and how often each applied, as text."""
        return "; ".join(f"{reason} ({times})" for reason, times in self.left_out.items()) or "nothing was left out"


class Tally:
    """The counts while a conversion runs. No other object here changes."""

    def __init__(self) -> None:
        """Start with all counts at 0."""
        self.images_in = 0
        self.images_out = 0
        self.regions_in = 0
        self.regions_out = 0
        self._notes: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._details: list[str] = []

    def leave_out(self, reason: str, where: str) -> None:
        """Count something that is left out; the places of the first 100 things are kept."""
        self._left_out[reason] += 1
        if len(self._details) < _MAX_DETAILS:
            self._details.append(f"{reason}: {where}")

    def note(self, what: str, times: int = 1) -> None:
        """Count regions that were written in another form than they were drawn in."""
        self._notes[what] += times

    def take_over(self, record: ImageRecord) -> None:
        """Count what the reader of a record has left out or noted."""
        for item in record.left_out:
            self.leave_out(item.reason, item.where)
        for what in record.notes:
            self.note(what)

    def counts(self) -> ConversionCounts:
        """Return the counts so far."""
        return ConversionCounts(
            images_in=self.images_in,
            images_out=self.images_out,
            regions_in=self.regions_in,
            regions_out=self.regions_out,
            left_out=self.left_out,
            details=self.details,
            notes={what: times for what, times in self._notes.items() if times},
        )

    @property
    def left_out(self) -> Mapping[str, int]:
        """How often something was left out, by reason."""
        return dict(self._left_out)

    @property
    def details(self) -> tuple[str, ...]:
        """The reason and the place of the first 100 things that were left out."""
        return tuple(self._details)


def select_images(
    records: Iterable[ImageRecord],
    selection: Selection,
    size_of: SizeLookup | None,
    tally: Tally,
    categories: Collection[str] | None = None,
    *,
    is_new_dataset: bool = True,
) -> Iterator[SelectedImage]:
    """Yield the images that go into the dataset, one at a time, and count everything that is left out.

    An image of which every region was left out is left out, too: see `NO_REGION_LEFT`.
    `images_out` and `regions_out` are not counted here: the caller counts what it writes.

    Args:
        records: the images, read once.
        selection: the choice of what goes in.
        size_of: a look-up of the sizes of images without a region (None: their sizes are unknown).
        tally: the counts to add to.
        categories: the labels that the dataset can hold (None: any).
        is_new_dataset: whether all images are written, so that those are noted that share a file name, or whose files
            are of another size. An update leaves such images out, by the sizes that the old dataset states.
    """
    numbers: dict[str, int] = {}
    names: dict[str, int] = {}
    for record in records:
        tally.images_in += 1
        number = numbers.setdefault(record.image, tally.images_in)
        tally.take_over(record)
        markups = _markups(record, selection, tally) if record.image else None
        if markups is None:
            continue
        regions = tuple(region for markup in markups for region in _scored_regions(markup))
        tally.regions_in += len(regions)
        lost = len(regions) + sum(markup.lost_regions for markup in markups)
        regions = _of_one_size(regions, record, tally)
        lost -= len(regions)
        try:
            name = image_file_name(record.image, selection.image_root)
        except ImageFileError as error:
            tally.leave_out("image address that gives no file name", f"task {record.task_id}: {error}")
            continue
        if not regions and lost:
            tally.leave_out(NO_REGION_LEFT, f"task {record.task_id}: {name}")
            continue
        size_hw = regions[0].size_hw if regions else record.size_hw or (size_of(name) if size_of else None)
        if size_hw is None:
            tally.leave_out(UNKNOWN_SIZE, f"task {record.task_id}: {name}")
            continue
        if is_new_dataset:
            tally.note(SHARED_NAME, int(names.setdefault(name, number) != number))
            actual_hw = size_of(name) if size_of and regions else None
            tally.note(OTHER_FILE_SIZE, int(actual_hw not in (None, size_hw)))
        regions = tuple(_above_thresholds(regions, selection.thresholds, tally))
        chosen = tuple(part for region in regions for part in _parts_of(region, selection, tally))
        image = SelectedImage(number, record.task_id, name, size_hw, chosen, lost)
        if chosen and categories is not None and not _has_label_of(image, categories):
            list(labelled_regions(image, {}, tally, holds=get_args(Detail)))  # counts why each region is left out
            tally.leave_out(NO_REGION_LEFT, f"task {record.task_id}: {name}")
            continue
        yield image


def _has_label_of(image: SelectedImage, categories: Collection[str]) -> bool:
    return any(name in categories for region in image.regions for name in region.labels)


def with_own_file(
    images: Iterable[SelectedImage], suffix: str, tally: Tally
) -> Iterator[tuple[SelectedImage, PurePosixPath]]:
    """Yield each image with the name of a file that belongs to it: the image's name with another suffix.

    An image is left out if its name leads out of the folder, or if another image would have the same file, or has a
    folder of the name of this file.
    """
    taken: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for image in images:
        name = name_in_folder(image.file_name, suffix)
        where = f"task {image.task_id}: {image.file_name!r:.200}"
        if name is None:
            tally.leave_out("image name that cannot be a file inside a folder", where)
        elif name in taken:
            tally.leave_out("image name that another image has, its suffix aside", where)
        elif name in folders or not taken.isdisjoint(name.parents):
            tally.leave_out("image name whose file another image needs as a folder, or the other way", where)
        else:
            taken.add(name)
            folders.update(name.parents)
            yield image, name


def labelled_regions(
    image: SelectedImage, categories: Mapping[str, int], tally: Tally, *, holds: Collection[Detail] = ()
) -> Iterator[tuple[Region, int]]:
    """Yield each region with the id of each of its categories; labels that are no category are left out.

    `holds` names the details of regions that the format can hold; all others are counted as left out.
    """
    for region in image.regions:
        where = f"task {image.task_id}, region {region.id!r}"
        details = {"iscrowd": region.is_crowd, "keypoints": region.keypoints, "answers": region.answers}
        for detail, value in details.items():
            if value and detail not in holds:
                tally.leave_out(f"{detail} of a region, which this format cannot hold", where)
        if not region.labels:
            tally.leave_out("region without a label", where)
        for name in region.labels:
            if name in categories:
                yield region, categories[name]
            else:
                tally.leave_out("label that is no category", f"{where}: {name!r}")


def require_distinct(categories: Sequence[DatasetCategory]) -> dict[str, int]:
    """Return the ids of categories by name.

    Raises:
        RecordError: there is no category, or two categories share a name or an id.
    """
    by_name = {category.name: category.id for category in categories}
    if not categories or len(by_name) < len(categories) or len(set(by_name.values())) < len(categories):
        raise RecordError(
            "expected categories with a name and an id of their own each, got "
            f"{[(c.id, c.name) for c in categories]!r:.200}"
        )
    return by_name


def _markups(record: ImageRecord, selection: Selection, tally: Tally) -> Sequence[Annotation | Prediction] | None:
    """Return the annotations or predictions of a record that go in, None if the image itself is left out."""
    made: list[Annotation | Prediction]
    wanted: list[Annotation | Prediction]
    if selection.source == "predictions":
        last = newest(record.predictions)
        made, wanted = list(record.predictions), [] if last is None else [last]
    else:
        made = [annotation for annotation in record.annotations if not annotation.skipped]
        if not made and record.annotations:
            tally.leave_out("skipped by the annotator", f"task {record.task_id}")
            return None
        preferred = record.preferred_annotation()
        wanted = made if selection.every_annotator or preferred is None else [preferred]
    for markup in made:
        if not any(markup is other for other in wanted):
            tally.leave_out("another one of the same image was preferred", f"task {record.task_id}, id {markup.id}")
    if not made and not selection.keep_unlabelled:
        tally.leave_out(f"image without {selection.source}", f"task {record.task_id}")
        return None
    return wanted


def _of_one_size(regions: tuple[Region, ...], record: ImageRecord, tally: Tally) -> tuple[Region, ...]:
    """Return the regions whose image size most of them state; the others, of other annotators, are left out."""
    sizes = Counter(region.size_hw for region in regions)
    if len(sizes) < 2:
        return regions
    size_hw, _ = sizes.most_common(1)[0]
    for region in regions:
        if region.size_hw != size_hw:
            what = f"expected (height, width) {size_hw} as most regions state, got {region.size_hw}"
            tally.leave_out(OTHER_SIZE, f"task {record.task_id}, region {region.id!r}: {what}")
    return tuple(region for region in regions if region.size_hw == size_hw)


def _scored_regions(markup: Annotation | Prediction) -> Iterator[Region]:
    """Yield the regions; a predicted region without a score gets the score of its task."""
    for region in markup.regions:
        if isinstance(markup, Prediction) and region.score is None:
            yield replace(region, score=markup.score)
        else:
            yield region


def _above_thresholds(regions: Iterable[Region], thresholds: Thresholds, tally: Tally) -> Iterator[Region]:
    """Yield the regions without those below their thresholds, and count these; a region without a score stays."""
    for region in regions:
        least = min(map(thresholds.of, region.labels), default=thresholds.min_score)
        is_hidden = region.score is not None and region.score < least
        tally.note("regions below their threshold dropped", int(is_hidden))
        if not is_hidden:
            yield region


def _parts_of(region: Region, selection: Selection, tally: Tally) -> Iterator[Region]:
    """Yield a region, or its connected parts, without those that are too small; count what was split and dropped.

    A crowd stays whole: nobody told its things apart. Keypoints belong to the whole, so parts have none.
    """
    if not (selection.split_parts or selection.min_area_px):
        yield region
        return
    found = coco_rle_to_parts(region.rle, selection.min_area_px)
    tally.note(f"parts smaller than {selection.min_area_px} px dropped", found.dropped)
    tally.note(f"regions without a part of {selection.min_area_px} px dropped", int(found.whole is None))
    is_split = selection.split_parts and len(found.parts) > 1 and not region.is_crowd
    tally.note("regions split into their parts", int(is_split))
    if is_split:
        tally.note("keypoints of a region that was split, not written", int(bool(region.keypoints)))
        yield from (replace(region, rle=part, polygon=None, box_xywh=None, keypoints=()) for part in found.parts)
    elif found.whole is not None and found.dropped:
        yield replace(region, rle=found.whole, polygon=None, box_xywh=None)
    elif found.whole is not None:
        yield region
