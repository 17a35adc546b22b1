"""The sentences of a report and the form of its numbers, the same in Markdown and HTML; plain text, not escaped."""

import math

from converters.corrections.pairs import NOT_IN_EXPORT
from converters.corrections.result import CategoryReport, CorrectionReport, Number, RegionCounts, SizeReport
from converters.encodings.overlaps import RULE
from converters.metrics.intervals import Interval, wilson_interval

NOTHING = "–"

FEW = 10
"""A share of fewer cases than this is not said as percent: the next case would change it by ten points."""

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
        "Repairs",
        "Regions that a person changed, added or removed.",
    ),
    (
        "Splits and merges",
        "A predicted region was split if at least two annotated regions of its labels lie mostly in it and hold most "
        "of it; predicted regions were merged if one annotated region holds them in the same way. Their regions are "
        "counted as changed, added and removed, too.",
    ),
    (
        "Small, medium, large",
        "COCO's sizes of objects: below 32 x 32, below 96 x 96 pixels, and above; of the annotated region, or of the "
        "predicted one if that was removed.",
    ),
    (
        "Percent (from to)",
        "Where something was counted, the range that holds the true share in 95 of 100 cases (Wilson 1927). Regions of "
        f"one image resemble each other, so it is rather wider. Below {FEW} cases nothing but the counts is said. "
        "Beside an IoU it is the range in 95 of 100 draws of the images with replacement (bootstrap).",
    ),
    (
        "Worth correcting",
        "A predicted region whose label people kept, and at least half of its shape (IoU of 0.5 or more). Where hiding "
        'regions below a score is advised: OVDIFF_MIN_SCORE hides them in the backend, threshold="..." in the label '
        "config those of one label, and `convert --predictions --min-score` leaves them out of a dataset.",
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


def interval_words(successes: int, cases: int) -> str:
    """Return a share as percent with its interval, or the counts alone where they are few: "1 of 3 (too few to say)".

    >>> interval_words(90, 100)
    '90 % (83 to 94 %)'
    """
    interval = wilson_interval(successes, cases)
    if interval is None:
        return NOTHING
    if cases < FEW:
        return f"{successes} of {cases} (too few to say)"
    low, high = (round(end * 100) for end in interval)
    return f"{round(successes / cases * 100)} % ({low} to {high} %)"


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


def iou_words(category: CategoryReport) -> str:
    """Return the IoU of a category with its interval, or with the number of its images where they are few."""
    if category.iou is None:
        return NOTHING
    if category.iou_interval is None:
        return f"{number(category.iou)} ({counted(category.images, 'image')}: too few to say)"
    return number(category.iou) + range_words(category.iou_interval)


def range_words(interval: Interval | None) -> str:
    """Return the range of a quality in brackets, to stand behind it; "" if it is not known."""
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"


def accepted_words(regions: RegionCounts) -> str:
    """Return the accepted share of predicted regions with its interval."""
    return interval_words(regions.accepted, regions.predicted)


def found_words(regions: RegionCounts) -> str:
    """Return the share of annotated regions that the model had found, with its interval."""
    found = regions.accepted + regions.changed
    return interval_words(found, found + regions.added)


def person_name(name: str) -> str:
    """Return the name of an annotator, "(unknown)" for an empty name."""
    return name or "(unknown)"


def size_words(size: SizeReport) -> str:
    """Say which objects have a size, in pixels of the image."""
    words, edge_px = ("from", size.low_px) if size.high_px is None else ("below", size.high_px)
    side_px = math.isqrt(edge_px)
    return f"{size.name} ({words} {side_px} x {side_px} px)"


def summary(report: CorrectionReport) -> str:
    """Say in two sentences how much was compared, and what became of the predicted regions."""
    counts, regions = report.counts, report.regions
    return (
        f"{counted(counts.corrections_out, 'correction')} by {_people(counts.annotators)} were compared "
        f"with the predictions they replaced, in an export of {counted(counts.images_in, 'image')}. Of "
        f"{counted(counts.predicted_regions, 'predicted region')}, {regions.accepted} were accepted as they were, "
        f"{regions.changed} changed and {regions.removed} removed; {regions.added} were added."
        f"{_regrouped(report)}"
    )


def _regrouped(report: CorrectionReport) -> str:
    """Say how many splits and merges are among these; "" if there is none."""
    regions = report.regions
    said = []
    if regions.splits:
        said.append(f"{counted(regions.splits, 'predicted region')} {_was(regions.splits)} split into several")
    if regions.merges:
        said.append(f"{counted(regions.merges, 'annotated region')} {_was(regions.merges)} merged from several")
    return f" Among these, {' and '.join(said)}." if said else ""


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def threshold_sentence(report: CorrectionReport) -> str:
    """Say which thresholds the scores bear."""
    found = report.threshold
    if not found.is_enough:
        return "There are too few scored regions to say anything about a threshold."
    below = "No score is so low that its regions cost more than they save: hide none."
    if found.hide_below is not None:
        below = (
            f"Below a score of {found.hide_below:.1f}, {interval_words(found.hidden_useful, found.hidden)} of "
            f"{counted(found.hidden, 'region')} were worth correcting: hide these."
        )
    above = "No score is so high that samples of its regions would be enough: look at all."
    if found.trust_from is not None:
        above = (
            f"From {found.trust_from:.1f} on, {interval_words(found.trusted_accepted, found.trusted)} of "
            f"{counted(found.trusted, 'region')} were accepted as they were: samples of these are enough."
        )
    return f"{below} {above}"


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
        if category.iou is not None or category.regions.predicted or category.regions.added
    ]


def _people(count: int) -> str:
    return "one person" if count == 1 else f"{count} people"
