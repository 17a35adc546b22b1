"""The neutral records: one image with its annotations and predictions, in no particular file format.

    ImageRecord ─┬─ Annotation  (made by a person, maybe skipped) ── Region, Region, ...
                 ├─ Prediction  (made by a model, with a score)   ── Region, ...
                 └─ LeftOut     (something that could not be read, and why)

Every reader of a format makes these records, and every writer takes them. Masks are kept as COCO RLE, which is exact
and small: a task of 200 regions on a large image fits in memory. A dataset can be converted record by record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from converters.encodings.coco_rle import CocoRLE, coco_rle_to_mask
from converters.encodings.masks import Mask
from converters.encodings.polygons import Polygon, fills_one_way

Kind = Literal["thing", "stuff"]


@dataclass(frozen=True)
class DatasetCategory:
    """One category of a dataset.

    Attributes:
        id: the number of the category in the dataset.
        name: the name of the category, which is also the value of its label in the label config.
        kind: a *thing* can be counted, *stuff* (sky, grass) cannot; None if neither is known. Panoptic datasets tell
            things from stuff.
        keypoints: the names of the points that a thing of the category has, in the order of the dataset.
        skeleton: the pairs of points that a line joins, by their places in `keypoints` from 1, as COCO counts them.
    """

    id: int
    name: str
    kind: Kind | None = None
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Keypoint:
    """A named point of a region, in pixels; a hidden point is known, but something covers it."""

    name: str
    x: float
    y: float
    is_hidden: bool = False


@dataclass(frozen=True)
class Region:
    """One marked region.

    Attributes:
        id: the id that Label Studio gave the region. A predicted region keeps its id in the annotation that corrects
            the prediction.
        labels: the names of the region's categories; usually one name, none if the region was never labelled.
        control: the name of the control tag that the region was drawn with.
        rle: the region's pixels, as run lengths of the image's size.
        polygon: the points ((x, y), ...) in pixels if the region was drawn as a polygon, else None.
        score: the confidence of the model that predicted the region, 0..1; None if a person drew the region.
        origin: "manual", "prediction" (accepted as it was) or "prediction-changed"; None if unknown.
        box_xywh: the left and top edge, the width and the height in pixels if the region is an upright box, else None.
        is_crowd: whether the region holds many things of its category that nobody told apart (COCO's `iscrowd`).
        keypoints: the named points of the region.
        answers: what was chosen or written for this region alone, by the name of the question.
    """

    id: str
    labels: tuple[str, ...]
    control: str
    rle: CocoRLE
    polygon: tuple[tuple[float, float], ...] | None = None
    score: float | None = None
    origin: str | None = None
    box_xywh: tuple[float, float, float, float] | None = None
    is_crowd: bool = False
    keypoints: tuple[Keypoint, ...] = ()
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, in pixels, of the image that the region was drawn on."""
        return self.rle["size"][0], self.rle["size"][1]

    def mask(self) -> Mask:
        """Decode the region's pixels to a mask, (H, W) bool."""
        height, width = self.size_hw
        return coco_rle_to_mask(self.rle, max_pixels=height * width)

    def drawn_polygon(self, max_vertices: int | None = None) -> Polygon | None:
        """Return the points as they were drawn, (n, 2) in pixels, or None if a polygon format cannot take them.

        A polygon format cannot take the points if there are more than `max_vertices`, if a point lies outside the
        image, or if the outline crosses itself so that readers would fill it in different ways.
        """
        if self.polygon is None or (max_vertices is not None and len(self.polygon) > max_vertices):
            return None
        height, width = self.size_hw
        points = np.array(self.polygon)
        is_inside = bool(((points >= 0) & (points <= (width, height))).all())
        return points if is_inside and fills_one_way(points, self.size_hw) else None


@dataclass(frozen=True)
class Annotation:
    """The regions that one person marked on one image.

    Attributes:
        id: Label Studio's number of the annotation.
        regions: the marked regions.
        annotator: Label Studio's number or the address of the person.
        skipped: whether the person skipped the task instead of marking it.
        ground_truth: whether the annotation was declared to be the truth.
        parent_prediction: the number of the prediction that the annotation was made from, None if there was none.
        updated_at: when the annotation was last changed (ISO 8601), "" if unknown.
        lead_time_s: how long the person took for the task, in seconds.
        lost_regions: how many regions the person marked that could not be read; the record's `left_out` says which.
        answers: what was chosen or written for the whole image, by the name of the question.
    """

    id: int | str | None
    regions: tuple[Region, ...]
    annotator: int | str | None = None
    skipped: bool = False
    ground_truth: bool = False
    parent_prediction: int | None = None
    updated_at: str = ""
    lead_time_s: float | None = None
    lost_regions: int = 0
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """The regions that one model predicted on one image.

    Attributes:
        id: Label Studio's number of the prediction.
        regions: the predicted regions.
        score: the model's confidence in the whole task, 0..1, None if unknown.
        model_version: the name of the model's version, "" if unknown.
        created_at: when the prediction was made (ISO 8601), "" if unknown.
        lost_regions: how many regions were predicted that could not be read; the record's `left_out` says which.
    """

    id: int | str | None
    regions: tuple[Region, ...]
    score: float | None = None
    model_version: str = ""
    created_at: str = ""
    lost_regions: int = 0


@dataclass(frozen=True)
class LeftOut:
    """Something that could not be converted.

    Attributes:
        reason: why, in words that are the same each time, so that reasons can be counted.
        where: where the thing was, with details.
    """

    reason: str
    where: str


@dataclass(frozen=True)
class ImageRecord:
    """One image of one task: a task with several images makes several records.

    Attributes:
        task_id: Label Studio's number of the task.
        image: the address of the image as in the task's data: a path, URL or cloud URI. "" if the task could not be
            read; then `left_out` says why.
        image_tag: the name of the `<Image>` tag that shows the image.
        index: the position of the image in a list of images (`valueList`), else 0.
        size_hw: height and width in pixels as the regions state them; None if the image has no region.
        annotations: all annotations of the image, in the order of the export.
        predictions: all predictions of the image, in the order of the export.
        left_out: parts of the task that could not be read.
        notes: what was read in another form than it was written in, in words that are the same each time.
        project: Label Studio's number of the project, None if the task does not say.
    """

    task_id: int | str | None
    image: str
    image_tag: str
    index: int = 0
    size_hw: tuple[int, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    project: int | None = None

    def preferred_annotation(self) -> Annotation | None:
        """Return the one annotation that stands for the image, None if nobody made one.

        An annotation that is ground truth wins, else the annotation that was changed last. Skipped annotations never
        count.
        """
        candidates = [annotation for annotation in self.annotations if not annotation.skipped]
        return max(candidates, key=lambda a: (a.ground_truth, a.updated_at), default=None)

    def preferred_regions(self, label: str) -> list[Region]:
        """Return the regions of a label, without regard to case, in the annotation that stands for the image."""
        annotation = self.preferred_annotation()
        regions = () if annotation is None else annotation.regions
        return [region for region in regions if label.casefold() in {name.casefold() for name in region.labels}]


def newest(predictions: Sequence[Prediction]) -> Prediction | None:
    """Return the prediction that was made last, or the last in the list if no time is known; None if there is none.

    The order of the list alone does not tell, because some exports begin with the newest and some with the oldest.
    """
    return max(reversed(predictions), key=lambda prediction: prediction.created_at, default=None)
