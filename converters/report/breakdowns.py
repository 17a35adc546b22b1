"""The sections of the page that count the regions once more: by person, and by the size of the object."""

from collections.abc import Iterator

from converters.corrections.result import CorrectionReport
from converters.report.page_parts import folded, section, table, wide
from converters.report.text import (
    accepted_words,
    found_words,
    number,
    percent,
    person_name,
    seconds,
    size_words,
)

PEOPLE_COLUMNS = (
    "Annotator",
    "Corrections",
    "Predicted",
    "Accepted",
    "Added",
    "Splits, merges",
    "Pixels set right",
    "Median time",
)
_MOST_PEOPLE = 20  # a longer table is folded

SIZE_COLUMNS = ("Objects", "Predicted", "Accepted", "Removed", "Missed", "Found", "Mean IoU")


def people_section(report: CorrectionReport) -> str:
    """Return the table by annotator as HTML."""
    words = (
        "Who accepts far more than others may look less closely, or see easier images: compare the same tasks before "
        "you judge."
    )
    if len(report.annotators) == 1:
        words = "One person so far: there is nobody to compare with."
    rows = table(PEOPLE_COLUMNS, people_rows(report))
    count = len(report.annotators)
    return section("Annotators", words, wide(rows) if count <= _MOST_PEOPLE else folded(f"All {count} people", rows))


def size_section(report: CorrectionReport) -> str:
    """Return the table by object size as HTML."""
    words = "Found are the accepted and changed regions, as a share of these and the added ones."
    return section("Sizes of objects", words, wide(table(SIZE_COLUMNS, size_rows(report))))


def people_rows(report: CorrectionReport) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each annotator's row, not escaped."""
    for person in report.annotators:
        regions = person.regions
        yield (
            person_name(person.name),
            str(person.corrections),
            str(regions.predicted),
            accepted_words(regions),
            str(regions.added),
            f"{regions.splits}, {regions.merges}",
            percent(person.pixels.changed_share),
            seconds(person.median_seconds),
        )


def size_rows(report: CorrectionReport) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each size's row, not escaped."""
    for size in report.sizes:
        regions = size.regions
        yield (
            size_words(size),
            str(regions.predicted),
            accepted_words(regions),
            str(regions.removed),
            str(regions.added),
            found_words(regions),
            number(size.mean_iou),
        )
