"""Told facts of lessons; the commands that use them are tested in tests/backend/command/test_lessons.py."""

import numpy as np

from backend.presentation.lesson_facts import Filters, mistakes_of, words_of
from ovdiff.bank.lesson_card import lesson_to_card
from ovdiff.bank.lessons import Lesson, LessonRows, LessonSource, LessonWord

ROWS = LessonRows(
    np.eye(3, 4, dtype=np.float32), np.array([1, 0, 1], np.int32), np.array([2, 0, 2], np.int32),
    np.array([3, 5, 4], np.float32),
)  # fmt: skip
LESSON = Lesson(
    "a" * 64, "b" * 64, "c" * 64, (LessonWord("boat", ("boat",)), LessonWord("car", ("car",))), True,
    {"clip": ROWS, "sd": ROWS}, source=LessonSource("1", "7", "", "Ann"),
)  # fmt: skip


def test_pairs_of_words_are_counted_over_all_extractors_the_most_first() -> None:
    assert mistakes_of(LESSON) == [
        {"annotated": "boat", "predicted": "car", "cells": 14.0},
        {"annotated": "background", "predicted": "background", "cells": 10.0},
    ]


def test_words_are_there_or_absent() -> None:
    assert words_of(LESSON) == {"present": ["boat"], "absent": ["car"]}


def test_filters_mean_a_task_a_person_or_both() -> None:
    card = lesson_to_card(LESSON)
    fits = [Filters(), Filters("7"), Filters(person="ann"), Filters("7", "ANN")]
    assert all(filters.fit(card) for filters in fits)
    assert [bool(filters) for filters in fits] == [False, True, True, True]
    assert not any(filters.fit(card) for filters in (Filters("8"), Filters("7", "bob")))
