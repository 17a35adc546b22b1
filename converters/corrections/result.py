"""What the corrections say, as data: the one object that the JSON file holds and the pages are drawn from.

    CorrectionReport ─┬─ counts       what went in, what was compared, what was not and why
                      ├─ quality      mean IoU, boundary IoU, panoptic quality, pixel accuracy
                      ├─ regions      accepted, changed, added, removed        pixels: painted, erased
                      ├─ categories   all of that for each category
                      ├─ confusion    pixels of each true label that were given each label
                      ├─ reliability  scores against outcomes
                      ├─ versions     the learning curve: one point for each model version, in order of time
                      ├─ seconds      how long corrections took, and labels from scratch
                      └─ worst        the images with the lowest agreement

`report_to_json` writes just these fields under these names; `schema` says which version of them. A number that
cannot be known (no region, no score) is None, null in JSON. All shares and qualities lie between 0 and 1, but
for `changed_share`, which has no upper limit.
"""

from dataclasses import asdict, dataclass
from typing import Any

from converters.corrections.reliability import Reliability

SCHEMA = "ovdiff/corrections/1"

Number = float | None
"""A measured number, None where there is nothing to measure."""


@dataclass(frozen=True)
class CorrectionCounts:
    """What went in and what came out.

    Attributes:
        images_in: images in the export.
        corrections_out: annotations that were compared with the prediction they replaced.
        annotators: different people who made them.
        predicted_regions, annotated_regions: regions of these predictions and annotations.
        overlapping_px: pixels that more than one region of one side claimed; resolved as semantic formats do.
        not_compared: by reason, what held no correction to begin with.
        left_out: by reason, what should have been compared and could not be.
        details: reason and place of the first 100 that were left out.
    """

    images_in: int
    corrections_out: int
    annotators: int
    predicted_regions: int
    annotated_regions: int
    overlapping_px: int
    not_compared: dict[str, int]
    left_out: dict[str, int]
    details: tuple[str, ...]


@dataclass(frozen=True)
class Quality:
    """Predictions measured against the annotations that replaced them.

    Attributes:
        mean_iou: mean IoU over background and all categories that occur, pixels summed over all images.
        mean_iou_without_background: the same over the categories alone.
        mean_boundary_iou: mean boundary IoU (2 % of the diagonal) over the categories.
        panoptic_quality, segmentation_quality, recognition_quality: means over the categories.
        pixel_accuracy: share of all pixels whose label was right.
    """

    mean_iou: Number
    mean_iou_without_background: Number
    mean_boundary_iou: Number
    panoptic_quality: Number
    segmentation_quality: Number
    recognition_quality: Number
    pixel_accuracy: Number


@dataclass(frozen=True)
class RegionCounts:
    """What became of regions; `relabelled` ones are among the changed.

    `accepted_share` is of the predicted ones: accepted / (accepted + changed + removed).
    """

    accepted: int
    changed: int
    relabelled: int
    added: int
    removed: int
    accepted_share: Number


@dataclass(frozen=True)
class PixelCounts:
    """What became of regions' pixels.

    `changed_share` = (painted + erased) / annotated: pixels that a person set right, as a share of the objects
    that they left. Above 1 where most of what was predicted was wrong.
    """

    painted_px: int
    erased_px: int
    annotated_px: int
    changed_share: Number


@dataclass(frozen=True)
class CategoryReport:
    """One category; a region counts for the category it was predicted as, an added one for the annotated one."""

    id: int
    name: str
    iou: Number
    boundary_iou: Number
    panoptic_quality: Number
    segmentation_quality: Number
    recognition_quality: Number
    regions: RegionCounts
    pixels: PixelCounts


@dataclass(frozen=True)
class ConfusionReport:
    """`pixels[t][p]`: pixels annotated as labels[t] and predicted as labels[p]; labels[0] is background."""

    labels: tuple[str, ...]
    pixels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VersionReport:
    """One point of the learning curve: what was corrected from the predictions of one model version.

    `first_seen` is when its first prediction here was made (ISO 8601), "" where the export does not say.
    """

    model_version: str
    first_seen: str
    corrections: int
    mean_iou: Number
    regions: RegionCounts
    pixels: PixelCounts
    median_seconds: Number


@dataclass(frozen=True)
class Seconds:
    """Lead times of a number of annotations, in seconds."""

    annotations: int
    median: Number
    mean: Number
    total: float


@dataclass(frozen=True)
class SecondsReport:
    """How long a task took with a prediction to correct, and without one."""

    corrected: Seconds
    from_scratch: Seconds


@dataclass(frozen=True)
class WorstImage:
    """An image whose prediction agreed least with its annotation; `mean_iou` is without background."""

    task_id: int | str | None
    annotation_id: int | str | None
    prediction_id: int | str | None
    model_version: str
    image: str
    mean_iou: float
    changed_px: int


@dataclass(frozen=True)
class CorrectionReport:
    """Everything that was found; see the module's picture."""

    schema: str
    source: str
    counts: CorrectionCounts
    quality: Quality
    regions: RegionCounts
    pixels: PixelCounts
    median_changed_share: Number
    """Of the changed regions alone: the median of (painted + erased) / annotated pixels."""
    categories: tuple[CategoryReport, ...]
    confusion: ConfusionReport
    reliability: Reliability
    versions: tuple[VersionReport, ...]
    seconds: SecondsReport
    worst: tuple[WorstImage, ...]


def report_to_json(report: CorrectionReport) -> dict[str, Any]:
    """Return the report as a JSON object: its fields under their names."""
    return asdict(report)
