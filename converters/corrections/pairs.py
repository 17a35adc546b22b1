"""Corrections, region by region: each annotation beside the prediction that it replaced.

    annotation --- parent_prediction ---> prediction        as Label Studio's page saves it
               --- ids of its regions -->                   if that is missing, because regions keep their ids
               --- "prediction" as origin of a region -->   else the newest prediction

    accepted    the same labels and exactly the same pixels
    changed     other pixels, or another label ("relabelled")
    added       a region that no prediction had
    removed     a predicted region that is gone

Pixels decide, not `origin`: a stroke that was taken back is no change, but a region that a script moved without saying
so is a change. Everything works on run lengths; no mask is decoded here.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from converters.encodings.coco_rle import coco_rle_area, coco_rle_intersection
from converters.errors import EvaluationError
from converters.records import Annotation, ImageRecord, Prediction, Region, newest

NOBODY_ANNOTATED = "image that nobody has annotated"
"""The reason why an image without an annotation is not compared."""

NOT_IN_EXPORT = "prediction that is not in the export"
"""The reason why an annotation that replaced a prediction cannot be compared with it."""

OTHER_SIZE = "prediction that states another image size"
"""The reason why an annotation is not compared with a prediction that was made for an image of another size."""

_AT_ONCE = timedelta(minutes=1)

Outcome = Literal["accepted", "changed", "added", "removed"]


@dataclass(frozen=True)
class RegionPair:
    """A predicted region and the annotated region that replaced it; one of the two may be None."""

    predicted: Region | None
    annotated: Region | None

    @property
    def outcome(self) -> Outcome:
        """What the person did to the predicted region."""
        if self.annotated is None:
            return "removed"
        if self.predicted is None:
            return "added"
        same_pixels = self.predicted.rle == self.annotated.rle
        return "accepted" if same_pixels and not self.relabelled else "changed"

    @property
    def relabelled(self) -> bool:
        """Whether the person gave the region other labels."""
        if self.predicted is None or self.annotated is None:
            return False
        return set(self.predicted.labels) != set(self.annotated.labels)

    @cached_property
    def predicted_px(self) -> int:
        """How many pixels were predicted."""
        return 0 if self.predicted is None else coco_rle_area(self.predicted.rle)

    @cached_property
    def annotated_px(self) -> int:
        """How many pixels the annotated region has."""
        return 0 if self.annotated is None else coco_rle_area(self.annotated.rle)

    @cached_property
    def shared_px(self) -> int:
        """How many pixels both regions share."""
        if self.predicted is None or self.annotated is None:
            return 0
        return coco_rle_intersection(self.predicted.rle, self.annotated.rle)

    @property
    def painted_px(self) -> int:
        """How many pixels the person added."""
        return self.annotated_px - self.shared_px

    @property
    def erased_px(self) -> int:
        """How many pixels the person took away."""
        return self.predicted_px - self.shared_px

    @property
    def iou(self) -> float:
        """IoU of the two shapes, whatever their labels; 0 if one of the regions is missing."""
        union = self.predicted_px + self.annotated_px - self.shared_px
        return self.shared_px / union if union else 0.0


@dataclass(frozen=True)
class Correction:
    """One annotation of one image, the prediction that it replaced, and the regions of both in pairs."""

    record: ImageRecord
    annotation: Annotation
    prediction: Prediction
    pairs: tuple[RegionPair, ...]

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the image in pixels as the regions state them; None if there is no region."""
        regions = (*self.prediction.regions, *self.annotation.regions)
        return regions[0].size_hw if regions else self.record.size_hw

    @property
    def changed_px(self) -> int:
        """How many pixels the person added or took away, over all regions."""
        return sum(pair.painted_px + pair.erased_px for pair in self.pairs)


@dataclass(frozen=True)
class NotCompared:
    """An annotation or an image that cannot be compared with a prediction.

    Attributes:
        reason: why it cannot be compared.
        record: the image.
        annotation: the annotation, None if the whole image has none.
        is_loss: whether there was a prediction that the export does not hold.
    """

    reason: str
    record: ImageRecord
    annotation: Annotation | None = None
    is_loss: bool = False


def find_corrections(record: ImageRecord, *, unlinked: bool = False) -> Iterator[Correction | NotCompared]:
    """Pair each annotation of an image with the prediction that it replaced.

    Args:
        record: the image.
        unlinked: compare an annotation that names no prediction with the newest prediction.
    """
    if not record.annotations:
        yield NotCompared(NOBODY_ANNOTATED, record)
    for annotation in record.annotations:
        if annotation.skipped:
            yield NotCompared("skipped by the annotator", record, annotation)
            continue
        prediction = _replaced_prediction(annotation, record.predictions)
        if prediction is None and _says_it_replaced_one(annotation):
            yield NotCompared(NOT_IN_EXPORT, record, annotation, is_loss=True)
            continue
        if prediction is None and unlinked:
            prediction = newest(record.predictions)
        if prediction is None:
            yield NotCompared("annotation made without a prediction", record, annotation)
        elif len({region.size_hw for region in (*prediction.regions, *annotation.regions)}) > 1:
            yield NotCompared(OTHER_SIZE, record, annotation, is_loss=True)
        else:
            yield Correction(record, annotation, prediction, pair_regions(prediction.regions, annotation.regions))


def pair_regions(predicted: Sequence[Region], annotated: Sequence[Region]) -> tuple[RegionPair, ...]:
    """Pair each predicted region with the annotated region that replaced it.

    Partners are found, in this order, by id and shape, by id, by labels and shape, and, for annotated regions whose
    `origin` says that they were predicted, by the largest overlap. A predicted region without a partner was removed; an
    annotated region without a partner was added.

    Returns:
        The pairs of all predicted regions in their order, then the pairs of the added regions in their order.

    Raises:
        EvaluationError: the regions belong to images of different sizes.
    """
    sizes = {region.size_hw for region in (*predicted, *annotated)}
    if len(sizes) > 1:
        raise EvaluationError(f"expected regions of one image size (height, width), got {sorted(sizes)}")
    partners: dict[int, int] = {}
    for key in (_id_and_shape, _id, _labels_and_shape):
        _pair_by(key, predicted, annotated, partners)
    _pair_by_overlap(predicted, annotated, partners)
    taken = set(partners.values())
    kept = [RegionPair(p, annotated[partners[i]] if i in partners else None) for i, p in enumerate(predicted)]
    return (*kept, *(RegionPair(None, a) for j, a in enumerate(annotated) if j not in taken))


# ---------------------------------------------------------------- which prediction


def _replaced_prediction(annotation: Annotation, predictions: Sequence[Prediction]) -> Prediction | None:
    """Return the prediction that an annotation names, or, if it names none, the prediction that its regions point at.

    The name comes first, because a newer prediction may have regions of the same ids without being the corrected one.
    Label Studio forgets the name of a prediction that is deleted; one that was made after the annotation was last
    changed is not it. Label Studio gives what it imports the time of the import, to predictions a moment after the
    annotations that corrected them; so what is later by less than `_AT_ONCE` may be it.
    """
    if annotation.parent_prediction is not None:
        named = str(annotation.parent_prediction)
        return next((prediction for prediction in predictions if str(prediction.id) == named), None)
    predictions = [each for each in predictions if not _is_later(each.created_at, annotation.updated_at)]
    ids = {region.id for region in annotation.regions if region.id}
    shared = [len(ids & {region.id for region in prediction.regions}) for prediction in predictions]
    if any(shared):  # of equals the newest
        alike = [prediction for prediction, count in zip(predictions, shared, strict=True) if count == max(shared)]
        return newest(alike)
    return newest(predictions) if any(map(_was_predicted, annotation.regions)) else None


def _is_later(time: str, other: str) -> bool:
    """Tell whether a time (ISO 8601) is known to be clearly later than another."""
    try:
        return datetime.fromisoformat(time) - datetime.fromisoformat(other) > _AT_ONCE
    except (TypeError, ValueError):  # one is unknown, or of one alone the time zone is known
        return False


def _says_it_replaced_one(annotation: Annotation) -> bool:
    return annotation.parent_prediction is not None or any(map(_was_predicted, annotation.regions))


def _was_predicted(region: Region) -> bool:
    return region.origin in ("prediction", "prediction-changed")


# ---------------------------------------------------------------- which region


def _id_and_shape(region: Region) -> Hashable:
    return (region.id, region.rle["counts"]) if region.id else None


def _id(region: Region) -> Hashable:
    return region.id or None


def _labels_and_shape(region: Region) -> Hashable:
    return region.labels, region.rle["counts"]


def _pair_by(
    key: Callable[[Region], Hashable],
    predicted: Sequence[Region],
    annotated: Sequence[Region],
    partners: dict[int, int],
) -> None:
    """Add pairs of free regions that have the same key to `partners`, a dict from predicted to annotated positions."""
    taken = set(partners.values())
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j, region in enumerate(annotated):
        if j not in taken and key(region) is not None:
            waiting[key(region)].append(j)
    for i, region in enumerate(predicted):
        if i not in partners and waiting.get(key(region)):
            partners[i] = waiting[key(region)].popleft()


def _pair_by_overlap(predicted: Sequence[Region], annotated: Sequence[Region], partners: dict[int, int]) -> None:
    """Add pairs of free regions with the largest overlap to `partners`, if the origin says that they were predicted."""
    taken = set(partners.values())
    overlaps = [
        (RegionPair(p, a).iou, i, j)
        for j, a in enumerate(annotated)
        if j not in taken and _was_predicted(a)
        for i, p in enumerate(predicted)
        if i not in partners
    ]
    for iou, i, j in sorted(overlaps, key=lambda overlap: -overlap[0]):
        if iou > 0 and i not in partners and j not in taken:
            partners[i] = j
            taken.add(j)
