"""The best, median and worst images of an evaluation, segmented again for their pictures and their explanations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from backend.command.evaluation.example_pictures import ExamplePictures, example_pictures
from backend.presentation.place_scores import score_sentences
from backend.presentation.verdict import clip_sentence, lost_sentence, removal_sentences, stage_rows, verdict
from converters.report.text import percent
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import Explains, ScoresPlaces
from ovdiff.errors import OVDiffError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, LabelledImage
from ovdiff.evaluation.ranking import RankedImages
from ovdiff.evaluation.run import encode, label
from ovdiff.evaluation.upper_line import SeesTruth, deepest_xy
from ovdiff.explaining.taught import BACKGROUND_NAME
from ovdiff.vocabulary import Vocabulary

Place = Literal["worst", "median", "best"]

EXPLAINED_SHARE = 0.002
"""A wrong region of a smaller share of the image's pixels is not explained."""

_TOUCHING = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True)
class WrongRegion:
    """The largest connected region of an image in which one label stands for another.

    Attributes:
        mask: (H, W) bool.
        truth: the name of what is there.
        given: the name of what was found.
        share: its share of the image's pixels.
    """

    mask: NDArray[np.bool_]
    truth: str
    given: str
    share: float

    @property
    def sentence(self) -> str:
        """What is wrong, in a sentence."""
        what = f"{self.truth} that was taken for {self.given}"
        return f"The largest wrong region is {what}, {percent(self.share)} of the image."


@dataclass(frozen=True)
class Example:
    """One image of an evaluation.

    Attributes:
        name: the image's name.
        place: whether it is one of the worst, median or best.
        miou: its mean IoU.
        pictures: of the truth, of what was found, and of what is wrong.
        labels: the labels of the categories that it shows or was given.
        wrong: the largest wrong region, in a sentence; "" if no known pixel is wrong.
        why: what took the place away, in sentences: the winner and the runner-up, of votes or of the scores at the
            place's deepest pixel, or why that is not known; "" if nothing is wrong.
        stages: the steps from votes to labels, as a table with its head; () without an explanation.
        removed: what the prefilter had removed, a sentence each.
    """

    name: str
    place: Place
    miou: float
    pictures: ExamplePictures
    labels: tuple[int, ...]
    wrong: str = ""
    why: str = ""
    stages: tuple[tuple[str, ...], ...] = ()
    removed: tuple[str, ...] = ()


def examples_of(
    engine: SegmentationEngine, dataset: Dataset, ranked: RankedImages, mious: dict[str, float | None]
) -> Iterator[Example]:
    """Segment the ranked images again, the worst first, and explain the largest wrong region of each.

    An image that cannot be read or segmented any more is passed over. Cost: one segmentation an image, and one
    explanation where the engine can explain.

    Args:
        engine: the method; every category is prepared.
        dataset: where the images are.
        ranked: which images.
        mious: the mean IoU of each of them.
    """
    places: Sequence[tuple[Place, tuple[str, ...]]] = (
        ("worst", ranked.worst),
        ("median", ranked.median),
        ("best", ranked.best),
    )
    for place, names in places:
        for name in names:
            try:
                yield _example(engine, dataset, name, place, mious[name] or 0.0)
            except (
                OVDiffError
            ):  # It was evaluated once, so it is named among the figures; here it only lacks a picture.
                continue


def largest_wrong_region(
    truth: NDArray[np.int32], given: NDArray[np.int32], names: Sequence[str]
) -> WrongRegion | None:
    """Return the largest connected region in which one true label was given one other label.

    Args:
        truth: (H, W) int32, the true labels; unknown pixels are never wrong.
        given: (H, W) int32, the labels that were found.
        names: the names of the categories; label ``i + 1`` is ``names[i]``.
    """
    is_wrong = (truth != UNKNOWN) & (truth != given)
    pairs = np.where(is_wrong, truth.astype(np.int64) * (len(names) + 1) + given, -1)
    codes, areas = np.unique(pairs[is_wrong], return_counts=True)
    largest: NDArray[np.bool_] | None = None
    most, of = 0, -1
    for place in np.argsort(-areas, kind="stable"):
        if areas[place] <= most:  # No part of these is larger than all of them.
            break
        numbers, _ = ndimage.label(pairs == codes[place], _TOUCHING)
        counts = np.bincount(numbers.ravel())
        counts[0] = 0
        if counts.max() > most:
            most, of = int(counts.max()), int(codes[place])
            largest = numbers == counts.argmax()
    if largest is None:
        return None
    there, found = (BACKGROUND_NAME if label == 0 else names[label - 1] for label in divmod(of, len(names) + 1))
    return WrongRegion(largest, there, found, most / truth.size)


def _example(engine: SegmentationEngine, dataset: Dataset, name: str, place: Place, miou: float) -> Example:
    labelled, vocabulary = dataset.read(name), dataset.vocabulary
    encoded = encode(engine, labelled)
    given = label(engine, labelled, encoded, vocabulary).label_map
    truth = labelled.truth.label_map
    wrong = largest_wrong_region(truth, given, vocabulary.names)
    mask = None if wrong is None else wrong.mask
    pictures = example_pictures(labelled.image, truth, given, mask, len(vocabulary.categories))
    shown = sorted({int(label) for label in np.union1d(truth, given)} - {UNKNOWN, 0})
    example = Example(name, place, miou, pictures, tuple(shown))
    return example if wrong is None else _explained(example, engine, encoded, labelled, vocabulary, wrong)


def _explained(
    example: Example,
    engine: SegmentationEngine,
    encoded: Any,
    labelled: LabelledImage,
    vocabulary: Vocabulary,
    wrong: WrongRegion,
) -> Example:
    if isinstance(engine, SeesTruth):
        why = f"It was given {engine.given}, so what is there was known, and the outline is wrong."
        return replace(example, wrong=wrong.sentence, why=why)
    if not isinstance(engine, Explains) and isinstance(engine, ScoresPlaces):
        return replace(example, wrong=wrong.sentence, why=_scored(engine, encoded, labelled, vocabulary, wrong))
    if not isinstance(engine, Explains):
        why = f"The engine {engine.preset.engine!r} cannot say why a place has its label."
        return replace(example, wrong=wrong.sentence, why=why)
    if wrong.share < EXPLAINED_SHARE:
        return replace(example, wrong=wrong.sentence, why="So small a region is not explained.")
    try:
        view = engine.encode(labelled.image) if encoded is None else encoded
        found = engine.explain(view, vocabulary, wrong.mask)
    except OVDiffError as error:
        return replace(example, wrong=wrong.sentence, why=f"It could not be explained: {error}")
    seen = clip_sentence(found.part) if found.part else ""
    said = verdict(found), lost_sentence(found, wrong.truth), seen
    return replace(
        example,
        wrong=wrong.sentence,
        why=" ".join(sentence for sentence in said if sentence),
        stages=tuple(stage_rows(found)),
        removed=tuple(removal_sentences(found)),
    )


def _scored(
    engine: ScoresPlaces, encoded: Any, labelled: LabelledImage, vocabulary: Vocabulary, wrong: WrongRegion
) -> str:
    """Say what words claim the pixel that is deepest inside a wrong region."""
    x, y = deepest_xy(wrong.mask)
    try:
        view = engine.encode(labelled.image) if encoded is None else encoded
        found = engine.place_scores(view, vocabulary, (x, y))
    except OVDiffError as error:
        return f"It could not be explained: {error}"
    return f"Deep inside it, at {x},{y}: {score_sentences(found, vocabulary.names, wrong.given, wrong.truth)}"
