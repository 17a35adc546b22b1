"""An evaluation as Markdown: tables for a repository, a wiki or a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backend.command.evaluation.examples import Example
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
    category_rows,
    confusion_rows,
    measure_rows,
    origin_rows,
    prompt_rows,
    scope_sentence,
    seconds_rows,
    setting_rows,
    upper_line_sentence,
    word_rows,
)
from converters.report.markup import escape_markdown, markdown_table
from converters.report.text import number
from ovdiff.evaluation.result import Result

MOST_CONFUSIONS = 20


def result_to_markdown(result: Result, examples: Sequence[Example] = ()) -> str:
    """Return an evaluation as Markdown; names are escaped."""
    confusions = confusion_rows(result, MOST_CONFUSIONS)
    parts = [
        f"# {escape_markdown(result.preset['name'])} on {escape_markdown(result.dataset['name'])}",
        " ".join([*_upper_line(result), scope_sentence(result), *map(escape_markdown, result.dataset["notes"])]),
        _table(MEASURE_COLUMNS, measure_rows(result)),
        "## Categories",
        _table(CATEGORY_COLUMNS, category_rows(result)),
        "## Confusions",
        _table(CONFUSION_COLUMNS, confusions) if confusions else "No pixel has another label than it should.",
        "## Present and absent words",
        _table(WORD_COLUMNS, word_rows(result)),
        "## Scores",
        _table(BIN_COLUMNS, bin_rows(result)),
        *_examples(examples),
        "## Seconds",
        _table(SECONDS_COLUMNS, seconds_rows(result)),
        *_failed(result),
        "## How it was made",
        _table(("What", "Which"), origin_rows(result)),
        _table(("Setting", "Value"), setting_rows(result.preset["fields"])),
        _table(("Category", "Kind", "Prompts"), prompt_rows(result)),
        "## What the words mean",
        "\n".join(f"- **{term}**: {meaning}" for term, meaning in DEFINITIONS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _upper_line(result: Result) -> list[str]:
    said = upper_line_sentence(result)
    return [f"**{escape_markdown(said)}**"] if said else []


def _examples(examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    rows = [(each.place, each.name, number(each.miou), f"{each.wrong} {each.why}".strip()) for each in examples]
    return ["## Worst, median and best images", _table(("", "Image", "mIoU", "What is wrong"), rows)]


def _failed(result: Result) -> list[str]:
    if not result.failed:
        return []
    rows = [(each["image"], each["why"]) for each in result.failed]
    return ["## Images that could not be evaluated", _table(("Image", "Why"), rows)]


def _table(head: Row, rows: Iterable[Row]) -> str:
    return markdown_table(head, (map(escape_markdown, row) for row in rows))
