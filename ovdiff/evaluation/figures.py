"""One image's part in every figure of a dataset: counts that add up, and lines of JSON that keep them.

All figures of an evaluation follow from these lines, in whatever order and by however many processes they were written.
Counts are whole numbers, so their sums are the same however an evaluation was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.metrics.boundary import boundary_counts, boundary_width_px
from converters.metrics.panoptic_quality import SegmentMap, match_segments
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.asked_words import AskedWord
from ovdiff.evaluation.dataset import UNKNOWN, Truth
from ovdiff.segmentation import FoundObject, Segmentation


@dataclass(frozen=True)
class FoundMask:
    """A mask for average precision.

    Attributes:
        label: its category, from 1.
        rle: COCO's compressed run lengths.
        score: how sure the engine is; 1 in the truth.
        is_crowd: whether it is many objects under one mask.
    """

    label: int
    rle: str
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True)
class SmallVocabulary:
    """The words of a vocabulary that was asked for alone, such as four of them.

    Attributes:
        size: how many words were asked for.
        words: the label in the whole vocabulary and what became of it.
    """

    size: int
    words: tuple[tuple[int, AskedWord], ...]


@dataclass(frozen=True)
class ImageFigures:
    """One image compared with the truth.

    Attributes:
        image: its name.
        size_hw: its height and width in pixels.
        pixels: (true label, given label, pixels) of each pair of labels that occurs; unknown pixels are left out.
        boundaries: (label, pixels in both boundaries, pixels in at least one) of each category that occurs.
        scores: (label, score) of each category that was given pixels.
        segments: (label, true positives, false positives, false negatives, sum of IoU) of each category with segments;
            ``None`` if segments were not compared.
        found: the objects that were found; ``None`` if objects were not compared.
        true: the true objects; ``None`` if objects were not compared.
        small: small vocabularies that were asked for besides.
        seconds: how long each step took; two evaluations of one image differ in nothing else.
    """

    image: str
    size_hw: tuple[int, int]
    pixels: tuple[tuple[int, int, int], ...]
    boundaries: tuple[tuple[int, int, int], ...]
    scores: tuple[tuple[int, float], ...]
    segments: tuple[tuple[int, int, int, int, float], ...] | None = None
    found: tuple[FoundMask, ...] | None = None
    true: tuple[FoundMask, ...] | None = None
    small: tuple[SmallVocabulary, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def confusion(self, category_count: int) -> NDArray[np.int64]:
        """Return the confusion matrix (n + 1, n + 1): rows true labels, columns given ones."""
        matrix = np.zeros((category_count + 1, category_count + 1), dtype=np.int64)
        for true, given, count in self.pixels:
            matrix[true, given] = count
        return matrix

    def words(self) -> list[tuple[int, AskedWord]]:
        """Return what became of each category of the whole vocabulary that the image shows or was given, by label.

        Categories that it neither shows nor was given are left out: they are absent and not painted.
        """
        shown: dict[int, int] = {}
        given: dict[int, int] = {}
        both: dict[int, int] = {}
        for true, found, count in self.pixels:
            shown[true] = shown.get(true, 0) + count
            given[found] = given.get(found, 0) + count
            if true == found:
                both[true] = count
        known, scores = max(1, sum(shown.values())), dict(self.scores)
        words = []
        for label in sorted((shown.keys() | given.keys()) - {0}):
            there, painted, shared = (counts.get(label, 0) for counts in (shown, given, both))
            iou = shared / max(1, there + painted - shared)
            words.append((label, AskedWord(there / known, painted / known, iou, scores.get(label, 0.0))))
        return words

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "ImageFigures":
        """Return the figures of a line that :meth:`to_json` wrote.

        Raises:
            EvaluationError: the line lacks something, or is of another kind.
        """
        try:
            return cls(
                image=str(line["image"]),
                size_hw=(line["size_hw"][0], line["size_hw"][1]),
                pixels=_rows(line["pixels"]),
                boundaries=_rows(line["boundaries"]),
                scores=_rows(line["scores"]),
                segments=None if line["segments"] is None else _rows(line["segments"]),
                found=_masks(line["found"]),
                true=_masks(line["true"]),
                small=tuple(
                    SmallVocabulary(each["size"], tuple((label, AskedWord(**word)) for label, word in each["words"]))
                    for each in line["small"]
                ),
                seconds=dict(line["seconds"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise EvaluationError(f"No figures of an image: {type(error).__name__}: {error}.") from error


def compare(
    image: str,
    truth: Truth,
    segmentation: Segmentation,
    category_count: int,
    *,
    segments: SegmentMap | None = None,
    found: Sequence[FoundObject] | None = None,
    small: Sequence[SmallVocabulary] = (),
) -> ImageFigures:
    """Compare what an engine found in one image with the truth.

    Args:
        image: the image's name.
        truth: what is true of it.
        segmentation: the labels, at the size of the truth.
        category_count: n, the number of categories.
        segments: the segments that were found, if the truth's segments are to be compared.
        found: the objects that were found, if the truth's objects are to be compared.
        small: small vocabularies that were asked for besides.

    Raises:
        EvaluationError: image and truth are of different sizes.
        ConverterError: a label lies beyond n.
    """
    given, true = segmentation.label_map, truth.label_map
    if given.shape != true.shape:
        sizes = f"{given.shape[1]} x {given.shape[0]} and {true.shape[1]} x {true.shape[0]} px"
        raise EvaluationError(f"Image {image!r:.200} and its truth are of different sizes, {sizes}.")
    known = true != UNKNOWN
    return ImageFigures(
        image=image,
        size_hw=(given.shape[0], given.shape[1]),
        pixels=_pairs(true[known], given[known], category_count),
        boundaries=_boundaries(np.where(known, true, 0), np.where(known, given, 0), category_count),
        scores=tuple((index + 1, round(score, 6)) for index, score in segmentation.category_scores().items()),
        segments=_segments(truth, segments, ~known, category_count),
        found=None if found is None or truth.objects is None else _found(found),
        true=None
        if found is None or truth.objects is None
        else tuple(FoundMask(each.label, _rle(each.mask), is_crowd=each.is_crowd) for each in truth.objects),
        small=tuple(small),
    )


def asked_alone(
    truth: Truth, segmentation: Segmentation, labels: Sequence[int], category_count: int
) -> SmallVocabulary:
    """Return what became of the words of a small vocabulary.

    Args:
        truth: what is true of the image, in the labels of the whole vocabulary.
        segmentation: the labels, in those of the small vocabulary.
        labels: the label in the whole vocabulary of each category of the small one, in its order.
        category_count: how many categories the whole vocabulary has.
    """
    here = np.zeros(category_count + 1, dtype=np.int64)
    here[list(labels)] = np.arange(1, len(labels) + 1)
    known = truth.label_map != UNKNOWN
    pairs = _pairs(here[truth.label_map[known]], segmentation.label_map[known], len(labels))
    scores = tuple((index + 1, score) for index, score in segmentation.category_scores().items())
    words = dict(ImageFigures("", (0, 0), pairs, (), scores).words())
    nothing = AskedWord(0.0, 0.0, 0.0, 0.0)
    return SmallVocabulary(
        len(labels), tuple((label, words.get(place, nothing)) for place, label in enumerate(labels, 1))
    )


def segments_of(objects: Sequence[FoundObject], size_hw: tuple[int, int]) -> SegmentMap:
    """Return objects that do not overlap as segments, numbered without a gap."""
    ids = np.zeros(size_hw, dtype=np.int32)
    for number, each in enumerate(objects, start=1):
        ids[each.mask] = number
    return SegmentMap(ids, tuple(each.index + 1 for each in objects))


def _pairs(
    true: NDArray[np.integer[Any]], given: NDArray[np.integer[Any]], category_count: int
) -> tuple[tuple[int, int, int], ...]:
    """Count the pairs of labels; labels beyond n raise, so that none is taken for another pair's."""
    size = category_count + 1
    for name, labels in (("true", true), ("given", given)):
        if labels.size and not 0 <= labels.min() <= labels.max() <= category_count:
            raise EvaluationError(f"Expected {name} labels from 0 to {category_count}, got {labels.max()}.")
    counts = np.bincount(true.astype(np.int64) * size + given, minlength=1)
    codes = np.flatnonzero(counts)
    return tuple((int(code // size), int(code % size), int(counts[code])) for code in codes)


def _boundaries(
    true: NDArray[np.int32], given: NDArray[np.int32], category_count: int
) -> tuple[tuple[int, int, int], ...]:
    counts = boundary_counts(true, given, category_count, boundary_width_px((true.shape[0], true.shape[1])))
    return tuple((int(row) + 1, *map(int, counts[:, row])) for row in np.flatnonzero(counts[1]))  # type: ignore[misc]


def _segments(
    truth: Truth, given: SegmentMap | None, void: NDArray[np.bool_], category_count: int
) -> tuple[tuple[int, int, int, int, float], ...] | None:
    if given is None or truth.segments is None:
        return None
    found = match_segments(truth.segments, given, category_count, void, crowds=truth.crowds)
    counts = np.stack((found.true_positives, found.false_positives, found.false_negatives))
    return tuple(
        (int(row) + 1, *map(int, counts[:, row]), float(found.iou_sum[row]))  # type: ignore[misc]
        for row in np.flatnonzero(counts.any(axis=0))
    )


def _found(objects: Sequence[FoundObject]) -> tuple[FoundMask, ...]:
    return tuple(FoundMask(each.index + 1, _rle(each.mask), round(float(each.score), 6)) for each in objects)


def _rle(mask: NDArray[np.bool_]) -> str:
    return str(mask_to_coco_rle(mask)["counts"])


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(tuple(row) for row in rows)


def _masks(rows: Sequence[Mapping[str, Any]] | None) -> tuple[FoundMask, ...] | None:
    return None if rows is None else tuple(FoundMask(**row) for row in rows)
