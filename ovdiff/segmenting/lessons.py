"""Lessons in the scores: what people annotated says which features belong to what, beside the prototypes.

Cells of annotated images, and the foreground prototypes of the vocabulary as one more example, teach a discriminant for
each extractor (:mod:`ovdiff.segmenting.discriminant`). Its groups are background, all things together, and each kind of
stuff; anchors are words among them, and the other words that lessons know are groups of the background. Features of a
few pixels tell these apart well, and badly which thing it is. That is left to the part check, which learns from crops
of annotated things as they look to CLIP; and which things an image holds, for the prefilter and for scores, is learned
from whole annotated images. What the discriminant says competes with the votes of the prototypes::

    l_g(p)   = mean over extractors and windows of  max(log p(g | features(p)), -12)
    score_c(p)  <-  s*(p) + r_c(p) - max over d of r_d(p),    r_c(p) = score_c(p) + w l_group(c)(p)

over all classes c, d whose group an example shows; s* is the largest of their scores before. So the best score stays as
it is, and a class that nobody has taught anything about keeps its chances. ``w = weight * n / (n + caution)`` for n
lessons. An extractor whose discriminant makes left-out images worse is not used.

Segmenting costs the same however many lessons there are, because they are merged into one direction for each group.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson, LessonRows, LessonWord, set_digest
from ovdiff.bank.recipe import Recipes
from ovdiff.presets.segmenting_settings import LessonSettings
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.discriminant import (
    Discriminant,
    Examples,
    LearnedViews,
    LeftOut,
    best_temperature,
    leave_out,
    sums_of,
)
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.part_check import redecide, text_cosines
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.segmenter import BACKGROUND, PrototypeTable, ScoreMerger, class_scores
from ovdiff.segmenting.tables import Tables
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

_LOWEST = 12.0
"""The lowest log share, in nats, so that one cell cannot outvote all others."""
_MOST_DIMENSIONS = 1024
"""Features of more dimensions are projected at random, which keeps distances; the covariance is quadratic in them."""
_KEPT = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Groups:
    """Which words the discriminants do not tell apart.

    Attributes:
        of_label: the group of each label id: 0 is background, 1 all things, then each kind of stuff; anchors are words,
            too.
        count: the number of these groups.
        behind: the groups of words that lessons know and that do not compete, by their phrases. What shows such a word
            is background, but looks like nothing else in the background.
    """

    of_label: NDArray[np.int64]
    count: int
    behind: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    @staticmethod
    def of(
        competition: Competition, stuff: frozenset[int], phrases: Sequence[tuple[str, ...]], lessons: Sequence[Lesson]
    ) -> "Groups":
        """Return the groups of the words that compete, whose phrases are given, and of those that lessons know."""
        ranks = {index: rank for rank, index in enumerate(sorted(stuff), start=2)}
        words = [ranks.get(index, 1) for index in range(len(competition.vocabulary.categories))]
        known = {word.phrases for lesson in lessons for word in lesson.words if word.covered} - set(phrases)
        count = 2 + len(ranks)
        behind = {words: number for number, words in enumerate(sorted(known), start=count)}
        return Groups(np.array([0, *words], dtype=np.int64), count, behind)

    @property
    def total(self) -> int:
        """The number of all groups."""
        return self.count + len(self.behind)

    def merged(self, groups: Tensor) -> Tensor:
        """Return groups with background in the place of what is behind."""
        return groups.masked_fill(groups >= self.count, 0)

    def best(self, shares: Tensor) -> Tensor:
        """Return log shares (G, ...) as those of background, things and stuff; background has its best."""
        if not self.behind:
            return shares
        background = torch.maximum(shares[0], shares[self.count :].amax(dim=0))
        return torch.cat([background[None], shares[1 : self.count]])


@dataclass(frozen=True)
class Words:
    """The words that compete.

    Attributes:
        phrases: the phrases of each, in their order.
        asked: how many were asked for; the others are anchors.
    """

    phrases: Sequence[tuple[str, ...]]
    asked: int


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


class Lessons:
    """The lessons in force, made ready for vocabularies. Not thread-safe: use it inside ``with models.lock``."""

    def __init__(self, parts: SegmentingParts, store: LessonStore, recipes: Recipes) -> None:
        """Read no lesson yet."""
        self._parts, self.store, self._recipes = parts, store, recipes
        self._recent: dict[tuple[object, ...], LessonModel | None] = {}

    def of(self, competition: Competition, tables: Tables, stuff: frozenset[int]) -> LessonModel | None:
        """Return what the lessons in force say about a vocabulary; ``None`` if there are none.

        Cost: a look at the lessons' files; for a new set of lessons some hundredths of a second for each lesson.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        asked = competition.vocabulary.categories[: competition.asked]
        digest = self.version(Vocabulary(asked))
        if not digest:
            return None
        keys = [self._recipes.prototypes(category).key for category in competition.vocabulary.categories]
        known = (digest, competition.vocabulary.fingerprint(), competition.asked, *keys)
        if known not in self._recent:
            lessons, phrases = self.in_force(competition), self.phrases(competition)
            model = self._fitted(lessons, phrases, competition, tables, stuff)
            if set_digest({lesson.address: lesson.weight for lesson in lessons}) != digest:
                return model  # Somebody has changed the lessons meanwhile.
            self._recent = {**dict(list(self._recent.items())[1 - _KEPT :]), known: model}
        return self._recent[known]

    def version(self, vocabulary: Vocabulary) -> str:
        """Return a hash of the lessons that count for a vocabulary; "" if none does. No model is needed.

        Raises:
            WeightsError: a model's files are missing.
        """
        if not self._parts.preset.lessons.enabled or not self.store.folder.is_dir():
            return ""
        return self.store.digest(self._recipes.lessons.key, self._phrases(vocabulary.categories))

    def in_force(self, competition: Competition) -> tuple[Lesson, ...]:
        """Read the lessons that speak about an asked word, sorted by address; each costs a read of its files."""
        asked = competition.vocabulary.categories[: competition.asked]
        return self.store.in_force(self._recipes.lessons.key, self._phrases(asked))

    def phrases(self, competition: Competition) -> list[tuple[str, ...]]:
        """Return the phrases of each word that competes, by which lessons know it."""
        return self._phrases(competition.vocabulary.categories)

    def _fitted(
        self,
        lessons: Sequence[Lesson],
        phrases: Sequence[tuple[str, ...]],
        competition: Competition,
        tables: Tables,
        stuff: frozenset[int],
    ) -> LessonModel | None:
        if not lessons:
            return None
        model = fit_lessons(lessons, phrases, competition, tables, stuff, self._parts)
        for name, report in model.reports.items():
            _log.info(
                "%d lessons, %s: of left-out annotated images %.3f of the cells were right without lessons and %.3f "
                "with them%s.",
                *(len(lessons), name, report.before, report.after, "" if report.used else "; so it does not use them"),
            )
        return model

    def _phrases(self, categories: Sequence[Category]) -> list[tuple[str, ...]]:
        known = self._parts.preset.generation.phrases
        return [with_phrase(category, known).phrases for category in categories]


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
    crops = _fit_views([_crops(each, wanted) for each in lessons], categories, parts)
    images = _fit_views([_image(each, wanted) for each in lessons], categories, parts)
    return LessonModel(groups, discriminants, weight, reports, len(lessons), crops, images)


def with_lessons(encoded: EncodedImage, maps: ScoreMaps, model: LessonModel, device: torch.device) -> ScoreMaps:
    """Return score maps in which what lessons say competes with the votes of the prototypes.

    Args:
        encoded: the encoded image.
        maps: the votes of the prototypes.
        model: what the lessons say.
        device: the device that computes the score maps.
    """
    rows = competing_rows(maps.labels, model)
    if not rows:
        return maps
    group_of_row = torch.from_numpy(model.groups.of_label[list(maps.labels)])
    shares = log_shares(encoded, model, device)
    bonus = shares[group_of_row[rows].to(shares.device)]
    return ScoreMaps(redecide(maps.scores, rows, bonus, 1 / model.weight), maps.labels)


def competing_rows(labels: Sequence[int], model: LessonModel) -> list[int]:
    """Return the rows of score maps with these labels whose groups lessons know; none if they are of one group."""
    if not model.discriminants:
        return []
    group_of_row = torch.from_numpy(model.groups.of_label[list(labels)])
    shown = torch.stack([model.groups.best(each.shown) for each in model.discriminants.values()])
    shown = shown.all(dim=0)[group_of_row]
    rows: list[int] = shown.nonzero()[:, 0].tolist()
    return rows if len({int(group_of_row[row]) for row in rows}) > 1 else []


@torch.inference_mode()
def log_shares(encoded: EncodedImage, model: LessonModel, device: torch.device) -> Tensor:
    """Return l, the mean log share (G, h, w) of each group at each pixel of the working image, in nats, on a device.

    The groups are background, things and each kind of stuff; what is behind counts as background.
    """
    merger = ScoreMerger(model.groups.count, (encoded.working.shape[0], encoded.working.shape[1]), device)
    for name, discriminant in model.discriminants.items():
        moved = replace(
            discriminant,
            directions=discriminant.directions.to(device),
            offsets=discriminant.offsets.to(device),
            shown=discriminant.shown.to(device),
        )
        for batch in encoded.features[name]:
            for window, features in zip(batch.windows, batch.features, strict=True):
                rows = F.normalize(features.to(device).float().permute(1, 2, 0), dim=-1)
                found = model.groups.best(moved.log_shares(rows).clamp(min=-_LOWEST).permute(2, 0, 1))
                merger.add(found[None] / _LOWEST, [window])  # The merger keeps values in [-1, 1].
    return merger.mean() * _LOWEST


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
    taught = [found for lesson in lessons if (found := _cells(lesson, name, words, groups)) is not None]
    if not taught:
        return None
    project = _projection(table.vectors.shape[1])
    support = _of_prototypes(table, groups, settings.support_weight)
    parts = [_projected(each, project) for each in taught]
    always = _projected(support, project)
    left_out = leave_out(parts, always, groups.total, settings.shrinkage)
    temperature = best_temperature(left_out)
    report = _report(left_out, taught, table, groups, temperature, weight)
    fitted = sums_of([*parts, always], groups.total).discriminant(settings.shrinkage)
    directions = fitted.directions if project is None else project @ fitted.directions
    return replace(fitted, directions=directions, temperature=temperature), report


def _cells(lesson: Lesson, name: str, words: Words, groups: Groups) -> Examples | None:
    """Return a lesson's cells as examples; ``None`` if it has none for this extractor."""
    taught = taught_cells(lesson, name, words, groups)
    if taught is None:
        return None
    rows, of_row = taught
    examples = Examples(torch.from_numpy(rows.vectors), of_row, torch.from_numpy(rows.weights))
    return examples.balanced(groups.total, lesson.weight)


def taught_cells(lesson: Lesson, name: str, words: Words, groups: Groups) -> tuple[LessonRows, Tensor] | None:
    """Return a lesson's cells that teach, and the group (n,) that each shows; ``None`` if none does.

    Background is taught only if the annotation speaks about every asked word: what shows another word, or was
    left without a label, could show the word that it does not speak about.
    """
    rows = lesson.spaces.get(name)
    if rows is None:
        return None
    numbers = {phrases: number for number, phrases in enumerate(words.phrases, start=1)}
    labels = [0, *(numbers.get(word.phrases, 0) for word in lesson.words)]
    group_of = torch.tensor(
        [
            int(groups.of_label[label]) if label else groups.behind.get(word.phrases, 0)
            for label, word in zip(labels, [LessonWord("", ()), *lesson.words], strict=True)
        ]
    )
    known = all(lesson.teaches(phrases) for phrases in words.phrases[: words.asked])
    keep = (np.array(labels)[rows.labels] > 0) | known
    if not keep.any():
        return None
    kept = LessonRows(rows.vectors[keep], rows.labels[keep], rows.predicted[keep], rows.weights[keep])
    return kept, group_of[torch.from_numpy(kept.labels.astype(np.int64))]


def _of_prototypes(table: PrototypeTable, groups: Groups, weight: float) -> Examples:
    """Return the foreground prototypes of the words that compete as examples."""
    keep = torch.from_numpy(table.classes != BACKGROUND)
    labels = table.classes[table.classes != BACKGROUND] + 1
    of_group = torch.from_numpy(groups.of_label[labels])
    return Examples(table.vectors[keep].cpu(), of_group, torch.ones(len(of_group))).balanced(groups.total, weight)


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
        mixed = votes + weight * groups.best(shares.clamp(min=-_LOWEST).T).T
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


def _crops(lesson: Lesson, phrases: Sequence[tuple[str, ...]]) -> Examples | None:
    """Return a lesson's crops of asked things as examples, each of the same weight; ``None`` if it has none."""
    if lesson.crops is None:
        return None
    groups = _columns(lesson, phrases)[torch.from_numpy(lesson.crops.labels.astype(np.int64))]
    keep = groups >= 0
    if not bool(keep.any()):
        return None
    weights = torch.full((int(keep.sum()),), lesson.weight)
    return Examples(torch.from_numpy(lesson.crops.vectors)[keep], groups[keep], weights)


def _image(lesson: Lesson, phrases: Sequence[tuple[str, ...]]) -> Examples | None:
    """Return the whole image as an example of each asked thing that it holds; ``None`` if it holds none."""
    groups = _columns(lesson, phrases)[list(lesson.present())]
    groups = groups[groups >= 0]
    if lesson.embedding is None or not len(groups):
        return None
    vectors = torch.from_numpy(lesson.embedding)[None].repeat(len(groups), 1)
    return Examples(vectors, groups, torch.full((len(groups),), lesson.weight / len(groups)))


def _columns(lesson: Lesson, phrases: Sequence[tuple[str, ...]]) -> Tensor:
    """Return the place of each of a lesson's words, numbered from 1, among phrases; -1 for a word that is not there."""
    asked = {words: index for index, words in enumerate(phrases)}
    return torch.tensor([-1, *(asked.get(word.phrases, -1) for word in lesson.words)])
