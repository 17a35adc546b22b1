"""What lessons show, as examples for the discriminants: cells, crops, whole images; and the groups that they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.lessons import Lesson, LessonRows, LessonWord
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.lessons.discriminant import Examples
from ovdiff.segmenting.segmenter import BACKGROUND, PrototypeTable


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


def cell_examples(lesson: Lesson, name: str, words: Words, groups: Groups) -> Examples | None:
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


def prototype_examples(table: PrototypeTable, groups: Groups, weight: float) -> Examples:
    """Return the foreground prototypes of the words that compete as examples."""
    keep = torch.from_numpy(table.classes != BACKGROUND)
    labels = table.classes[table.classes != BACKGROUND] + 1
    of_group = torch.from_numpy(groups.of_label[labels])
    return Examples(table.vectors[keep].cpu(), of_group, torch.ones(len(of_group))).balanced(groups.total, weight)


def crop_examples(lesson: Lesson, phrases: Sequence[tuple[str, ...]]) -> Examples | None:
    """Return a lesson's crops of asked things as examples, each of the same weight; ``None`` if it has none."""
    if lesson.crops is None:
        return None
    groups = _columns(lesson, phrases)[torch.from_numpy(lesson.crops.labels.astype(np.int64))]
    keep = groups >= 0
    if not bool(keep.any()):
        return None
    weights = torch.full((int(keep.sum()),), lesson.weight)
    return Examples(torch.from_numpy(lesson.crops.vectors)[keep], groups[keep], weights)


def image_examples(lesson: Lesson, phrases: Sequence[tuple[str, ...]]) -> Examples | None:
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
