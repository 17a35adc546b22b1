"""What is told of lessons: whose they are, which words they show, and what the prediction had wrong there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ovdiff.bank.lesson_card import LessonCard
from ovdiff.bank.lessons import Lesson

_BACKGROUND = "background"


@dataclass(frozen=True)
class Filters:
    """Which lessons are meant: those of a task, of a person, or of both; ``None`` means any."""

    task: str | None = None
    person: str | None = None

    def __bool__(self) -> bool:
        """Say whether anything is filtered."""
        return self.task is not None or self.person is not None

    def fit(self, card: LessonCard) -> bool:
        """Say whether a lesson is of the task and of the person."""
        source = card.source
        return self.task in (None, source.task) and (
            self.person is None or self.person.casefold() == source.person.casefold()
        )


def words_of(lesson: Lesson) -> dict[str, list[str]]:
    """Return the words that are there and those that are absent."""
    names = [word.name for word in lesson.words]
    return {
        "present": [names[number - 1] for number in lesson.present()],
        "absent": [names[number - 1] for number in lesson.absent()],
    }


def mistakes_of(lesson: Lesson) -> list[dict[str, Any]]:
    """Return how many cells of all extractors have each pair of words, the most first."""
    names = [_BACKGROUND, *(word.name for word in lesson.words)]
    counts: Counter[tuple[str, str]] = Counter()
    for rows in lesson.spaces.values():
        for label, predicted, weight in zip(
            rows.labels.tolist(), rows.predicted.tolist(), rows.weights.tolist(), strict=True
        ):
            counts[names[label], names[predicted]] += weight
    return [{"annotated": a, "predicted": b, "cells": cells} for (a, b), cells in counts.most_common()]
