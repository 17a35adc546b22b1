"""What lessons say at a place, by the functions that segment: shares of groups, annotated cells and crops.

Tested by tests/ovdiff/learning/test_explained.py, where engines have lessons.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ovdiff.bank.lessons import Lesson
from ovdiff.bank.prototypes import KINDS
from ovdiff.explaining.stages import mean_at
from ovdiff.explaining.taught import (
    BACKGROUND_NAME,
    THINGS_NAME,
    AlikeLesson,
    Taught,
    TaughtExtractor,
    TaughtGroup,
)
from ovdiff.explaining.votes import cells_at, vote_counts, windows_of
from ovdiff.segmentation import PartEvidence
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.lessons.examples import Groups, Words, taught_cells
from ovdiff.segmenting.lessons.model import LessonModel
from ovdiff.segmenting.lessons.scores import competing_rows, log_shares
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.origins import NOT_STORED, RowOrigins
from ovdiff.segmenting.part_check import check_parts
from ovdiff.segmenting.segmenter import PrototypeTable
from ovdiff.segmenting.steps import Match

_MOST_ALIKE = 3


def taught_at(segmenter: ImageSegmenter, match: Match, weights: Tensor, labels: Sequence[int]) -> Taught | None:
    """Return what lessons say at a place; ``None`` if there are none.

    Cost: the discriminants of all windows, twice, and a read of all lessons in force.

    Args:
        segmenter: the half that segments; call this inside ``with segmenter.parts.models.lock``.
        match: the image, and what competes for it.
        weights: (h, w) float64, how much each pixel of the working image counts for the place; they sum to 1.
        labels: the label ids that compete.
    """
    model, device = match.lessons, segmenter.parts.models.device
    if model is None:
        return None
    competing = {int(model.groups.of_label[labels[row]]) for row in competing_rows(labels, model)}
    numbers = sorted({int(model.groups.of_label[label]) for label in labels})
    shares = _log_shares(match.encoded, model, weights, device)
    groups = _groups(match, model, numbers, labels, competing, shares)
    extractors = tuple(_extractor(name, match, model, weights, numbers, competing, device) for name in match.tables)
    taught = Taught(model.lessons, model.weight, groups, extractors, ())
    favoured = taught.favoured()
    if favoured is None:
        return taught
    lessons = segmenter.lessons.in_force(match.competition)
    words = Words(segmenter.lessons.phrases(match.competition), match.competition.asked)
    number = numbers[groups.index(favoured)]
    alike = alike_lessons(match.encoded, weights, model, lessons, words, number, device)
    return replace(taught, alike=tuple(alike[:_MOST_ALIKE]))


def part_without(
    segmenter: ImageSegmenter, match: Match, before: ScoreMaps, part: PartEvidence
) -> PartEvidence | None:  # fmt: skip
    """Return what CLIP would have seen in a part, had nobody annotated crops; ``None`` if crops taught nothing.

    Cost: another part check of the image.

    Args:
        segmenter: the half that segments; call this inside ``with segmenter.parts.models.lock``.
        match: the image, and what competes for it.
        before: the score maps at which the part check began.
        part: what CLIP saw there.
    """
    if match.lessons is None or match.lessons.crops is None:
        return None
    stuff = segmenter.kinds.stuff(match.competition.vocabulary)
    _, seen = check_parts(segmenter.parts, match.encoded, before, match.competition, stuff)
    return next((each for each in seen if (each.box, each.by_pixels) == (part.box, part.by_pixels)), None)


def alike_lessons(
    encoded: EncodedImage,
    weights: Tensor,
    model: LessonModel,
    lessons: Sequence[Lesson],
    words: Words,
    group: int,
    device: torch.device,
) -> list[AlikeLesson]:
    """Return each lesson that shows a group, with its word whose cells are most like a place; the best first.

    A cosine is taken as that of a vote: the largest one in each cell, and then the mean over the place. The extractors
    that are used count the same.

    Args:
        encoded: the encoded image.
        weights: (h, w) float64, how much each pixel of the working image counts for the place; they sum to 1.
        model: what the lessons say.
        lessons: the lessons in force.
        words: the words that compete.
        group: the group.
        device: the device that computes.
    """
    per_vote = weights / vote_counts(encoded, model.discriminants)
    cosines: dict[tuple[int, int], dict[str, float]] = {}
    for name in model.discriminants:
        pairs, table = _table(lessons, name, words, model.groups, group)
        if table is None:
            continue
        total, summed, table = 0.0, np.zeros(len(pairs)), table.to(device)
        for window, features in windows_of(encoded, name):
            cells = cells_at(window, features, per_vote, table, range(len(pairs)))
            if cells is not None:
                total += float(cells.weights.sum())
                summed += cells.scores @ cells.weights
        for word, cosine in zip(pairs, (summed / total).tolist(), strict=True):
            cosines.setdefault(word, {})[name] = cosine
    best: dict[int, AlikeLesson] = {}
    for (number, label), each in cosines.items():
        mean = sum(each.values()) / len(each)
        if number not in best or mean > best[number].cosine:
            name = lessons[number].words[label - 1].name if label else BACKGROUND_NAME
            best[number] = AlikeLesson(name, mean, each, lessons[number].source)
    return sorted(best.values(), key=lambda lesson: -lesson.cosine)


def _table(
    lessons: Sequence[Lesson], name: str, words: Words, groups: Groups, group: int
) -> tuple[list[tuple[int, int]], PrototypeTable | None]:
    """Return (lesson, word) pairs, and a table in which the cells of each are a class; ``None`` if there are none."""
    pairs, vectors = [], []
    for number, lesson in enumerate(lessons):
        found = taught_cells(lesson, name, words, groups)
        if found is None:
            continue
        rows, of_row = found
        inside = (groups.merged(of_row) == group).numpy()
        for label in np.unique(rows.labels[inside]).tolist():
            pairs.append((number, label))
            vectors.append(torch.from_numpy(rows.vectors[inside & (rows.labels == label)]))
    if not pairs:
        return pairs, None
    classes = np.repeat(np.arange(len(pairs)), [len(each) for each in vectors])
    nowhere = np.full(len(classes), NOT_STORED, np.int32)
    origins = RowOrigins(np.full(len(classes), KINDS.index("instance"), np.uint8), nowhere, nowhere)
    return pairs, PrototypeTable(torch.cat(vectors), classes, classes, origins)


def _log_shares(encoded: EncodedImage, model: LessonModel, weights: Tensor, device: torch.device) -> list[float]:
    """Return l of each group at a place, in nats; 0 if no extractor is used."""
    if not model.discriminants:
        return [0.0] * model.groups.count
    return list(mean_at(log_shares(encoded, model, device), weights))


def _groups(
    match: Match,
    model: LessonModel,
    numbers: Sequence[int],
    labels: Sequence[int],
    competing: set[int],
    log_shares: Sequence[float],
) -> tuple[TaughtGroup, ...]:
    of_label, names = model.groups.of_label, (BACKGROUND_NAME, *match.competition.vocabulary.names)
    shares = _shares(numbers, competing, log_shares)
    found = []
    for number, share in zip(numbers, shares, strict=True):
        words = tuple(names[label] for label in labels if of_label[label] == number)
        name = (BACKGROUND_NAME, THINGS_NAME)[number] if number < 2 else words[0]
        found.append(TaughtGroup(name, words, number in competing, log_shares[number], share))
    return tuple(found)


def _shares(numbers: Sequence[int], competing: set[int], log_shares: Sequence[float]) -> list[float]:
    """Return log shares as shares, so that those of the groups that compete sum to 1."""
    parts = [float(np.exp(log_shares[number])) if number in competing else 0.0 for number in numbers]
    return [part / max(sum(parts), 1e-30) for part in parts]


def _extractor(
    name: str,
    match: Match,
    model: LessonModel,
    weights: Tensor,
    numbers: Sequence[int],
    competing: set[int],
    device: torch.device,
) -> TaughtExtractor:
    report, own = model.reports.get(name), model.discriminants.get(name)
    if report is None:
        return TaughtExtractor(name, False, None, None, ())
    if own is None:
        return TaughtExtractor(name, False, report.before, report.after, ())
    alone = _log_shares(match.encoded, replace(model, discriminants={name: own}), weights, device)
    return TaughtExtractor(name, True, report.before, report.after, tuple(_shares(numbers, competing, alone)))
