"""A report on corrections as one HTML page, which fetches nothing, runs no script, and opens from a disk or a mail.

All text from the export is escaped, and a content security policy forbids the page everything that it does not need.
Charts are inline SVG, pictures are data URLs. The numbers of each chart stand in a table below it, too.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from converters.corrections.pairs import Correction
from converters.corrections.result import CategoryReport, CorrectionReport, WorstImage
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
from converters.report.markup import escape_html
from converters.report.pictures import picture_of, words_of
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
    thousands,
    version_name,
)

_STYLE_SHEET = Path(__file__).with_name("report.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
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
) -> str:
    """Return a report as the text of an HTML page.

    Args:
        report: the report that the page shows.
        worst: the corrections of `report.worst`, in the same order, for their pictures.
        images: the folder of the images; without it only outlines are drawn.
        image_root: the address that image names are relative to.
    """
    style = _STYLE_SHEET.read_text(encoding="utf-8")
    sections = [
        _categories(report),
        _regions(report),
        _confusion(report),
        _reliability(report),
        _versions(report),
        _worst(report.worst, worst, images, image_root),
        _not_compared(report),
        _definitions(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What the corrections say: {escape_html(report.source)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{_header(report)}\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _header(report: CorrectionReport) -> str:
    quality = report.quality
    median_seconds = report.seconds.corrected.median
    tiles = [
        (percent(report.regions.accepted_share), "of predicted regions accepted as they were"),
        (percent(report.pixels.changed_share), "of the objects' pixels set right"),
        (number(quality.mean_iou), "mean IoU, with background"),
        (number(quality.mean_boundary_iou), "mean boundary IoU"),
        (number(quality.panoptic_quality), "panoptic quality"),
        *([] if median_seconds is None else [(seconds(median_seconds), "median time of a correction")]),
    ]
    boxes = "".join(f'<div class="tile"><b>{value}</b><span>{words}</span></div>' for value, words in tiles)
    return (
        f"<h1>What the corrections say</h1>\n<p>{summary(report)} {seconds_sentence(report)}</p>\n"
        f'<p class="soft">Source: {escape_html(report.source)}</p>\n<div class="tiles">{boxes}</div>'
    )


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
    legend = _legend((("c-iou", "IoU"), ("marker", "boundary IoU")))
    head = ("Category", "IoU", "Boundary IoU", "PQ", "SQ", "RQ", "Pixels set right")
    rows = (
        (
            category.name,
            *map(
                number,
                (
                    category.iou,
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
    return _section("Categories", words, legend, _wide(chart), _folded("All categories", _table(head, rows)))


def _regions(report: CorrectionReport) -> str:
    found = sorted(occurring(report), key=lambda c: (c.regions.accepted_share is None, c.regions.accepted_share or 0))
    chart = stacked_bar_chart(
        [_region_bar(category) for category in found[:_MOST_BARS]],
        title="What became of the predicted regions of each category",
        description="Accepted, changed and removed; to the right how many were added.",
    )
    legend = _legend((("c-accepted", "accepted"), ("c-changed", "changed"), ("c-removed", "removed")))
    head = ("Category", "Predicted", "Accepted", "Changed", "of these relabelled", "Removed", "Added", "Accepted share")
    rows = (
        (
            category.name,
            predicted_regions(category.regions),
            category.regions.accepted,
            category.regions.changed,
            category.regions.relabelled,
            category.regions.removed,
            category.regions.added,
            percent(category.regions.accepted_share),
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
    return _section("Regions", words, legend, _wide(chart), _folded("All categories", _table(head, rows)))


def _region_bar(category: CategoryReport) -> StackedBar:
    regions = category.regions
    parts = {"accepted": regions.accepted, "changed": regions.changed, "removed": regions.removed}
    return StackedBar(category.name, parts, f"+ {regions.added} added" if regions.added else "")


def _confusion(report: CorrectionReport) -> str:
    labels, pixels = report.confusion.labels, report.confusion.pixels
    occurs = [i for i, row in enumerate(pixels) if sum(row) or any(other[i] for other in pixels)]
    mistakes = {i: sum(pixels[i]) + sum(row[i] for row in pixels) - 2 * pixels[i][i] for i in occurs}
    shown = sorted(sorted(occurs, key=lambda i: -mistakes[i])[:_MOST_CONFUSED])
    chart = matrix_chart(
        [labels[i] for i in shown],
        [[pixels[i][j] for j in shown] for i in shown],
        title="Confusion matrix",
        description="Rows annotated labels, columns predicted ones, numbers percent of a row's pixels.",
    )
    words = "Of the pixels annotated as the row's label, the percentage that was predicted as the column's."
    if len(shown) < len(occurs):
        words += (
            f" Shown are the {len(shown)} of {len(occurs)} labels with the most mistaken pixels, percentages of what "
            "is shown; the JSON file has all."
        )
    return _section("Confusion", words, _wide(chart))


def _reliability(report: CorrectionReport) -> str:
    bins = [bin_ for bin_ in report.reliability.bins if bin_.regions]
    if not bins:
        return _section("Scores", reliability_sentence(report))
    chart = reliability_chart(
        [(bin_.mean_score or 0.0, bin_.mean_iou or 0.0, bin_.accepted_share or 0.0, bin_.regions) for bin_ in bins],
        title="Reliability of scores",
        description="Mean IoU and accepted share of the regions of each of ten bins of scores; on the diagonal scores "
        "are right.",
        x_name="mean score",
        y_name="mean IoU, share accepted",
    )
    legend = _legend((("c-iou", "mean IoU, larger with more regions"), ("hollow", "share accepted")))
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
    words = f"{reliability_sentence(report)} Below the diagonal scores promise too much, above it too little."
    return _section("Scores", words, legend, _wide(chart), _folded("All bins", _table(head, rows)))


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
    legend = _legend((("line c-iou", "mean IoU"), ("line c-accepted", "share accepted")))
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
        return _section("Model versions", "One version so far: a curve needs two.", _wide(_table(head, rows)))
    more = f" The last {len(shown)} of {len(report.versions)}." if len(shown) < len(report.versions) else ""
    return _section("Model versions", words + more, legend, _wide(chart), _folded("All versions", _table(head, rows)))


def _worst(worst: Sequence[WorstImage], corrections: Sequence[Correction], images: Path | None, image_root: str) -> str:
    if not worst:
        return _section("Where predictions were worst", "Every prediction agreed with its annotation.")
    figures = "".join(_figure(image, item, images, image_root) for image, item in zip(worst, corrections, strict=False))
    legend = _legend(
        (("before", "predicted"), ("after", "annotated"), ("difference", "differs"), ("relabelled", "relabelled"))
    )
    words = "The images with the lowest mean IoU over their categories."
    return _section("Where predictions were worst", words, legend, f'<div class="pictures">{figures}</div>')


def _figure(image: WorstImage, item: Correction, images: Path | None, image_root: str) -> str:
    picture = picture_of(item, images, image_root)
    missing = f" Without the image: {escape_html(picture.missing)}." if picture.missing else ""
    changes = [words_of(pair) for pair in item.pairs if pair.outcome != "accepted"]
    more = f"; and {len(changes) - _MOST_CHANGES} more" if len(changes) > _MOST_CHANGES else ""
    return (
        f"<figure>{picture.svg}<figcaption><b>Task {escape_html(image.task_id)}</b>: mean IoU "
        f"{number(image.mean_iou)}, {thousands(image.changed_px)} pixels set right.<br>"
        f"{escape_html('; '.join(changes[:_MOST_CHANGES]))}{more}.<br>{escape_html(image.image)}.{missing}"
        "</figcaption></figure>"
    )


def _not_compared(report: CorrectionReport) -> str:
    counts = report.counts
    rows = [(reason, "nothing to compare", count) for reason, count in counts.not_compared.items()]
    rows += [(reason, "left out", count) for reason, count in counts.left_out.items()]
    if not rows:
        return _section("What was not compared", "Nothing was left out.")
    places = "".join(f"<li>{escape_html(place)}</li>" for place in counts.details)
    words = "Counted by reason; what was left out should have been compared and could not be."
    words = f"{words} {escape_html(missing_sentence(report))}"
    listed = _folded(f"The first {len(counts.details)} that were left out", f"<ul>{places}</ul>") if places else ""
    return _section("What was not compared", words, _wide(_table(("Reason", "", "Times"), rows)), listed)


def _definitions() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in DEFINITIONS)
    return f"<section><h2>What the words mean</h2><dl>{terms}</dl></section>\n"


# ---------------------------------------------------------------- pieces


def _section(title: str, words: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>\n<p>{words}</p>\n{''.join(parts)}</section>\n"


def _wide(content: str) -> str:
    """Wrap content that may be wider than the screen of a telephone, so that it can be scrolled."""
    return f'<div class="wide" tabindex="0">{content}</div>'


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{_wide(content)}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return a list of the colours and line styles of a chart, with their meanings."""
    lines = ("marker", "before", "after", "line c-iou", "line c-accepted")
    items = []
    for css, words in entries:
        mark = (
            f'<path class="{css}" d="M1 8H21"/>'
            if css in lines
            else f'<rect class="{css}" x="3" y="2" width="12" height="12"/>'
        )
        items.append(f'<li><svg width="22" height="16" aria-hidden="true">{mark}</svg>{words}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'
