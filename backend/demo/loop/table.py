"""The table of the loop, in Markdown, from the JSON file of its results."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any


def table(results: Mapping[str, Any]) -> str:
    """Return the table, what each column had been given, and which one is to be preferred when."""
    ways, said = results["ways"], results["protocol"]
    names = [way["name"] for way in ways]
    lines = [_line(["corrected tasks", *names]), _line(["--:", *["---"] * len(names)])]
    for count in said["counts"]:
        rows = [results["rows"][name].get(str(count)) for name in names]
        least = min(row["touched"] for row in rows if row)
        lines.append(_line([str(count), *(_cell(row, least) for row in rows)]))
    given = "; ".join(f"{way['name']}: {way['given']}" for way in ways)
    protocol = (
        f"*Each cell: mIoU, PQ, and regions to touch a task, the fewest in bold, on {said['scenes']} crowded drawn "
        f"scenes that nobody corrected, with {said['labels']} labels. A region is to be touched if it was missed, is "
        f"superfluous, or has an IoU below .5 with the true one. One run, one seed. What each had been given besides "
        f"the corrected tasks: {given}.*"
    )
    return "\n".join([*lines, "", advice(results), "", protocol])


def advice(results: Mapping[str, Any]) -> str:
    """Say in a sentence what needs the fewest repairs after how many corrected tasks."""
    counts = results["protocol"]["counts"]
    best = [(count, _best(results, count)) for count in counts]
    parts = []
    for name, group in groupby(best, key=lambda pair: pair[1]):
        numbers = [count for count, _ in group]
        which = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        parts.append(f"{name} after {which}")
    return f"Fewest regions to touch, by the number of corrected tasks: {'; '.join(parts)}."


def _best(results: Mapping[str, Any], count: int) -> str:
    rows = {name: row[str(count)] for name, row in results["rows"].items() if str(count) in row}
    return min(rows, key=lambda name: rows[name]["touched"])


def _cell(row: Mapping[str, float] | None, least: float) -> str:
    if row is None:
        return ""
    touched = f"{row['touched']:.1f}"
    return f"{row['miou']:.2f}, {row['pq']:.2f}, {f'**{touched}**' if row['touched'] == least else touched}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
