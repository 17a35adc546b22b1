"""The report on corrections as data: the JSON file holds this object, and the pages are drawn from it.

    CorrectionReport ─┬─ counts       how much was read, compared, not compared, and why
                      ├─ quality      mean IoU, boundary IoU, panoptic quality, pixel accuracy
                      ├─ regions      accepted, changed, added, removed        pixels: painted, erased
                      ├─ categories   the quality, regions and pixels of each category
                      ├─ sizes        the regions of small, medium and large objects
                      ├─ annotators   the regions, pixels and seconds of each person
                      ├─ confusion    pixels of each true label that were given each label
                      ├─ reliability  scores against outcomes; threshold: what follows from them
                      ├─ versions     the learning curve: one point for each model version, in order of time
                      ├─ seconds      how long corrections took, and annotations without a prediction
                      └─ worst        the images with the lowest agreement

What is known of each single image is not in it, but in a list of `ImageRow` beside it, which becomes the CSV file.

`report_to_json` writes these fields under these names; `schema` names the version of the fields. A number that cannot
be known (no region, no score) is None, which is null in JSON. All shares and qualities lie between 0 and 1, except
`changed_share`, which has no upper limit.
"""

from dataclasses import asdict, dataclass
from typing import Any

from converters.corrections.threshold import ThresholdAdvice
from converters.metrics.intervals import Interval
from converters.metrics.reliability import Reliability

SCHEMA = "ovdiff/corrections/2"

Number = float | None
"""A measured number, None where there is nothing to measure."""


@dataclass(frozen=True)
class CorrectionCounts:
    """How much was read, compared and left out.

    Attributes:
        images_in: how many images the export has.
        corrections_out: how many annotations were compared with the prediction that they replaced.
        annotators: how many people made these annotations.
        predicted_regions, annotated_regions: how many regions these predictions and annotations have.
        overlapping_px: how many pixels more than one predicted region, or more than one annotated region, claimed.
            The rule of `encodings.overlaps` decided who got them.
        not_compared: how many annotations and images were no correction at all, by reason.
        left_out: how often something should have been compared and could not be, by reason.
        details: the reason and the place of the first 100 things that were left out.
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
        mean_iou_interval: where it lies in 95 of 100 draws of the images (`bootstrap`); None where images are few.
        mean_iou_without_background: mean IoU over the categories alone.
        mean_boundary_iou: mean boundary IoU (2 % of the diagonal) over the categories.
        panoptic_quality, segmentation_quality, recognition_quality: means over the categories.
        pixel_accuracy: share of all pixels whose label was right.
    """

    mean_iou: Number
    mean_iou_interval: Interval | None
    mean_iou_without_background: Number
    mean_boundary_iou: Number
    panoptic_quality: Number
    segmentation_quality: Number
    recognition_quality: Number
    pixel_accuracy: Number


@dataclass(frozen=True)
class RegionCounts:
    """How many regions were accepted, changed, added and removed; relabelled regions count as changed, too.

    `accepted_share` is the share of the predicted regions: accepted / (accepted + changed + removed). `splits` counts
    the predicted regions that became several, `merges` the annotated regions that several predicted regions became (see
    the module `splits`); their regions are counted among the changed, added and removed, too.
    """

    accepted: int
    changed: int
    relabelled: int
    added: int
    removed: int
    accepted_share: Number
    splits: int = 0
    merges: int = 0

    @property
    def predicted(self) -> int:
        """How many regions were predicted."""
        return self.accepted + self.changed + self.removed

    @property
    def touched(self) -> int:
        """How many regions a person changed, added or removed."""
        return self.changed + self.added + self.removed


@dataclass(frozen=True)
class PixelCounts:
    """How many pixels of regions were painted and erased.

    `changed_share` = (painted + erased) / annotated: the pixels that people corrected, as a share of the annotated
    pixels. It is above 1 if most of the predicted pixels were wrong.
    """

    painted_px: int
    erased_px: int
    annotated_px: int
    changed_share: Number


@dataclass(frozen=True)
class CategoryReport:
    """One category. A region counts for the category that was predicted; an added region for the annotated category.

    `images` counts the images in which it was predicted or annotated; where they are few, `iou_interval` is None.
    """

    id: int
    name: str
    iou: Number
    iou_interval: Interval | None
    images: int
    boundary_iou: Number
    panoptic_quality: Number
    segmentation_quality: Number
    recognition_quality: Number
    regions: RegionCounts
    pixels: PixelCounts


@dataclass(frozen=True)
class ConfusionReport:
    """The confusion matrix with its labels; labels[0] is background.

    `pixels[t][p]` counts the pixels that were annotated as labels[t] and predicted as labels[p].
    """

    labels: tuple[str, ...]
    pixels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VersionReport:
    """One point of the learning curve: the corrections of the predictions of one model version.

    `first_seen` is when the version's first prediction in the export was made (ISO 8601), "" if that is unknown.
    """

    model_version: str
    first_seen: str
    corrections: int
    mean_iou: Number
    regions: RegionCounts
    pixels: PixelCounts
    median_seconds: Number


@dataclass(frozen=True)
class SizeReport:
    """The regions of objects from `low_px` up to, not including, `high_px` pixels (None: any larger).

    The size is that of the annotated region, or of the predicted region if it was removed. `mean_iou` is over the
    predicted regions: 0 for those that were removed or relabelled.
    """

    name: str
    low_px: int
    high_px: int | None
    regions: RegionCounts
    mean_iou: Number


@dataclass(frozen=True)
class AnnotatorReport:
    """The corrections of one person; `name` is an address, a name or a number, as the export has it."""

    name: str
    corrections: int
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
    """How long a task took with a prediction to correct, and without a prediction."""

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
    project: int | None = None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One correction of one image: a row of the CSV file; `mean_iou` is without background."""

    task_id: int | str | None
    project: int | None
    image: str
    annotation_id: int | str | None
    annotator: str
    prediction_id: int | str | None
    model_version: str
    mean_iou: Number
    regions: RegionCounts
    pixels: PixelCounts
    seconds: Number


@dataclass(frozen=True)
class CorrectionReport:
    """The whole report; see the picture in the module's docstring."""

    schema: str
    source: str
    counts: CorrectionCounts
    quality: Quality
    regions: RegionCounts
    pixels: PixelCounts
    median_changed_share: Number
    """Of the changed regions alone: the median of (painted + erased) / annotated pixels."""
    categories: tuple[CategoryReport, ...]
    sizes: tuple[SizeReport, ...]
    annotators: tuple[AnnotatorReport, ...]
    confusion: ConfusionReport
    reliability: Reliability
    threshold: ThresholdAdvice
    versions: tuple[VersionReport, ...]
    seconds: SecondsReport
    worst: tuple[WorstImage, ...]


def report_to_json(report: CorrectionReport) -> dict[str, Any]:
    """Return the report as a JSON object that has the report's fields under their names."""
    return asdict(report)
