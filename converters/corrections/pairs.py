"""What people did to predictions: each annotation beside the prediction that it replaced, region by region.

    annotation --- parent_prediction ---> prediction        as Label Studio's page saves it
               --- ids of its regions -->                   where that is missing: regions keep their ids
               --- "prediction" as origin of a region -->   the newest one

    accepted    the same labels and exactly the same pixels
    changed     other pixels, or another label ("relabelled")
    added       a region that no prediction had
    removed     a predicted region that is gone

Pixels decide, not `origin`: a stroke that was taken back is no change, and a region that a script moved without
saying so is one. All of it on run lengths; no mask is decoded here.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from converters.encodings.coco_rle import coco_rle_area, coco_rle_intersection
from converters.errors import EvaluationError
from converters.records import Annotation, ImageRecord, Prediction, Region, newest

NOT_IN_EXPORT = "prediction that is not in the export"
"""Why an annotation cannot be compared that did replace a prediction."""

Outcome = Literal["accepted", "changed", "added", "removed"]


@dataclass(frozen=True)
class RegionPair:
    """A predicted region and what became of it; None on the side where there is nothing."""

    predicted: Region | None
    annotated: Region | None

    @property
    def outcome(self) -> Outcome:
        """What the person did."""
        if self.annotated is None:
            return "removed"
        if self.predicted is None:
            return "added"
        same_pixels = self.predicted.rle == self.annotated.rle
        return "accepted" if same_pixels and not self.relabelled else "changed"

    @property
    def relabelled(self) -> bool:
        """Whether the region got other labels."""
        if self.predicted is None or self.annotated is None:
            return False
        return set(self.predicted.labels) != set(self.annotated.labels)

    @cached_property
    def predicted_px(self) -> int:
        """Pixels that were predicted."""
        return 0 if self.predicted is None else coco_rle_area(self.predicted.rle)

    @cached_property
    def annotated_px(self) -> int:
        """Pixels that the person left."""
        return 0 if self.annotated is None else coco_rle_area(self.annotated.rle)

    @cached_property
    def shared_px(self) -> int:
        """Pixels in both."""
        if self.predicted is None or self.annotated is None:
            return 0
        return coco_rle_intersection(self.predicted.rle, self.annotated.rle)

    @property
    def painted_px(self) -> int:
        """Pixels that the person added."""
        return self.annotated_px - self.shared_px

    @property
    def erased_px(self) -> int:
        """Pixels that the person took away."""
        return self.predicted_px - self.shared_px

    @property
    def iou(self) -> float:
        """Agreement of the two shapes, whatever their labels; 0 where one is missing."""
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
    def changed_px(self) -> int:
        """Pixels that the person added or took away, over all regions."""
        return sum(pair.painted_px + pair.erased_px for pair in self.pairs)


@dataclass(frozen=True)
class NotCompared:
    """An annotation (or, if None, an image) without a prediction to hold it against, and why.

    `is_loss`: there was one, and the export does not have it.
    """

    reason: str
    record: ImageRecord
    annotation: Annotation | None = None
    is_loss: bool = False


def find_corrections(record: ImageRecord, *, unlinked: bool = False) -> Iterator[Correction | NotCompared]:
    """Pair each annotation of an image with the prediction that it replaced.

    Args:
        record: the image.
        unlinked: hold annotations that name no prediction against the newest one, as if it had been corrected.
    """
    if not record.annotations:
        yield NotCompared("image that nobody has annotated", record)
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
        else:
            yield Correction(record, annotation, prediction, pair_regions(prediction.regions, annotation.regions))


def pair_regions(predicted: Sequence[Region], annotated: Sequence[Region]) -> tuple[RegionPair, ...]:
    """Pair predicted regions with what became of them.

    Partners are found, in this order, by id and shape, by id, by labels and shape, and for regions whose
    `origin` says that they were predicted, by the best overlap. What is left was removed or added.

    Returns:
        The predicted regions in their order, then the added ones in theirs.

    Raises:
        EvaluationError: regions are of two sizes.
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
    """Return the prediction that the annotation names; only if it names none, what its regions point at.

    A newer prediction may have regions of the same ids, but is not the one that was corrected.
    """
    if annotation.parent_prediction is not None:
        named = str(annotation.parent_prediction)
        return next((prediction for prediction in predictions if str(prediction.id) == named), None)
    ids = {region.id for region in annotation.regions if region.id}
    shared = [len(ids & {region.id for region in prediction.regions}) for prediction in predictions]
    if any(shared):  # of equals the newest
        alike = [prediction for prediction, count in zip(predictions, shared, strict=True) if count == max(shared)]
        return newest(alike)
    return newest(predictions) if any(map(_was_predicted, annotation.regions)) else None


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
    """Add to `partners` (predicted to annotated positions) those that are still free and have one key."""
    taken = set(partners.values())
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j, region in enumerate(annotated):
        if j not in taken and key(region) is not None:
            waiting[key(region)].append(j)
    for i, region in enumerate(predicted):
        if i not in partners and waiting.get(key(region)):
            partners[i] = waiting[key(region)].popleft()


def _pair_by_overlap(predicted: Sequence[Region], annotated: Sequence[Region], partners: dict[int, int]) -> None:
    """Add to `partners` the best overlaps of free regions that were predicted, as their origin says."""
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
