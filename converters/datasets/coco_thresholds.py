"""What would remain of a COCO file of predictions at other thresholds: a table, and the file without the rest.

    category   all  0.1  0.2 ... 0.9
    boat        12   12   11       2

The file holds the score of every annotation, so no model runs. `ovdiff segment --coco` writes such files, and
`convert coco --predictions` those of a Label Studio project.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from converters.datasets.coco import CocoDataset
from converters.errors import CocoError
from converters.files.json_values import JsonObject, finite_number
from converters.selection import Thresholds

STEPS = tuple(step / 10 for step in range(1, 10))
"""The thresholds of the table."""

_NOTE = "thresholds"  # a key of `info`, of ours


def require_scores(dataset: CocoDataset, path: Path) -> None:
    """Refuse a file with an annotation that has no score from 0 to 1, or whose category is not in the file.

    Raises:
        CocoError: there is such an annotation.
    """
    names = category_names(dataset)
    for annotation in _annotations(dataset):
        score = finite_number(annotation.get("score"))
        if score is None or not 0 <= score <= 1:
            raise CocoError(
                f"{path}: expected a score from 0 to 1 in each annotation, got {annotation.get('score')!r:.40} in "
                f"{annotation.get('id')!r:.40}: name a file that `ovdiff segment --coco` or `convert coco "
                "--predictions` wrote"
            )
        category = annotation.get("category_id")
        if not isinstance(category, int) or category not in names:
            raise CocoError(
                f"{path}: expected a category_id of the file's categories, got {category!r:.40} in annotation "
                f"{annotation.get('id')!r:.40}: correct it, or write the file anew"
            )


def category_names(dataset: CocoDataset) -> dict[int, str]:
    """Return the names of the file's categories by id, in the file's order."""
    categories = cast(list[JsonObject], dataset["categories"])
    return {
        category["id"]: category["name"]
        for category in categories
        if isinstance(category.get("id"), int) and isinstance(category.get("name"), str)
    }


@dataclass(frozen=True)
class ScoreCounts:
    """How many annotations of a category other thresholds would leave.

    Attributes:
        category: its name.
        annotations: all of its annotations.
        at_least: how many have at least a score, by that score as text, such as "0.1".
        shown: how many the given thresholds leave; None if they leave all.
    """

    category: str
    annotations: int
    at_least: Mapping[str, int]
    shown: int | None


def score_counts(dataset: CocoDataset, thresholds: Thresholds) -> list[ScoreCounts]:
    """Return how many annotations of each category have at least each score of `STEPS`.

    Args:
        dataset: a file that `require_scores` takes.
        thresholds: the thresholds of `ScoreCounts.shown`.
    """
    names = category_names(dataset)
    scores: dict[int, list[float]] = {number: [] for number in names}
    for annotation in _annotations(dataset):
        scores[annotation["category_id"]].append(annotation["score"])
    counted = []
    for number, name in names.items():
        at_least = {f"{step:.1f}": _at_least(step, scores[number]) for step in STEPS}
        shown = _at_least(thresholds.of(name), scores[number]) if thresholds else None
        counted.append(ScoreCounts(name, len(scores[number]), at_least, shown))
    return counted


def _at_least(least: float, scores: Sequence[float]) -> int:
    return sum(score >= least for score in scores)


def thresholds_table(counted: Sequence[ScoreCounts]) -> str:
    """Return counts as lines of a table; a last column counts what thresholds leave, unless they leave all."""
    shown = any(each.shown is not None for each in counted)
    rows = [["category", "all", *(f"{step:.1f}" for step in STEPS), *(["shown"] if shown else [])]]
    for each in counted:
        last = [each.shown] if each.shown is not None else []
        rows.append([each.category, *map(str, [each.annotations, *each.at_least.values(), *last])])
    return _aligned(rows)


def note_of(thresholds: Thresholds) -> JsonObject:
    """Return what a file's `info` says about the thresholds that it was written with; nothing if they hide nothing."""
    return {_NOTE: {"min_score": thresholds.min_score, "labels": {**thresholds.of_labels}}} if thresholds else {}


def hidden_before(dataset: CocoDataset) -> str:
    """Return the thresholds that a file was written with, as text; "" if it was written with none."""
    info = dataset.get("info")
    note = info.get(_NOTE) if isinstance(info, dict) else None
    if not isinstance(note, dict):
        return ""
    labels = note.get("labels")
    of_labels = labels.items() if isinstance(labels, dict) else ()
    return " ".join([f"--min-score {note.get('min_score')}", *(f"--threshold {name}={s}" for name, s in of_labels)])


def without_hidden(dataset: CocoDataset, thresholds: Thresholds) -> tuple[CocoDataset, int]:
    """Return a file without the annotations below their category's threshold, and how many these were.

    All images stay. The file given is not changed.
    """
    info = dataset.get("info")
    names = category_names(dataset)
    annotations = list(_annotations(dataset))
    shown = [each for each in annotations if each["score"] >= thresholds.of(names[each["category_id"]])]
    noted = {"info": (info if isinstance(info, dict) else {}) | note_of(thresholds)} if thresholds else {}
    return dataset | noted | {"annotations": shown}, len(annotations) - len(shown)


def _annotations(dataset: CocoDataset) -> Iterator[JsonObject]:
    return iter(cast(list[JsonObject], dataset["annotations"]))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
        for name, *cells in rows
    )
