"""Figures of several generation seeds: their mean and standard deviation, as Markdown tables and as JSON files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.files.atomic import whole_text_file

Figure = float | None


def spread_text(values: Sequence[Figure]) -> str:
    """Return "mean ± standard deviation" of the seeds that have the figure, a dash where none has it."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    text = _short(float(np.mean(known)))
    return f"{text} ± {_short(float(np.std(known)))}" if len(known) > 1 else text


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: float) -> str:
    """Write a share with three digits and without the zero before the point."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def write_results(path: Path, results: Any) -> None:
    """Write figures as JSON, floats rounded to six digits; the file appears whole or not at all."""
    with whole_text_file(path) as file:
        file.write(json.dumps(_rounded(results), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Round floats, so that the last digits of sums do not tell one machine from another."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
