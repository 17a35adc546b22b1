"""The sentences of a report and the form of its numbers, the same in Markdown and HTML; plain text, not escaped."""

from converters.corrections.pairs import NOT_IN_EXPORT
from converters.corrections.result import CategoryReport, CorrectionReport, Number, RegionCounts
from converters.encodings.overlaps import RULE

NOTHING = "–"

WHERE_PREDICTIONS_ARE = (
    "Label Studio's export button leaves predictions out (JSON holds their ids, JSON_MIN nothing): make the export "
    "with `ovdiff export --project N`, or by its API with POST /api/projects/N/exports "
    '{"serialization_options": {"predictions": {"only_id": false}}}.'
)

DEFINITIONS = (
    (
        "Accepted, changed, added, removed",
        "A predicted region is accepted if the annotation has it with the same labels and exactly the same pixels, "
        "changed if it has other pixels or another label (relabelled), removed if it is gone. Regions that no "
        "prediction had are added. The accepted share is of the predicted regions.",
    ),
    (
        "Pixels set right",
        "Painted plus erased pixels, as a share of the pixels of the annotated objects. Above 100 % where most of "
        "what was predicted was wrong.",
    ),
    (
        "IoU and mean IoU",
        "Pixels in both, divided by pixels in either, summed over all images for each category; the mean is over "
        "background and all categories that occur. Where regions overlap, first comes "
        f"{RULE}.",
    ),
    (
        "Boundary IoU",
        "IoU of the strips of 2 % of the image's diagonal along the inside of both outlines (Cheng et al. 2021): "
        "what IoU hides in large objects.",
    ),
    (
        "PQ, SQ, RQ",
        "Panoptic quality (Kirillov et al. 2019) with each region as a segment. Two segments of one category match "
        "above an IoU of 0.5; SQ is the mean IoU of the matches, RQ the share of segments that found one, and "
        "PQ = SQ x RQ.",
    ),
    (
        "Calibration error",
        "How far scores are from what they forecast, on average over ten bins: the region's IoU with what the person "
        "left (0 if it was removed or relabelled), or whether it was accepted.",
    ),
    (
        "Bias",
        "People tend to leave what is nearly right, so agreement with corrected predictions is higher than it would "
        "be with labels drawn from nothing. Each model version is measured on the images that were corrected from "
        "it, which may differ.",
    ),
)


def number(value: Number) -> str:
    """Return a quality between 0 and 1 with three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def percent(value: Number) -> str:
    """Return a share as percent with one decimal."""
    return NOTHING if value is None else f"{value * 100:.1f} %"


def seconds(value: Number) -> str:
    """Return a time in seconds, or in minutes from two minutes on."""
    if value is None:
        return NOTHING
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def thousands(value: int) -> str:
    """Return a whole number with its digits in groups of three."""
    return f"{value:,}".replace(",", " ")


def counted(count: int, word: str) -> str:
    """Return a count with its noun in singular or plural: "1 region", "2 regions"."""
    return f"{thousands(count)} {word}{'' if count == 1 else 's'}"


def version_name(model_version: str) -> str:
    """Return the name of a model version, "(no version)" for an empty name."""
    return model_version or "(no version)"


def predicted_regions(regions: RegionCounts) -> int:
    """Return how many regions were predicted."""
    return regions.accepted + regions.changed + regions.removed


def summary(report: CorrectionReport) -> str:
    """Say in two sentences how much was compared, and what became of the predicted regions."""
    counts, regions = report.counts, report.regions
    return (
        f"{counted(counts.corrections_out, 'correction')} by {_people(counts.annotators)} were compared "
        f"with the predictions they replaced, in an export of {counted(counts.images_in, 'image')}. Of "
        f"{counted(counts.predicted_regions, 'predicted region')}, {regions.accepted} were accepted as they were, "
        f"{regions.changed} changed and {regions.removed} removed; {regions.added} were added."
    )


def seconds_sentence(report: CorrectionReport) -> str:
    """Say how long corrections and annotations without a prediction took; "" if no time is known."""
    corrected, scratch = report.seconds.corrected, report.seconds.from_scratch
    if corrected.median is None:
        return ""
    said = (
        f"A correction took {seconds(corrected.median)} (median of {corrected.annotations}, "
        f"{seconds(corrected.total)} in all)"
    )
    if scratch.median is None:
        return said + "."
    return (
        f"{said}; an annotation without a prediction took {seconds(scratch.median)} (median of {scratch.annotations})."
    )


def reliability_sentence(report: CorrectionReport) -> str:
    """Say how far the scores of regions were from their outcomes."""
    found = report.reliability
    without = (
        f" {counted(found.unscored_regions, 'region')} had no score between 0 and 1." if found.unscored_regions else ""
    )
    if found.iou_error is None:
        return "No predicted region had a score." + without
    return (
        f"{counted(found.scored_regions, 'region')} with a score. Expected calibration error: "
        f"{number(found.iou_error)} against IoU, {number(found.acceptance_error)} against being accepted.{without}"
    )


def missing_sentence(report: CorrectionReport) -> str:
    """Say how to get the predictions that the export lacks; "" if it lacks none."""
    return WHERE_PREDICTIONS_ARE if NOT_IN_EXPORT in report.counts.left_out else ""


def occurring(report: CorrectionReport) -> list[CategoryReport]:
    """Return the categories that were predicted or annotated, in the label config's order."""
    return [
        category
        for category in report.categories
        if category.iou is not None or predicted_regions(category.regions) or category.regions.added
    ]


def _people(count: int) -> str:
    return "one person" if count == 1 else f"{count} people"
