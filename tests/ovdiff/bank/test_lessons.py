from dataclasses import replace

import numpy as np

from ovdiff.bank.lessons import LessonWord, set_digest
from tests.ovdiff.bank.a_lesson import a_lesson


def test_a_lesson_says_which_words_are_there_and_which_are_absent() -> None:
    lesson = a_lesson(words=("ball", "mug", "sky"))
    assert lesson.present() == (1,) and lesson.absent() == (2, 3)
    assert replace(lesson, complete=False).absent() == ()
    uncovered = replace(lesson, words=(*lesson.words[:2], LessonWord("sky", ("sky",), covered=False)))
    assert uncovered.absent() == (2,)
    only_crops = replace(lesson, spaces={})
    assert only_crops.present() == (1,)
    assert replace(only_crops, crops=None).present() == ()


def test_words_are_found_by_their_phrases_and_not_by_their_names() -> None:
    words = (LessonWord("Tasse", ("mug", "cup")), LessonWord("ball", ("ball",), covered=False))
    lesson = replace(a_lesson(), words=words)
    assert lesson.number_of(("mug", "cup")) == 1 and lesson.number_of(("Tasse",)) is None
    assert lesson.teaches(("mug", "cup")) and not lesson.teaches(("mug",))
    assert lesson.number_of(("ball",)) == 2 and not lesson.teaches(("ball",))


def test_the_digest_of_a_set_ignores_its_order_and_sees_weights() -> None:
    first, second = "aa" * 32, "bb" * 32
    assert set_digest({}) == ""
    assert set_digest({first: 1.0, second: 0.5}) == set_digest({second: 0.5, first: 1})
    assert len({set_digest(each) for each in ({first: 1.0}, {first: 0.5}, {second: 1.0})}) == 3


def test_numbers_of_words_are_plain_integers() -> None:
    assert all(type(number) is int for number in a_lesson().present()) and np.int32(1) in a_lesson().present()
