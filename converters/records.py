"""The neutral records: one image with everything that was marked on it, as every dataset format sees it.

    ImageRecord ─┬─ Annotation  (a person's, maybe skipped) ── Region, Region, ...
                 ├─ Prediction  (a model's, with its score) ── Region, ...
                 └─ LeftOut     (what could not be read, and why)

Masks are kept as COCO RLE, exact and small: a task of 200 regions on a large image fits in memory, and a
dataset can stream record by record. Nothing here knows a file format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from converters.encodings.coco_rle import CocoRLE, coco_rle_to_mask
from converters.encodings.masks import Mask
from converters.encodings.polygons import Polygon, fills_one_way

Kind = Literal["thing", "stuff"]


@dataclass(frozen=True)
class DatasetCategory:
    """One category of a dataset: its number there, its word in the label config, and what it is if that is known.

    A *thing* can be counted, *stuff* (sky, grass) cannot: panoptic datasets tell them apart.
    """

    id: int
    name: str
    kind: Kind | None = None


@dataclass(frozen=True)
class Region:
    """One marked region.

    Attributes:
        id: as in Label Studio, kept from a prediction to the annotation that corrects it.
        labels: the categories it carries; usually one, none if it was never labelled.
        control: name of the control tag it was drawn with.
        rle: its pixels, of the image's size.
        polygon: its points if it was drawn as a polygon, ((x, y), ...) in pixels.
        score: confidence of the model that predicted it, 0..1; None if a person drew it.
        origin: "manual", "prediction" (accepted as it was) or "prediction-changed"; None if unknown.
    """

    id: str
    labels: tuple[str, ...]
    control: str
    rle: CocoRLE
    polygon: tuple[tuple[float, float], ...] | None = None
    score: float | None = None
    origin: str | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image it was drawn on, in pixels."""
        return self.rle["size"][0], self.rle["size"][1]

    def mask(self) -> Mask:
        """Decode the pixels: (H, W) bool."""
        height, width = self.size_hw
        return coco_rle_to_mask(self.rle, max_pixels=height * width)

    def drawn_polygon(self, max_vertices: int | None = None) -> Polygon | None:
        """Return its points as they were drawn, (n, 2) in pixels, if a polygon format can take them for its pixels.

        It cannot if they are more than `max_vertices`, lie outside the image, or make a figure that crosses itself
        so that readers fill it in different ways.
        """
        if self.polygon is None or (max_vertices is not None and len(self.polygon) > max_vertices):
            return None
        height, width = self.size_hw
        points = np.array(self.polygon)
        is_inside = bool(((points >= 0) & (points <= (width, height))).all())
        return points if is_inside and fills_one_way(points, self.size_hw) else None


@dataclass(frozen=True)
class Annotation:
    """What one person marked on one image.

    `skipped`: they said that it cannot be marked. `lead_time_s`: how long they took for the task, in seconds.
    """

    id: int | str | None
    regions: tuple[Region, ...]
    annotator: int | str | None = None
    skipped: bool = False
    ground_truth: bool = False
    parent_prediction: int | None = None
    updated_at: str = ""
    lead_time_s: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What one model marked on one image; `score` 0..1 is for the whole task."""

    id: int | str | None
    regions: tuple[Region, ...]
    score: float | None = None
    model_version: str = ""
    created_at: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Something that could not be converted: the reason (to be counted by) and where it was, with details."""

    reason: str
    where: str


@dataclass(frozen=True)
class ImageRecord:
    """One image of one task: a task with several images makes several records.

    Attributes:
        task_id: Label Studio's number of the task.
        image: its address as in the task's data: a path, URL or cloud URI; "" if nothing of it could be read, and
            `left_out` says why.
        image_tag: name of the `<Image>` tag it is shown in.
        index: position in a list of images (`valueList`), else 0.
        size_hw: height and width in pixels as its regions tell; None if it has none.
        annotations, predictions: in the order of the export.
        left_out: what could not be read.
    """

    task_id: int | str | None
    image: str
    image_tag: str
    index: int = 0
    size_hw: tuple[int, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def preferred_annotation(self) -> Annotation | None:
        """Return the annotation that stands for the image where one is wanted, None if nobody made one.

        Ground truth goes first, then the one changed last; skipped ones never count.
        """
        candidates = [annotation for annotation in self.annotations if not annotation.skipped]
        return max(candidates, key=lambda a: (a.ground_truth, a.updated_at), default=None)


def newest(predictions: Sequence[Prediction]) -> Prediction | None:
    """Return the one made last; where no time is known, the last one. Exports have either order."""
    return max(reversed(predictions), key=lambda prediction: prediction.created_at, default=None)
