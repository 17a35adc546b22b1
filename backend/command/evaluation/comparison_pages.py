"""A comparison of evaluations as text, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backend.command.evaluation.words import MEASURES, Row
from backend.command.table import table as text_table
from converters.metrics.intervals import Interval
from converters.report.markup import escape_html, escape_markdown, markdown_table
from converters.report.page_parts import page, section, table, tiles, wide
from converters.report.text import NOTHING, counted, number
from ovdiff.evaluation.comparison import Comparison, Difference

HOW = (
    "Differences are from the first. The range behind one holds it in 95 of 100 draws of the images with replacement, "
    "each draw the same for both (paired bootstrap). A difference is clear if its range leaves out zero; of many "
    "categories one in twenty is clear by chance alone."
)


def comparison_text(found: Comparison) -> str:
    """Return a comparison for a terminal."""
    parts = [
        _title(found),
        *found.notes,
        text_table([_measure_head(found), *measure_rows(found)], right=range(1, len(_measure_head(found)))),
        "\n".join(difference_sentences(found)),
        text_table([_category_head(found), *category_rows(found)], right=range(1, len(_category_head(found)))),
        HOW,
    ]
    return "\n\n".join(parts)


def comparison_to_markdown(found: Comparison) -> str:
    """Return a comparison as Markdown; names are escaped."""
    parts = [
        f"# {escape_markdown(_title(found))}",
        *map(escape_markdown, found.notes),
        _markdown(_measure_head(found), measure_rows(found)),
        "\n".join(f"- {escape_markdown(sentence)}" for sentence in difference_sentences(found)),
        "## Categories",
        _markdown(_category_head(found), category_rows(found)),
        HOW,
    ]
    return "\n\n".join(parts) + "\n"


def comparison_to_html(found: Comparison) -> str:
    """Return a comparison as the text of an HTML page."""
    head = (
        f"<h1>{escape_html(_title(found))}</h1>\n"
        + "".join(f"<p>{escape_html(note)}</p>\n" for note in found.notes)
        + tiles(
            (number(each.miou), f"mIoU of {escape_html(n)}")
            for n, each in zip(found.names, found.measures, strict=True)
        )
    )
    said = "<br>".join(map(escape_html, difference_sentences(found)))
    return page(
        _title(found),
        head
        + section("Figures", said, wide(_html(_measure_head(found), measure_rows(found))))
        + section("Categories", HOW, wide(_html(_category_head(found), category_rows(found)))),
    )


def measure_rows(found: Comparison) -> Iterator[Row]:
    """Yield a row for each measure that an evaluation has: its values, then each difference with its range.

    A measure without ranges has no differences.
    """
    for key, name in {"miou": "mIoU", **MEASURES}.items():
        values = [getattr(each, key) for each in found.measures]
        if any(value is not None for value in values):
            gains = (each.get(key) for each in found.differences)
            yield name, *map(number, values), *(NOTHING if gain is None else difference_words(gain) for gain in gains)


def category_rows(found: Comparison) -> Iterator[Row]:
    """Yield a row for each class: its IoUs, then each difference with its range."""
    for each in found.categories:
        yield each.name, *map(number, each.ious), *map(difference_words, each.differences)


def difference_sentences(found: Comparison) -> Iterator[str]:
    """Say of each evaluation but the first how its mIoU differs, and in which categories that is clear."""
    first, *others = found.names
    for place, (name, gain) in enumerate(zip(others, found.miou_differences, strict=True)):
        said = f"{name}: mIoU {difference_words(gain)} against {first}"
        if gain.interval is not None:
            said += "" if gain.is_clear else ", which may be chance"
        clear = [each for each in found.categories if each.differences[place].is_clear]
        better = [each.name for each in clear if (each.differences[place].value or 0) > 0]
        worse = [each.name for each in clear if (each.differences[place].value or 0) < 0]
        said += f"; clearly better in {', '.join(better) or 'no category'}, worse in {', '.join(worse) or 'none'}."
        yield said


def difference_words(found: Difference) -> str:
    """Return a difference with its range and a star if it is clear: "+0.031 (+0.010 to +0.052) *"."""
    if found.value is None:
        return NOTHING
    return f"{found.value:+.3f}{_range(found.interval)}{' *' if found.is_clear else ''}"


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})"


def _title(found: Comparison) -> str:
    return f"{' and '.join(found.names)} on {counted(found.images, 'image')} of {found.dataset}"


def _measure_head(found: Comparison) -> Row:
    return "Measure", *found.names, *(f"{name}, more" for name in found.names[1:])


def _category_head(found: Comparison) -> Row:
    return "Category", *(f"IoU of {name}" for name in found.names), *(f"{name}, more" for name in found.names[1:])


def _markdown(head: Row, rows: Iterable[Row]) -> str:
    return markdown_table(list(map(escape_markdown, head)), (map(escape_markdown, row) for row in rows))


def _html(head: Row, rows: Iterable[Row]) -> str:
    return table(list(map(escape_html, head)), rows)
