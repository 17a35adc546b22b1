"""A report on corrections as Markdown: tables for a repository, a wiki or a pull request."""

from converters.corrections.result import CategoryReport, CorrectionReport, WorstImage
from converters.report.advice import what_to_do
from converters.report.breakdowns import PEOPLE_COLUMNS, SIZE_COLUMNS, people_rows, size_rows
from converters.report.links import LabelStudioPages
from converters.report.markup import escape_markdown, markdown_table
from converters.report.text import (
    DEFINITIONS,
    NOTHING,
    accepted_words,
    counted,
    iou_words,
    missing_sentence,
    number,
    occurring,
    percent,
    range_words,
    reliability_sentence,
    seconds,
    seconds_sentence,
    summary,
    threshold_sentence,
    version_name,
)

_MOST_CONFUSIONS = 10


def report_to_markdown(report: CorrectionReport, pages: LabelStudioPages | None = None) -> str:
    """Return the report as Markdown; labels and file names are escaped.

    Args:
        report: the report.
        pages: where Label Studio is, for links to its tasks (None: there are no links).
    """
    sections = [
        "# What the corrections say",
        f"{summary(report)} Source: {escape_markdown(report.source)}",
        "## What to do first",
        "\n".join(f"{i}. {escape_markdown(advice.sentence)}" for i, advice in enumerate(what_to_do(report), start=1)),
        "## In figures",
        markdown_table(("Measure", "Value"), _headline(report)),
        seconds_sentence(report),
        "## Categories",
        _categories(report),
        "## Annotators",
        markdown_table(PEOPLE_COLUMNS, (map(escape_markdown, row) for row in people_rows(report))),
        "## Sizes of objects",
        markdown_table(SIZE_COLUMNS, (map(escape_markdown, row) for row in size_rows(report))),
        *_confusions(report),
        "## Scores",
        f"{reliability_sentence(report)} {threshold_sentence(report)}",
        _bins(report),
        "## Model versions",
        _versions(report),
        *_worst(report, pages),
        *_not_compared(report),
        "## What the words mean",
        "\n".join(f"- **{term}**: {meaning}" for term, meaning in DEFINITIONS),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _headline(report: CorrectionReport) -> list[tuple[str, str]]:
    quality = report.quality
    return [
        ("Regions accepted", accepted_words(report.regions)),
        ("Pixels set right, of the objects'", percent(report.pixels.changed_share)),
        ("Median change of a changed region", percent(report.median_changed_share)),
        ("Mean IoU", number(quality.mean_iou) + range_words(quality.mean_iou_interval)),
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
        "Splits",
        "Merges",
        "Pixels set right",
    )
    return markdown_table(head, (_category_row(category) for category in occurring(report)))


def _category_row(category: CategoryReport) -> tuple[str, ...]:
    regions = category.regions
    qualities = (
        category.boundary_iou,
        category.panoptic_quality,
        category.segmentation_quality,
        category.recognition_quality,
    )
    counts = (
        regions.predicted,
        regions.accepted,
        regions.changed,
        regions.removed,
        regions.added,
        regions.splits,
        regions.merges,
    )
    return (
        escape_markdown(category.name),
        iou_words(category),
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
        markdown_table(("Annotated as", "Predicted as", "Pixels", "Of the annotated"), rows),
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
    return markdown_table(("Score", "Regions", "Mean score", "Mean IoU", "Accepted"), rows) if rows else ""


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
    return markdown_table(head, rows)


def _worst(report: CorrectionReport, pages: LabelStudioPages | None) -> list[str]:
    if not report.worst:
        return []
    rows = [
        (
            _task(image, pages),
            escape_markdown(image.annotation_id),
            number(image.mean_iou),
            str(image.changed_px),
            escape_markdown(image.image),
        )
        for image in report.worst
    ]
    return [
        "## Where predictions were worst",
        markdown_table(("Task", "Annotation", "Mean IoU", "Pixels set right", "Image"), rows),
    ]


def _task(image: WorstImage, pages: LabelStudioPages | None) -> str:
    address = None if pages is None else pages.task(image.task_id, image.project)
    number = escape_markdown(image.task_id)
    return number if address is None else f"[{number}](<{address}>)"


def _not_compared(report: CorrectionReport) -> list[str]:
    counts = report.counts
    rows = [(escape_markdown(reason), str(count), "no correction") for reason, count in counts.not_compared.items()]
    rows += [(escape_markdown(reason), str(count), "left out") for reason, count in counts.left_out.items()]
    if not rows:
        return []
    places = "\n".join(f"- {escape_markdown(place)}" for place in counts.details)
    return ["## What was not compared", markdown_table(("Reason", "Times", ""), rows), missing_sentence(report), places]
