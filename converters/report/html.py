"""A report on corrections as one HTML page, which fetches nothing, runs no script, and opens from a disk or a mail.

All text from the export is escaped, and a content security policy forbids the page everything that it does not need.
Charts are inline SVG, pictures are data URLs. The numbers of each chart stand in a table below it, too.
"""

from collections.abc import Sequence
from pathlib import Path

from converters.corrections.pairs import Correction
from converters.corrections.result import CategoryReport, CorrectionReport, WorstImage
from converters.metrics.intervals import wilson_interval
from converters.report.advice import what_to_do
from converters.report.breakdowns import people_section, size_section
from converters.report.charts import (
    Bar,
    Series,
    StackedBar,
    bar_chart,
    line_chart,
    matrix_chart,
    reliability_chart,
    stacked_bar_chart,
)
from converters.report.links import LabelStudioPages
from converters.report.markup import escape_html
from converters.report.page_parts import folded, legend, linked, page, section, table, tiles, wide
from converters.report.pictures import Picture, changes_of, picture_of
from converters.report.text import (
    DEFINITIONS,
    FEW,
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
    thousands,
    threshold_sentence,
    version_name,
)

_MOST_BARS = 40
_MOST_CONFUSED = 14
_MOST_VERSIONS = 40
_MOST_CHANGES = 5


def report_to_html(
    report: CorrectionReport,
    worst: Sequence[Correction] = (),
    *,
    images: Path | None = None,
    image_root: str = "",
    pages: LabelStudioPages | None = None,
) -> str:
    """Return a report as the text of an HTML page.

    Args:
        report: the report that the page shows.
        worst: the corrections of `report.worst`, in the same order, for their pictures.
        images: the folder of the images; without it only outlines are drawn.
        image_root: the address that image names are relative to.
        pages: where Label Studio is, for links to its tasks (None: there are no links).
    """
    sections = [
        _categories(report),
        _regions(report),
        people_section(report),
        size_section(report),
        _confusion(report),
        _reliability(report),
        _versions(report),
        _worst(report.worst, worst, images, image_root, pages),
        _not_compared(report),
        _definitions(),
    ]
    return page(f"What the corrections say: {report.source}", f"{_header(report, pages)}\n{''.join(sections)}")


def _header(report: CorrectionReport, pages: LabelStudioPages | None) -> str:
    quality = report.quality
    median_seconds = report.seconds.corrected.median
    figures = [
        (percent(report.regions.accepted_share), f"of predicted regions accepted as they were{_interval(report)}"),
        (percent(report.pixels.changed_share), "of the objects' pixels set right"),
        (number(quality.mean_iou), f"mean IoU, with background{range_words(quality.mean_iou_interval)}"),
        (number(quality.mean_boundary_iou), "mean boundary IoU"),
        (number(quality.panoptic_quality), "panoptic quality"),
        *([] if median_seconds is None else [(seconds(median_seconds), "median time of a correction")]),
    ]
    return (
        f"<h1>What the corrections say</h1>\n<p>{summary(report)} {seconds_sentence(report)}</p>\n"
        f'<p class="soft">Source: {escape_html(report.source)}</p>\n{_advice(report, pages)}'
        f"{tiles(figures)}"
    )


def _advice(report: CorrectionReport, pages: LabelStudioPages | None) -> str:
    """Return the three sentences of what to do first; a sentence about one image leads to its task."""
    items = []
    for advice in what_to_do(report):
        image = advice.image
        address = None if image is None or pages is None else pages.task(image.task_id, image.project)
        link = f" {linked('Open it in Label Studio.', address)}" if address else ""
        why = escape_html(advice.why).replace(" %", "&nbsp;%")
        items.append(f"<li><b>{escape_html(advice.what)}</b>: {why}.{link}</li>")
    return f'<section class="first"><h2>What to do first</h2>\n<ol>{"".join(items)}</ol></section>\n'


def _interval(report: CorrectionReport) -> str:
    """Return the interval of the accepted share, or say that the regions are few."""
    regions = report.regions
    interval = wilson_interval(regions.accepted, regions.predicted)
    if interval is None:
        return ""
    if regions.predicted < FEW:
        return f" ({regions.accepted} of {regions.predicted}: too few to say)"
    return f" ({interval[0] * 100:.0f} to {interval[1] * 100:.0f} %)"


# ---------------------------------------------------------------- sections


def _categories(report: CorrectionReport) -> str:
    found = occurring(report)
    ranked = sorted(found, key=lambda category: (category.iou is None, category.iou or 0.0))
    shown = ranked[:_MOST_BARS]
    chart = bar_chart(
        [Bar(category.name, category.iou, category.boundary_iou) for category in shown],
        title="IoU of each category",
        description=f"{counted(len(shown), 'bar')}, the lowest IoU first; the table below holds the numbers.",
        value_name="IoU",
        marker_name="boundary IoU",
    )
    key = legend((("c-iou", "IoU"), ("marker", "boundary IoU")))
    head = ("Category", "IoU", "Boundary IoU", "PQ", "SQ", "RQ", "Pixels set right")
    rows = (
        (
            category.name,
            iou_words(category),
            *map(
                number,
                (
                    category.boundary_iou,
                    category.panoptic_quality,
                    category.segmentation_quality,
                    category.recognition_quality,
                ),
            ),
            percent(category.pixels.changed_share),
        )
        for category in found
    )
    more = f"The {_MOST_BARS} lowest of {len(found)} categories. " if len(found) > len(shown) else ""
    words = f"{more}The lowest IoU comes first; to the right IoU and boundary IoU."
    return section("Categories", words, key, wide(chart), folded("All categories", table(head, rows)))


def _regions(report: CorrectionReport) -> str:
    found = sorted(occurring(report), key=lambda c: (c.regions.accepted_share is None, c.regions.accepted_share or 0))
    chart = stacked_bar_chart(
        [_region_bar(category) for category in found[:_MOST_BARS]],
        title="What became of the predicted regions of each category",
        description="Accepted, changed and removed; to the right how many were added.",
    )
    key = legend((("c-accepted", "accepted"), ("c-changed", "changed"), ("c-removed", "removed")))
    head = (
        "Category",
        "Predicted",
        "Accepted",
        "Changed",
        "of these relabelled",
        "Removed",
        "Added",
        "Splits, merges",
        "Accepted share",
    )
    rows = (
        (
            category.name,
            category.regions.predicted,
            category.regions.accepted,
            category.regions.changed,
            category.regions.relabelled,
            category.regions.removed,
            category.regions.added,
            f"{category.regions.splits}, {category.regions.merges}",
            accepted_words(category.regions),
        )
        for category in occurring(report)
    )
    total = report.pixels
    words = (
        f"{thousands(total.painted_px)} pixels were painted and {thousands(total.erased_px)} erased, on objects of "
        f"{thousands(total.annotated_px)}. Half of the changed regions changed by "
        f"{percent(report.median_changed_share)} of their pixels or less."
    )
    if report.median_changed_share is None:
        words = words.partition(" Half")[0]
    return section("Regions", words, key, wide(chart), folded("All categories", table(head, rows)))


def _region_bar(category: CategoryReport) -> StackedBar:
    regions = category.regions
    parts = {"accepted": regions.accepted, "changed": regions.changed, "removed": regions.removed}
    return StackedBar(category.name, parts, f"+ {regions.added} added" if regions.added else "")


def _confusion(report: CorrectionReport) -> str:
    labels, pixels = report.confusion.labels, report.confusion.pixels
    occurs = [i for i, row in enumerate(pixels) if sum(row) or any(other[i] for other in pixels)]
    mistakes = {i: sum(pixels[i]) + sum(row[i] for row in pixels) - 2 * pixels[i][i] for i in occurs}
    mistaken = sorted((i for i in occurs if mistakes[i]), key=lambda i: -mistakes[i])
    shown = occurs if len(occurs) <= _MOST_CONFUSED else sorted(mistaken[:_MOST_CONFUSED])
    if not shown:
        return section("Confusion", f"None of the {len(occurs)} labels has a mistaken pixel.")
    chart = matrix_chart(
        [labels[i] for i in shown],
        [[pixels[i][j] for j in shown] for i in shown],
        title="Confusion matrix",
        description="Rows annotated labels, columns predicted ones, numbers percent of a row's pixels.",
    )
    words = "Of the pixels annotated as the row's label, the percentage that was predicted as the column's."
    if len(shown) < len(mistaken):
        words += (
            f" Shown are the {len(shown)} labels with the most mistaken pixels of {len(mistaken)} that have any, "
            "percentages of what is shown; the JSON file has all."
        )
    elif len(shown) < len(occurs):
        words += f" Shown are the {len(shown)} labels that have mistaken pixels; {len(occurs) - len(shown)} have none."
    return section("Confusion", words, wide(chart))


def _reliability(report: CorrectionReport) -> str:
    bins = [bin_ for bin_ in report.reliability.bins if bin_.regions]
    if not bins:
        return section("Scores", reliability_sentence(report))
    chart = reliability_chart(
        [(bin_.mean_score or 0.0, bin_.mean_iou or 0.0, bin_.accepted_share or 0.0, bin_.regions) for bin_ in bins],
        title="Reliability of scores",
        description="Mean IoU and accepted share of the regions of each of ten bins of scores; on the diagonal scores "
        "are right.",
        x_name="mean score",
        y_name="mean IoU, share accepted",
    )
    key = legend((("c-iou", "mean IoU, larger with more regions"), ("hollow", "share accepted")))
    head = ("Score", "Regions", "Mean score", "Mean IoU", "Accepted")
    rows = (
        (
            f"{bin_.low:.1f} to {bin_.high:.1f}",
            bin_.regions,
            number(bin_.mean_score),
            number(bin_.mean_iou),
            percent(bin_.accepted_share),
        )
        for bin_ in bins
    )
    words = (
        f"{reliability_sentence(report)} Below the diagonal scores promise too much, above it too little. "
        f"<b>{threshold_sentence(report)}</b>"
    )
    return section("Scores", words, key, wide(chart), folded("All bins", table(head, rows)))


def _versions(report: CorrectionReport) -> str:
    shown = report.versions[-_MOST_VERSIONS:]
    chart = line_chart(
        [version_name(version.model_version) for version in shown],
        [
            Series("mean IoU", "c-iou", tuple(version.mean_iou for version in shown)),
            Series("accepted share", "c-accepted", tuple(version.regions.accepted_share for version in shown)),
        ],
        title="Learning curve",
        description="Mean IoU and accepted share of each model version, in order of time.",
    )
    key = legend((("line c-iou", "mean IoU"), ("line c-accepted", "share accepted")))
    head = ("Version", "Since", "Corrections", "Mean IoU", "Accepted", "Pixels set right", "Median time")
    rows = (
        (
            version_name(version.model_version),
            version.first_seen[:10] or NOTHING,
            version.corrections,
            number(version.mean_iou),
            percent(version.regions.accepted_share),
            percent(version.pixels.changed_share),
            seconds(version.median_seconds),
        )
        for version in report.versions
    )
    words = "In order of time, each measured on the images that were corrected from its predictions."
    if len(report.versions) == 1:
        return section("Model versions", "One version so far: a curve needs two.", wide(table(head, rows)))
    more = f" The last {len(shown)} of {len(report.versions)}." if len(shown) < len(report.versions) else ""
    return section("Model versions", words + more, key, wide(chart), folded("All versions", table(head, rows)))


def _worst(
    worst: Sequence[WorstImage],
    corrections: Sequence[Correction],
    images: Path | None,
    image_root: str,
    pages: LabelStudioPages | None,
) -> str:
    if not worst:
        return section("Where predictions were worst", "Every prediction agreed with its annotation.")
    figures = "".join(
        _figure(image, picture_of(item, images, image_root), item, pages)
        for image, item in zip(worst, corrections, strict=False)
    )
    lines = legend(
        (("before", "predicted"), ("after", "annotated"), ("difference", "differs"), ("relabelled", "relabelled"))
    )
    words = "The images with the lowest mean IoU over their categories."
    return section("Where predictions were worst", words, lines, f'<div class="pictures">{figures}</div>')


def _figure(image: WorstImage, picture: Picture, item: Correction, pages: LabelStudioPages | None) -> str:
    address = None if pages is None else pages.task(image.task_id, image.project)
    missing = f" Without the image: {escape_html(picture.missing)}." if picture.missing else ""
    changes = changes_of(item)
    more = f"; and {len(changes) - _MOST_CHANGES} more" if len(changes) > _MOST_CHANGES else ""
    return (
        f"<figure>{picture.svg}<figcaption><b>{linked(f'Task {image.task_id}', address)}</b>: mean IoU "
        f"{number(image.mean_iou)}, {thousands(image.changed_px)} pixels set right.<br>"
        f"{escape_html('; '.join(changes[:_MOST_CHANGES]))}{more}.<br>{escape_html(image.image)}.{missing}"
        "</figcaption></figure>"
    )


def _not_compared(report: CorrectionReport) -> str:
    counts = report.counts
    rows = [(reason, "nothing to compare", count) for reason, count in counts.not_compared.items()]
    rows += [(reason, "left out", count) for reason, count in counts.left_out.items()]
    if not rows:
        return section("What was not compared", "Nothing was left out.")
    places = "".join(f"<li>{escape_html(place)}</li>" for place in counts.details)
    words = "Counted by reason; what was left out should have been compared and could not be."
    words = f"{words} {escape_html(missing_sentence(report))}"
    listed = folded(f"The first {len(counts.details)} that were left out", f"<ul>{places}</ul>") if places else ""
    return section("What was not compared", words, wide(table(("Reason", "", "Times"), rows)), listed)


def _definitions() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in DEFINITIONS)
    return f"<section><h2>What the words mean</h2><dl>{terms}</dl></section>\n"
