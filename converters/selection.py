"""Which images and regions of the records go into a dataset, whatever its format, and the count of the rest.

records ── select_images ──> SelectedImage(file_name, size_hw, regions) ──> coco, ...
                 └────────── Tally: what was left out, why and where
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from converters.image_files import SizeLookup, image_file_name
from converters.records import Annotation, ImageRecord, Prediction, Region

_MAX_DETAILS = 100


@dataclass(frozen=True)
class Selection:
    """What goes into a dataset.

    Attributes:
        source: people's annotations, or models' predictions (with their scores).
        every_annotator: take all annotations of an image (True), or the one that `preferred_annotation` picks.
        keep_unlabelled: take images that nobody has annotated, as images without a region.
        image_root: address that file names are relative to; "" strips what Label Studio put in front.
    """

    source: Literal["annotations", "predictions"] = "annotations"
    every_annotator: bool = False
    keep_unlabelled: bool = False
    image_root: str = ""


@dataclass(frozen=True)
class SelectedImage:
    """An image that goes in: its name and size (pixels), and its regions with a score where one is known."""

    task_id: int | str | None
    file_name: str
    size_hw: tuple[int, int]
    regions: tuple[Region, ...]


class Tally:
    """Counts of what went in and, by reason, of what was left out; the one thing here that changes."""

    def __init__(self) -> None:
        """Start from nothing."""
        self.images_in = 0
        self.images_out = 0
        self.regions_in = 0
        self._left_out: Counter[str] = Counter()
        self._details: list[str] = []

    def leave_out(self, reason: str, where: str) -> None:
        """Count something that is left out; the first 100 are kept with their place."""
        self._left_out[reason] += 1
        if len(self._details) < _MAX_DETAILS:
            self._details.append(f"{reason}: {where}")

    @property
    def left_out(self) -> Mapping[str, int]:
        """How often something was left out, by reason."""
        return dict(self._left_out)

    @property
    def details(self) -> tuple[str, ...]:
        """Reason and place of the first 100."""
        return tuple(self._details)


def select_images(
    records: Iterable[ImageRecord], selection: Selection, size_of: SizeLookup | None, tally: Tally
) -> Iterator[SelectedImage]:
    """Yield the images that go in, one at a time; count the others, and what is left out of each, in `tally`.

    Args:
        records: the images, read once.
        selection: what goes in.
        size_of: sizes of images without any region (None: nothing is known of them).
        tally: where to count.
    """
    for record in records:
        tally.images_in += 1
        for item in record.left_out:
            tally.leave_out(item.reason, item.where)
        markups = _markups(record, selection, tally)
        if markups is None:
            continue
        regions = tuple(region for markup in markups for region in _scored_regions(markup))
        tally.regions_in += len(regions)
        name = image_file_name(record.image, selection.image_root)
        size_hw = record.size_hw or (size_of(name) if size_of else None)
        if size_hw is None:
            tally.leave_out("image of unknown size", f"task {record.task_id}: {name}")
            continue
        tally.images_out += 1
        yield SelectedImage(record.task_id, name, size_hw, regions)


def _markups(record: ImageRecord, selection: Selection, tally: Tally) -> Sequence[Annotation | Prediction] | None:
    """Return what of the record goes in, None if the image itself does not."""
    made: list[Annotation | Prediction]
    wanted: list[Annotation | Prediction]
    if selection.source == "predictions":
        made, wanted = list(record.predictions), list(record.predictions[-1:])
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


def _scored_regions(markup: Annotation | Prediction) -> Iterator[Region]:
    """Yield the regions; where a predicted one has no score, its task's stands for it."""
    for region in markup.regions:
        if isinstance(markup, Prediction) and region.score is None:
            yield replace(region, score=markup.score)
        else:
            yield region
