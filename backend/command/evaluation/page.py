"""An evaluation as one HTML page, which fetches nothing, runs no script, and opens from a disk or a mail."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from backend.command.evaluation.examples import Example, Place
from backend.command.evaluation.words import (
    BIN_COLUMNS,
    CATEGORY_COLUMNS,
    CONFUSION_COLUMNS,
    DEFINITIONS,
    MEASURE_COLUMNS,
    SECONDS_COLUMNS,
    WORD_COLUMNS,
    Row,
    bin_rows,
    bins_of,
    category_rows,
    class_names,
    confusion_rows,
    measure_rows,
    measure_words,
    origin_rows,
    prompt_rows,
    scope_sentence,
    seconds_rows,
    setting_rows,
    upper_line_sentence,
    word_rows,
)
from backend.presentation.overlay import label_colours
from converters.report.charts import Bar, bar_chart, dense_matrix_chart, matrix_chart, reliability_chart
from converters.report.markup import escape_html
from converters.report.page_parts import folded, legend, page, section, table, tiles, wide
from converters.report.text import counted, number
from ovdiff.evaluation.result import Result

MOST_BARS = 40
MOST_NUMBERED = 24
"""A confusion matrix of so many classes has a number in each cell; a larger one has small cells."""
MOST_CELLS = 180
"""So many classes at most stand in a confusion matrix: those with the most mistaken pixels."""
MOST_CONFUSIONS = 30

_TILES = {
    "pixel_accuracy": "pixel accuracy",
    "boundary_iou": "mean boundary IoU",
    "pq": "panoptic quality",
    "ap": "AP of masks, over things",
    "score_error": "calibration error of scores",
}
_TITLES: dict[Place, str] = {
    "worst": "The worst images",
    "median": "Images in the middle",
    "best": "The best images",
}


def result_to_html(result: Result, examples: Sequence[Example] = ()) -> str:
    """Return an evaluation as the text of an HTML page.

    Args:
        result: the evaluation.
        examples: images with their pictures and explanations.
    """
    sections = [
        _categories(result),
        _confusion(result),
        _words(result),
        _scores(result),
        _examples(result, examples),
        _seconds(result),
        _failed(result),
        _origin(result),
        _definitions(),
    ]
    title = f"{result.preset['name']} on {result.dataset['name']}"
    return page(title, f"{_header(result, title)}\n{''.join(sections)}")


def _header(result: Result, title: str) -> str:
    shown = [(key, words) for key, words in _TILES.items() if result.measures[key] is not None]
    figures = [
        (_with_range(measure_words(result, key)), words)
        for key, words in [("miou", "mIoU, with its 95 % range"), *shown]
    ]
    said = upper_line_sentence(result)
    above = f"<p><b>{escape_html(said)}</b></p>\n" if said else ""
    notes = "".join(f"<p>{escape_html(note)}</p>" for note in result.dataset["notes"])
    return (
        f"<h1>{escape_html(title)}</h1>\n{above}<p>{escape_html(scope_sentence(result))}</p>\n{notes}{tiles(figures)}"
        f"{folded('All figures', table(MEASURE_COLUMNS, measure_rows(result)))}"
    )


def _with_range(words: str) -> str:
    figure, bracket, interval = words.partition(" (")
    return f'{figure}<span class="range"> ({interval}</span>' if bracket else figure


def _categories(result: Result) -> str:
    rows = [row for row in result.figures["categories"] if row["iou"] is not None]
    ranked = sorted(rows, key=lambda row: row["iou"])[:MOST_BARS]
    chart = bar_chart(
        [Bar(row["name"], row["iou"], row["boundary_iou"]) for row in ranked],
        title="IoU of each category",
        description=f"{counted(len(ranked), 'bar')}, the lowest IoU first; the table below holds the numbers.",
        value_name="IoU",
        marker_name="boundary IoU",
    )
    key = legend((("c-iou", "IoU"), ("marker", "boundary IoU")))
    more = f"The {MOST_BARS} lowest of {len(rows)} categories. " if len(rows) > len(ranked) else ""
    words = f"{more}The lowest IoU comes first; to the right IoU and boundary IoU."
    return section(
        "Categories", words, key, wide(chart), folded("All categories", _table(CATEGORY_COLUMNS, category_rows(result)))
    )


def _confusion(result: Result) -> str:
    names, pixels = class_names(result), result.figures["confusion"]
    mistaken = [sum(row) + sum(other[place] for other in pixels) - 2 * row[place] for place, row in enumerate(pixels)]
    occurs = [place for place, row in enumerate(pixels) if sum(row) or mistaken[place]]
    if not any(mistaken):
        return section("Confusions", "No pixel has another label than it should.")
    shown = sorted(sorted(occurs, key=lambda place: -mistaken[place])[:MOST_CELLS])
    draw = matrix_chart if len(shown) <= MOST_NUMBERED else dense_matrix_chart
    chart = draw(
        [names[place] for place in shown],
        [[pixels[row][column] for column in shown] for row in shown],
        title="Confusion matrix",
        description="Rows true labels, columns given ones, numbers percent of a row's pixels.",
    )
    words = "Of the pixels of the row's class, the percentage that was given the column's."
    if draw is dense_matrix_chart:
        words += " Right ones are green and wrong ones red, the stronger the more; a cell below 1 % is left out."
    if len(shown) < len(occurs):
        words += f" Shown are the {len(shown)} classes with the most mistaken pixels, of {len(occurs)}."
    rows = confusion_rows(result, MOST_CONFUSIONS)
    title = f"The {counted(len(rows), 'largest confusion')}"
    return section("Confusions", words, wide(chart), f"<h3>{title}</h3>", wide(_table(CONFUSION_COLUMNS, rows)))


def _words(result: Result) -> str:
    words = "A word is present where the image shows it; an absent word that is painted is a mask too many."
    return section("Present and absent words", words, wide(_table(WORD_COLUMNS, word_rows(result))))


def _scores(result: Result) -> str:
    bins = bins_of(result)
    if not bins:
        return section("Scores", "No word was painted.")
    points = [(each["mean_score"], each["mean_iou"], each["accepted_share"], each["regions"]) for each in bins]
    chart = reliability_chart(
        points,
        title="Reliability of scores",
        description="Mean IoU and the share that is right, of the painted words of each of ten bins of scores.",
        x_name="mean score",
        y_name="mean IoU, share right",
        counted=("words", "right"),
    )
    key = legend((("c-iou", "mean IoU, larger with more words"), ("hollow", "share right")))
    error = result.measures["score_error"]
    said = f"The scores of painted words are {number(error)} from the share of them that is right, on average. "
    words = f"{said if error is not None else ''}Below the diagonal scores promise too much, above it too little."
    return section("Scores", words, key, wide(chart), folded("All bins", _table(BIN_COLUMNS, bin_rows(result))))


def _examples(result: Result, examples: Sequence[Example]) -> str:
    if not examples:
        words = "A run that was interrupted has no pictures. The same command continues it, and draws them at its end."
        return section("Images", words)
    parts = []
    for place, title in _TITLES.items():
        figures = [_figure(result, each) for each in examples if each.place == place]
        if figures:
            parts.append(f'<h3>{title}</h3><div class="examples">{"".join(figures)}</div>')
    words = "Ranked by the mean IoU over the classes of one image. Grey pixels of the truth are known to nobody."
    return section("Images", words, *parts)


def _figure(result: Result, example: Example) -> str:
    name = escape_html(example.name)
    shown = (
        ("truth", example.pictures.truth),
        ("prediction", example.pictures.found),
        ("wrong pixels", example.pictures.wrong),
    )
    views = "".join(
        f'<div><img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}" alt="{name}: {what}">'
        f"<span>{what}</span></div>"
        for what, jpeg in shown
    )
    why = f'<p class="why"><b>{escape_html(example.wrong)}</b> {escape_html(example.why)}</p>' if example.wrong else ""
    removed = "".join(f"<li>{escape_html(sentence)}</li>" for sentence in example.removed)
    more = wide(_table(example.stages[0], example.stages[1:])) if example.stages else ""
    more += f"<p>The prefilter removed:</p><ul>{removed}</ul>" if removed else ""
    return (
        f'<figure><div class="triple">{views}</div>{_colours(result, example.labels)}'
        f"<figcaption><b>{name}</b>: mIoU {number(example.miou)}</figcaption>{why}"
        f"{f'<details><summary>Step by step</summary>{more}</details>' if more else ''}</figure>"
    )


def _colours(result: Result, labels: Iterable[int]) -> str:
    """Return the colours of the categories of an image, with their names."""
    colours, names = label_colours(len(result.categories)), class_names(result)
    items = "".join(
        f'<li><svg width="16" height="14" aria-hidden="true"><rect width="12" height="12" y="1" '
        f'fill="rgb({",".join(map(str, colours[label].tolist()))})"/></svg>{escape_html(names[label])}</li>'
        for label in labels
    )
    return f'<ul class="legend">{items}</ul>' if items else ""


def _seconds(result: Result) -> str:
    rows = seconds_rows(result)
    words = "The mean of the images that were evaluated, in one process." if rows else "No time was measured."
    return section("Seconds", words, *([wide(_table(SECONDS_COLUMNS, rows))] if rows else []))


def _failed(result: Result) -> str:
    if not result.failed:
        return ""
    rows = [(each["image"], each["why"]) for each in result.failed]
    words = f"{counted(len(rows), 'image')} could not be evaluated; the figures are of the others."
    return section("Images that could not be evaluated", words, folded("All of them", _table(("Image", "Why"), rows)))


def _origin(result: Result) -> str:
    return section(
        "How it was made",
        "Whoever repeats it needs the same of all of these.",
        wide(_table(("What", "Which"), origin_rows(result), "words")),
        folded(
            "All settings of the preset", _table(("Setting", "Value"), setting_rows(result.preset["fields"]), "words")
        ),
        folded("The words with their prompts", _table(("Category", "Kind", "Prompts"), prompt_rows(result), "words")),
    )


def _definitions() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in DEFINITIONS)
    return f"<section><h2>What the words mean</h2><dl>{terms}</dl></section>\n"


def _table(head: Row, rows: Iterable[Row], css: str = "") -> str:
    made = table([escape_html(title) for title in head], rows)
    return made.replace("<table>", f'<table class="{css}">', 1) if css else made
