"""Several evaluations of one dataset side by side, on the images that all of them have.

    difference of a replicate = IoU of the second - IoU of the first        on the same drawn images (paired bootstrap)

The first evaluation is what the others are held against. A difference is clear if its 95 % interval leaves out zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.metrics.intervals import Interval
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.ranges import difference_ranges
from ovdiff.evaluation.records import read_records
from ovdiff.evaluation.result import Result, read_result
from ovdiff.evaluation.sums import Measures, Number, Totals, totals_of
from ovdiff.vocabulary import Category

UPPER_LINE = "upper line"
"""What stands behind the name of an evaluation that was given a part of the truth."""


@dataclass(frozen=True)
class Difference:
    """What one evaluation has more than the first.

    Attributes:
        value: the difference; ``None`` if one of the two is not known.
        interval: its 95 % interval by the paired bootstrap; ``None`` with fewer than ten images.
        is_clear: whether the interval leaves out zero.
    """

    value: Number
    interval: Interval | None
    is_clear: bool


@dataclass(frozen=True)
class ComparedCategory:
    """One class in all evaluations.

    Attributes:
        name: the category's name, or "background".
        ious: its IoU in each evaluation.
        differences: of each evaluation but the first from the first.
    """

    name: str
    ious: tuple[Number, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Several evaluations of one dataset.

    Attributes:
        dataset: the dataset's name.
        names: what each evaluation is called.
        images: how many images all of them have; the figures are of these.
        own_images: how many images each of them has.
        measures: of the whole dataset, of each evaluation.
        miou_differences: of mIoU, of each evaluation but the first from the first.
        differences: the same of each figure of the whole dataset that has a range, by its name in :class:`Measures`.
        categories: background first, if it counts.
        notes: what else differs, in a sentence each.
    """

    dataset: str
    names: tuple[str, ...]
    images: int
    own_images: tuple[int, ...]
    measures: tuple[Measures, ...]
    miou_differences: tuple[Difference, ...]
    differences: tuple[Mapping[str, Difference], ...]
    categories: tuple[ComparedCategory, ...]
    notes: tuple[str, ...]


def compare_evaluations(folders: Sequence[Path]) -> Comparison:
    """Lay the evaluations in some folders side by side; the first is what the others are held against.

    Raises:
        EvaluationError: there are fewer than two, a folder holds none, they are of different datasets or vocabularies,
            they have no image in common, or an image has another truth in one of them.
    """
    if len(folders) < 2:
        raise EvaluationError("A comparison needs two evaluations or more. Name the folder of each.")
    results = [read_result(folder) for folder in folders]
    for folder, result in zip(folders[1:], results[1:], strict=True):
        _require_alike(folders[0], results[0], folder, result)
    shared = set(results[0].images).intersection(*(result.images for result in results[1:]))
    images = [image for image in results[0].images if image in shared]
    if not images:
        raise EvaluationError(f"{', '.join(map(str, folders))} have no image in common. Evaluate them on the same.")
    categories = [
        Category(each["name"], tuple(each["prompts"]), each["kind"] or None) for each in results[0].categories
    ]
    with_background = bool(results[0].dataset["counts_background"])
    truths: dict[str, dict[int, int]] = {}
    totals = [
        totals_of(_read(folder, folders[0], images, truths), categories, counts_background=with_background)
        for folder in folders
    ]
    differences = tuple(_measure_differences(totals[0], other) for other in totals[1:])
    return Comparison(
        dataset=str(results[0].dataset["name"]),
        names=_names(folders, results),
        images=len(images),
        own_images=tuple(len(result.images) for result in results),
        measures=tuple(each.measures for each in totals),
        miou_differences=tuple(each["miou"] for each in differences),
        differences=differences,
        categories=_categories(totals, with_background=with_background),
        notes=tuple(_notes(folders, results, len(images))),
    )


def _require_alike(first: Path, one: Result, second: Path, other: Result) -> None:
    """Make sure that two results are of one dataset and of the same categories.

    Raises:
        EvaluationError: they are not; the message says what differs.
    """
    for what in ("name", "counts_background"):
        if one.dataset[what] != other.dataset[what]:
            words = {"name": "the dataset", "counts_background": "whether background counts"}[what]
            raise EvaluationError(
                f"{first} and {second} cannot be compared: {words} differs, {one.dataset[what]!r} and "
                f"{other.dataset[what]!r}. Compare evaluations of one dataset."
            )
    names, others = ([each["name"] for each in result.categories] for result in (one, other))
    if names != others:
        place = next((i for i, pair in enumerate(zip(names, others, strict=False)) if pair[0] != pair[1]), None)
        what = f"{len(names)} and {len(others)} categories"
        if place is not None:
            what = f"category {place + 1} is {names[place]!r} and {others[place]!r}"
        raise EvaluationError(
            f"{first} and {second} cannot be compared: their vocabularies differ, {what}. Compare evaluations of one "
            "vocabulary."
        )


def _measure_differences(first: Totals, second: Totals) -> dict[str, Difference]:
    """Return the difference of each figure, with its paired interval: the same images in the same order."""
    ranges = difference_ranges(first.replicates.measures(), second.replicates.measures())
    return {
        name: _difference(getattr(second.measures, name), getattr(first.measures, name), ranges.get(name))
        for name in {"miou": None, **ranges}
    }


def _read(
    folder: Path, first: Path, images: Sequence[str], truths: dict[str, dict[int, int]]
) -> Iterator[ImageFigures]:
    """Yield the figures of images, and make sure that all have the same truth.

    Raises:
        EvaluationError: an image has another truth than in the first folder, or has no figures any more.
    """
    seen = 0
    for figures in read_records(folder, images):
        truth: dict[int, int] = {}
        for true, _, count in figures.pixels:
            truth[true] = truth.get(true, 0) + count
        if truths.setdefault(figures.image, truth) != truth:
            raise EvaluationError(
                f"The image {figures.image!r:.200} has another truth in {folder} than in {first}: the dataset was "
                "changed between the two. Evaluate both again."
            )
        seen += 1
        yield figures
    if seen < len(images):
        raise EvaluationError(f"{folder} has no figures of {len(images) - seen} of its images any more. Evaluate anew.")


def _categories(totals: Sequence[Totals], *, with_background: bool) -> tuple[ComparedCategory, ...]:
    first, *others = (each.replicates.labels for each in totals)
    intervals = [each.differences_from(first) for each in others]
    skipped = 0 if with_background else 1
    found = []
    for place, row in enumerate(totals[0].categories):
        ious = [each.categories[place].iou for each in totals]
        differences = (
            _difference(iou, ious[0], of[place + skipped]) for iou, of in zip(ious[1:], intervals, strict=True)
        )
        found.append(ComparedCategory(row.name, tuple(ious), tuple(differences)))
    return tuple(found)


def _difference(value: Number, first: Number, interval: Interval | None) -> Difference:
    if value is None or first is None:
        return Difference(None, None, False)
    return Difference(value - first, interval, interval is not None and not interval[0] <= 0 <= interval[1])


def _names(folders: Sequence[Path], results: Sequence[Result]) -> tuple[str, ...]:
    """Return the shortest names that tell the evaluations apart: presets, else names of folders, else their paths.

    An upper line has its mark behind its name.
    """
    marks = [f" ({UPPER_LINE})" if result.sees_truth else "" for result in results]
    for names in ([str(r.preset["name"]) for r in results], [folder.resolve().name for folder in folders]):
        if len(set(names)) == len(names):
            return tuple(map(str.__add__, names, marks))
    return tuple(f"{folder}{mark}" for folder, mark in zip(folders, marks, strict=True))


def _notes(folders: Sequence[Path], results: Sequence[Result], images: int) -> Iterator[str]:
    for folder, result in zip(folders, results, strict=True):
        if len(result.images) > images:
            yield f"{folder} has {len(result.images)} images; the figures are of the {images} that all have."
        if result.sees_truth:
            yield f"{folder} is an {UPPER_LINE}: it was given {result.sees_truth}, so only its outlines compare."
    first = {each["name"]: each["prompts"] for each in results[0].categories}
    for folder, result in zip(folders[1:], results[1:], strict=True):
        other = _others(first, result.categories)
        if other:
            yield f"{folder} asks for {', '.join(other)} by other prompts than {folders[0]}."


def _others(first: Mapping[str, Any], categories: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each["name"] for each in categories if each["prompts"] != first[each["name"]]]
