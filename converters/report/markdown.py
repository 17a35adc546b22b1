"""A report on corrections as Markdown: tables for a repository, a wiki or a pull request."""

from collections.abc import Iterable, Sequence

from converters.corrections.result import CategoryReport, CorrectionReport
from converters.report.markup import escape_markdown
from converters.report.text import (
    DEFINITIONS,
    NOTHING,
    counted,
    missing_sentence,
    number,
    occurring,
    percent,
    predicted_regions,
    reliability_sentence,
    seconds,
    seconds_sentence,
    summary,
    version_name,
)

_MOST_CONFUSIONS = 10


def report_to_markdown(report: CorrectionReport) -> str:
    """Return the report as Markdown; labels and file names are escaped."""
    sections = [
        "# What the corrections say",
        f"{summary(report)} Source: {escape_markdown(report.source)}",
        _table(("Measure", "Value"), _headline(report)),
        seconds_sentence(report),
        "## Categories",
        _categories(report),
        *_confusions(report),
        "## Scores",
        reliability_sentence(report),
        _bins(report),
        "## Model versions",
        _versions(report),
        *_worst(report),
        *_not_compared(report),
        "## What the words mean",
        "\n".join(f"- **{term}**: {meaning}" for term, meaning in DEFINITIONS),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _headline(report: CorrectionReport) -> list[tuple[str, str]]:
    quality = report.quality
    return [
        ("Regions accepted", percent(report.regions.accepted_share)),
        ("Pixels set right, of the objects'", percent(report.pixels.changed_share)),
        ("Median change of a changed region", percent(report.median_changed_share)),
        ("Mean IoU", number(quality.mean_iou)),
        ("Mean IoU without background", number(quality.mean_iou_without_background)),
        ("Mean boundary IoU", number(quality.mean_boundary_iou)),
        (
            "PQ = SQ x RQ",
            f"{number(quality.panoptic_quality)} (SQ {number(quality.segmentation_quality)}, "
            f"RQ {number(quality.recognition_quality)})",
        ),
        ("Pixel accuracy", percent(quality.pixel_accuracy)),
    ]


def _categories(report: CorrectionReport) -> str:
    head = (
        "Category",
        "IoU",
        "Boundary IoU",
        "PQ",
        "SQ",
        "RQ",
        "Predicted",
        "Accepted",
        "Changed",
        "Removed",
        "Added",
        "Pixels set right",
    )
    return _table(head, (_category_row(category) for category in occurring(report)))


def _category_row(category: CategoryReport) -> tuple[str, ...]:
    regions = category.regions
    qualities = (
        category.iou,
        category.boundary_iou,
        category.panoptic_quality,
        category.segmentation_quality,
        category.recognition_quality,
    )
    counts = (predicted_regions(regions), regions.accepted, regions.changed, regions.removed, regions.added)
    return (
        escape_markdown(category.name),
        *map(number, qualities),
        *map(str, counts),
        percent(category.pixels.changed_share),
    )


def _confusions(report: CorrectionReport) -> list[str]:
    labels = report.confusion.labels
    mistakes = [
        (count, labels[row], labels[column], count / sum(counts))
        for row, counts in enumerate(report.confusion.pixels)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    if not mistakes:
        return []
    rows = [
        (escape_markdown(true), escape_markdown(given), str(count), percent(share))
        for count, true, given, share in sorted(mistakes, reverse=True)[:_MOST_CONFUSIONS]
    ]
    return [
        "## Confusions",
        f"The most frequent {counted(len(rows), 'confusion')} of {len(mistakes)}; all of them are in the JSON file.",
        _table(("Annotated as", "Predicted as", "Pixels", "Of the annotated"), rows),
    ]


def _bins(report: CorrectionReport) -> str:
    rows = [
        (
            f"{bin_.low:.1f} to {bin_.high:.1f}",
            str(bin_.regions),
            number(bin_.mean_score),
            number(bin_.mean_iou),
            percent(bin_.accepted_share),
        )
        for bin_ in report.reliability.bins
        if bin_.regions
    ]
    return _table(("Score", "Regions", "Mean score", "Mean IoU", "Accepted"), rows) if rows else ""


def _versions(report: CorrectionReport) -> str:
    rows = [
        (
            escape_markdown(version_name(version.model_version)),
            escape_markdown(version.first_seen[:10] or NOTHING),
            str(version.corrections),
            number(version.mean_iou),
            percent(version.regions.accepted_share),
            percent(version.pixels.changed_share),
            seconds(version.median_seconds),
        )
        for version in report.versions
    ]
    head = ("Version", "Since", "Corrections", "Mean IoU", "Accepted", "Pixels set right", "Median time")
    return _table(head, rows)


def _worst(report: CorrectionReport) -> list[str]:
    if not report.worst:
        return []
    rows = [
        (
            escape_markdown(image.task_id),
            escape_markdown(image.annotation_id),
            number(image.mean_iou),
            str(image.changed_px),
            escape_markdown(image.image),
        )
        for image in report.worst
    ]
    return [
        "## Where predictions were worst",
        _table(("Task", "Annotation", "Mean IoU", "Pixels set right", "Image"), rows),
    ]


def _not_compared(report: CorrectionReport) -> list[str]:
    counts = report.counts
    rows = [(escape_markdown(reason), str(count), "no correction") for reason, count in counts.not_compared.items()]
    rows += [(escape_markdown(reason), str(count), "left out") for reason, count in counts.left_out.items()]
    if not rows:
        return []
    places = "\n".join(f"- {escape_markdown(place)}" for place in counts.details)
    return ["## What was not compared", _table(("Reason", "Times", ""), rows), missing_sentence(report), places]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
