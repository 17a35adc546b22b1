"""The figures of an evaluation as words and rows of tables, the same on a terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converters.metrics.intervals import Interval
from converters.report.text import NOTHING, counted, number, percent, range_words, thousands
from ovdiff.evaluation.published import published_beside
from ovdiff.evaluation.result import Result

Row = tuple[str, ...]

MEASURES = {
    "miou_without_background": "mIoU without background",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "boundary_iou": "boundary IoU",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "pq_things": "PQ of things",
    "pq_stuff": "PQ of stuff",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "score_error": "expected calibration error of scores",
}
"""The measures besides mIoU, in the order in which they are said."""

MEASURE_COLUMNS = ("Measure", "Value", "Published, in percent")
CATEGORY_COLUMNS = (
    "Category",
    "Pixels",
    "Images",
    "IoU",
    "Recall",
    "Precision",
    "Boundary IoU",
    "PQ",
    "AP",
    "Mostly confused with",
)
WORD_COLUMNS = (
    "Words asked for",
    "Present ones painted",
    "Absent ones painted",
    "Mean area of those",
    "AUROC of scores",
    "IoU of the present",
)
CONFUSION_COLUMNS = ("Truth", "Taken for", "Pixels", "Of the truth")
BIN_COLUMNS = ("Score", "Words", "Mean score", "Mean IoU", "Right")
SECONDS_COLUMNS = ("Step", "Seconds an image", "Share")

DEFINITIONS = (
    (
        "mIoU",
        "Pixels in both, divided by pixels in either, summed over all images for each class; the mean over the classes "
        "that occur.",
    ),
    (
        "A range",
        "Behind a figure it holds the figure in 95 of 100 draws of the images with replacement (bootstrap); with fewer "
        "than ten images there is none. AP, AUROC and the calibration error have none: the first two rank everything "
        "that was found anew in each draw, and a sum of absolute errors only grows in a draw.",
    ),
    ("Recall, precision", "The share of a class's true pixels that was found, and of the found pixels that is right."),
    ("Boundary IoU", "IoU of outlines, 2 % of the image's diagonal wide (Cheng et al. 2021)."),
    ("PQ, SQ, RQ", "Panoptic, segmentation and recognition quality (Kirillov et al. 2019): PQ = SQ x RQ."),
    ("AP, AP50, AP75", "COCO's average precision of masks, by pycocotools, over things."),
    (
        "Present, absent, painted",
        "A word is present where 0.5 % of the pixels show it, absent where none do, and painted where it was given "
        "more than 0.5 %. A painted absent word is a mask that a person must delete.",
    ),
    ("AUROC", "How often a painted word that is present has a higher score than one that is absent."),
    (
        "Right",
        "A painted word is right if its IoU is .5 or more. The calibration error says how far scores are from that "
        "share, on average over ten bins.",
    ),
)


def scope_sentence(result: Result) -> str:
    """Say how many images the figures are of, and what is missing."""
    done, whole = len(result.images), result.dataset["images"]
    said = f"The figures are of all {counted(done, 'image')}."
    if done < whole:
        said = f"The figures are of {thousands(done)} of {counted(whole, 'image')}."
        rest = whole - done - len(result.failed)
        if rest:
            said += f" {thousands(rest)} were not evaluated: the run was limited or interrupted, and can be continued."
    if result.failed:
        said += f" {counted(len(result.failed), 'image')} could not be evaluated."
    return said


def upper_line_sentence(result: Result) -> str:
    """Say that the truth was given; "" of an engine, which is given words alone."""
    if not result.sees_truth:
        return ""
    return f"An upper line: {result.preset['name']} was given {result.sees_truth}. Only the outlines are its own."


def measure_words(result: Result, measure: str) -> str:
    """Return a figure of the whole dataset with its range, if it has one."""
    return number(result.measures[measure]) + range_words(interval_of(result, measure))


def interval_of(result: Result, measure: str) -> Interval | None:
    """Return the 95 % interval of a figure of the whole dataset; ``None`` if it is not known."""
    if measure == "miou":  # Results of earlier versions have this one alone.
        return _interval(result.measures["miou_interval"])
    return _interval(result.measures.get("intervals", {}).get(measure))


def _interval(found: Sequence[float] | None) -> Interval | None:
    return None if found is None else (found[0], found[1])


def measure_rows(result: Result) -> Iterator[Row]:
    """Yield a row of :data:`MEASURE_COLUMNS` for each measure that is known, mIoU first."""
    for key, name in {"miou": "mIoU", **MEASURES}.items():
        if result.measures[key] is not None:
            published = published_beside(result, key)
            yield name, measure_words(result, key), published or NOTHING


def category_rows(result: Result) -> Iterator[Row]:
    """Yield a row of :data:`CATEGORY_COLUMNS` for each class, in the vocabulary's order."""
    for row in result.figures["categories"]:
        confused = row["confused_with"]
        yield (
            row["name"],
            thousands(row["pixels"]),
            thousands(row["images"]),
            number(row["iou"]) + range_words(row["iou_interval"]),
            *(number(row[key]) for key in ("accuracy", "precision", "boundary_iou", "pq", "ap")),
            f"{confused[0]} ({percent(confused[1])})" if confused else NOTHING,
        )


def word_rows(result: Result) -> Iterator[Row]:
    """Yield a row of :data:`WORD_COLUMNS` for each size of vocabulary."""
    ranges = result.measures.get("word_intervals", {})
    for size, words in (result.measures["words"] or {}).items():
        of_size = {name: _interval(found) for name, found in ranges.get(size, {}).items()}
        yield (
            "all" if size == "all" else f"{size}, drawn at random",
            *(
                percent(words[name]) + _percent_range(of_size.get(name))
                for name in ("present painted", "absent painted", "area of the absent")
            ),
            number(words["auroc"]),
            number(words["iou of the present"]) + range_words(of_size.get("iou of the present")),
        )


def _percent_range(interval: Interval | None) -> str:
    return "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def class_names(result: Result) -> tuple[str, ...]:
    """Return the names of the rows of the confusion matrix: background first."""
    return ("background", *(category["name"] for category in result.categories))


def confusion_rows(result: Result, most: int) -> list[Row]:
    """Return the largest confusions, a row of :data:`CONFUSION_COLUMNS` each."""
    names = class_names(result)
    found = [
        (count, true, given, count / sum(row))
        for true, row in enumerate(result.figures["confusion"])
        for given, count in enumerate(row)
        if count and true != given
    ]
    found.sort(key=lambda each: (-each[0], each[1], each[2]))
    return [(names[true], names[given], thousands(count), percent(share)) for count, true, given, share in found[:most]]


def bins_of(result: Result) -> list[Mapping[str, Any]]:
    """Return the bins of scores that hold a painted word."""
    return [each for each in result.figures["reliability"]["bins"] if each["regions"]]


def bin_rows(result: Result) -> list[Row]:
    """Return a row of :data:`BIN_COLUMNS` for each bin that holds a painted word."""
    return [
        (
            f"{each['low']:.1f} to {each['high']:.1f}",
            thousands(each["regions"]),
            number(each["mean_score"]),
            number(each["mean_iou"]),
            percent(each["accepted_share"]),
        )
        for each in bins_of(result)
    ]


def seconds_rows(result: Result) -> list[Row]:
    """Return a row of :data:`SECONDS_COLUMNS` for each step that took time, and their sum."""
    whole = sum(result.seconds.values())
    rows = [(step, f"{taken:.3f}", percent(taken / whole)) for step, taken in result.seconds.items() if whole and taken]
    return [*rows, ("together", f"{whole:.3f}", percent(1.0))] if rows else []


def origin_rows(result: Result) -> Iterator[Row]:
    """Yield what the figures were made with: preset, weights, machine, versions."""
    preset, machine = result.preset, result.machine
    yield "preset", f"{preset['name']} (engine {preset['engine']})"
    yield "is given", result.sees_truth or preset["needs"] or NOTHING
    yield "fingerprint", str(preset["fingerprint"])
    yield "background", "a class of its own" if result.dataset["counts_background"] else "every pixel has a category"
    sizes = result.protocol.get("sizes") or ()
    yield "small vocabularies", f"three of each of {', '.join(map(str, sizes))} words" if sizes else "none"
    yield (
        "machine",
        f"{machine['processor']}, {machine['device']}, {machine['threads']} threads, {machine['workers']} processes",
    )
    yield "versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    for model, identity in preset["weights"].items():
        yield f"weights of {model}", str(identity)


def setting_rows(fields: Mapping[str, Any], above: str = "") -> Iterator[Row]:
    """Yield every setting of a preset, with a dot between a table and its field."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from setting_rows(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", str(value)


def prompt_rows(result: Result) -> Sequence[Row]:
    """Return each category with its kind and its prompts."""
    return [(each["name"], each["kind"] or NOTHING, ", ".join(each["prompts"])) for each in result.categories]
