"""What all lessons in force say about a vocabulary: a discriminant for each extractor, and what CLIP's views teach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ovdiff.bank.lessons import Lesson
from ovdiff.presets.segmenting_settings import LessonSettings
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.lessons.discriminant import (
    Discriminant,
    Examples,
    LearnedViews,
    LeftOut,
    best_temperature,
    leave_out,
    sums_of,
)
from ovdiff.segmenting.lessons.examples import (
    Groups,
    Words,
    cell_examples,
    crop_examples,
    image_examples,
    prototype_examples,
)
from ovdiff.segmenting.part_check import text_cosines
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.segmenter import PrototypeTable, class_scores
from ovdiff.segmenting.tables import Tables
from ovdiff.vocabulary import Category

LOWEST = 12.0
"""The lowest log share, in nats, so that one cell cannot outvote all others."""
_MOST_DIMENSIONS = 1024
"""Features of more dimensions are projected at random, which keeps distances; the covariance is quadratic in them."""


@dataclass(frozen=True)
class Report:
    """How lessons did on annotated images that were left out.

    Attributes:
        before: the share of cells whose group was right by the prototypes alone; the groups of an image weigh the same.
        after: that share with the other images' lessons.
        used: whether the lessons are used.
    """

    before: float
    after: float
    used: bool


@dataclass(frozen=True)
class LessonModel:
    """What the lessons in force say.

    Attributes:
        groups: the groups.
        discriminants: that of each extractor which is used.
        weight: w, a cosine a nat.
        reports: how each extractor did on left-out images.
        lessons: the number of lessons.
        crops: what crops of annotated things teach the part check; ``None`` if nothing.
        images: what annotated images teach about which things an image holds; ``None`` if nothing.
    """

    groups: Groups
    discriminants: Mapping[str, Discriminant]
    weight: float
    reports: Mapping[str, Report]
    lessons: int
    crops: LearnedViews | None = None
    images: LearnedViews | None = None


def fit_lessons(
    lessons: Sequence[Lesson],
    phrases: Sequence[tuple[str, ...]],
    competition: Competition,
    tables: Tables,
    stuff: frozenset[int],
    parts: SegmentingParts,
) -> LessonModel:
    """Return what lessons say about a vocabulary. The order of the lessons does not matter if they come sorted.

    Args:
        lessons: at least one lesson.
        phrases: the phrases of each category that competes, in their order.
        competition: the words that compete.
        tables: their prototypes.
        stuff: the indices of the words that are stuff.
        parts: the models; call this inside ``with parts.models.lock``.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    settings, groups = parts.preset.lessons, Groups.of(competition, stuff, phrases, lessons)
    weight = settings.cosine_per_nat * _sureness(len(lessons), settings)
    discriminants, reports = {}, {}
    for name, table in tables.items():
        fitted = _fit_space(name, lessons, Words(phrases, competition.asked), table, groups, settings, weight)
        if fitted is None:
            continue
        reports[name] = fitted[1]
        if fitted[1].used:
            discriminants[name] = fitted[0]
    things = [index for index in range(len(phrases)) if index not in stuff]
    categories = {index + 1: competition.vocabulary.categories[index] for index in things}
    wanted = [phrases[index] for index in things]
    crops = _fit_views([crop_examples(each, wanted) for each in lessons], categories, parts)
    images = _fit_views([image_examples(each, wanted) for each in lessons], categories, parts)
    return LessonModel(groups, discriminants, weight, reports, len(lessons), crops, images)


def _fit_space(
    name: str,
    lessons: Sequence[Lesson],
    words: Words,
    table: PrototypeTable,
    groups: Groups,
    settings: LessonSettings,
    weight: float,
) -> tuple[Discriminant, Report] | None:
    """Return the discriminant of an extractor and how it did on left-out images; ``None`` if nothing teaches it."""
    taught = [found for lesson in lessons if (found := cell_examples(lesson, name, words, groups)) is not None]
    if not taught:
        return None
    project = _projection(table.vectors.shape[1])
    support = prototype_examples(table, groups, settings.support_weight)
    parts = [_projected(each, project) for each in taught]
    always = _projected(support, project)
    left_out = leave_out(parts, always, groups.total, settings.shrinkage)
    temperature = best_temperature(left_out)
    report = _report(left_out, taught, table, groups, temperature, weight)
    fitted = sums_of([*parts, always], groups.total).discriminant(settings.shrinkage)
    directions = fitted.directions if project is None else project @ fitted.directions
    return replace(fitted, directions=directions, temperature=temperature), report


def _report(
    left_out: Sequence[LeftOut],
    taught: Sequence[Examples],
    table: PrototypeTable,
    groups: Groups,
    temperature: float,
    weight: float,
) -> Report:
    """Return how often the group of a left-out cell is right, before and after; the better one is used."""
    classes = sorted(set(table.classes.tolist()))
    of_class = torch.from_numpy(groups.of_label[np.array(classes) + 1])
    right, total = torch.zeros(2, dtype=torch.float64), 0.0
    for each in left_out:
        examples, whole = each.examples, taught[each.part]
        known = each.discriminant.shown[whole.groups]
        raw = whole.vectors[known]
        scores = class_scores(raw.T[None, :, :, None], table, classes)[0, :, :, 0].T
        votes = torch.stack([_best(scores, of_class == group) for group in range(groups.count)], dim=1)
        shares = replace(each.discriminant, temperature=temperature).log_shares(examples.vectors)
        mixed = votes + weight * groups.best(shares.clamp(min=-LOWEST).T).T
        unknown, truth = ~groups.best(each.discriminant.shown), groups.merged(examples.groups)
        for place, decided in enumerate((votes, mixed)):
            hits = (decided.masked_fill(unknown, -99.0).argmax(dim=1) == truth).double()
            right[place] += (hits * examples.weights).sum()
        total += float(examples.weights.sum())
    before, after = (right / max(total, 1e-9)).tolist()
    return Report(before, after, used=after > before and temperature > 0)


def _best(scores: Tensor, of_group: Tensor) -> Tensor:
    """Return the best score (n,) among the classes of a group; the lowest possible one if it has none."""
    return scores[:, of_group].amax(dim=1) if bool(of_group.any()) else torch.full((len(scores),), -1.0)


def _sureness(lessons: int, settings: LessonSettings) -> float:
    """Return how much so many lessons count, in [0, 1): few images show little of what there is."""
    return lessons / (lessons + settings.caution)


def _projection(depth: int) -> Tensor | None:
    """Return a fixed random matrix (D, 1024) that keeps the distances of vectors; ``None`` where none is needed."""
    if depth <= _MOST_DIMENSIONS:
        return None
    matrix: Tensor = torch.randn(depth, _MOST_DIMENSIONS, generator=torch.Generator().manual_seed(0))
    return matrix / _MOST_DIMENSIONS**0.5


def _projected(examples: Examples, project: Tensor | None) -> Examples:
    return examples if project is None else replace(examples, vectors=examples.vectors @ project)


def _fit_views(
    views: Sequence[Examples | None], things: Mapping[int, Category], parts: SegmentingParts
) -> LearnedViews | None:
    """Return what CLIP's views teach about things, by label id; ``None`` if no more than the texts do."""
    settings, scale, taught = parts.preset.lessons, parts.preset.part_check.logit_scale, [v for v in views if v]
    if not taught or len(things) < 2:
        return None
    left_out = leave_out(taught, None, len(things), settings.crop_shrinkage, settings.crop_prior)
    categories = list(things.values())
    texts = [
        torch.from_numpy(scale * text_cosines(parts, each.examples.vectors, categories)).float() for each in left_out
    ]
    temperature = best_temperature(left_out, texts)
    if not temperature:
        return None
    fitted = sums_of(taught, len(things)).discriminant(settings.crop_shrinkage, settings.crop_prior)
    columns = {label: column for column, label in enumerate(things)}
    sure = _sureness(len(taught), settings)
    return LearnedViews(replace(fitted, temperature=sure * temperature), columns, scale)
