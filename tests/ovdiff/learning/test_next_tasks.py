"""Pure: which of some scored tasks come first, and why."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ovdiff.learning.next_tasks import FoundWord, Rivals, TaskScore, choose, reasons


def task(
    angle: float | None = None,
    *words: str,
    score: float = 0.8,
    lessons: int = 0,
    doubt: float = 0.0,
    unlike: float = 0.2,
    seen: float = 0.0,
) -> TaskScore:
    """Return a task that shows some words; ``angle`` is that of its vector, in radians."""
    found = tuple(FoundWord(name, 0.1, score, lessons) for name in words)
    vector = None if angle is None else np.array([np.cos(angle), np.sin(angle)], np.float32)
    return TaskScore(found, (), doubt, unlike, seen, vector)


def order(*tasks: TaskScore, count: int | None = None) -> list[int]:
    return [each.index for each in choose(tasks, count)]


@pytest.mark.parametrize(
    ("behind", "ahead"),
    [
        (task(0), task(3, doubt=0.5)),  # doubted
        (task(0, "mug", lessons=3), task(3, "ball")),  # nobody has confirmed it
        (task(0, "mug"), task(3, "ball", "cup")),  # more to learn
        (task(0, unlike=0.1), task(3, unlike=0.3)),  # unlike every prototype
        (task(0, seen=0.9), task(3, seen=0.1)),  # unlike the taught images
    ],
)
@pytest.mark.parametrize("with_vectors", [True, False])
def test_a_task_that_teaches_more_comes_first(behind: TaskScore, ahead: TaskScore, with_vectors: bool) -> None:
    if not with_vectors:
        behind, ahead = replace(behind, embedding=None), replace(ahead, embedding=None)
    assert order(behind, ahead) == [1, 0]
    assert order(ahead, behind) == [0, 1]


def test_the_first_tasks_are_not_all_of_a_kind() -> None:
    crowd = [task(0.01 * number, doubt=0.4) for number in range(5)]
    assert order(*crowd, task(3), count=2)[1] == 5


def test_the_first_task_is_like_many_others() -> None:
    assert order(task(3), task(0.5), task(0), task(-0.5))[0] == 2


def test_a_word_that_a_chosen_task_shows_is_needed_less() -> None:
    apart = [task(0, "mug", "cup", doubt=0.9), task(2.1, "mug", "cup"), task(-2.1, "snow", "sky")]
    assert order(*apart) == [0, 2, 1]
    assert order(apart[0], apart[2], apart[1]) == [0, 1, 2]


def test_the_value_is_that_of_the_formula() -> None:
    first, second = choose([task(0, "mug", lessons=1, doubt=0.75), task(np.pi / 2, unlike=0.1, seen=0.25)])
    needs = 1 * 0.2 * 1.5**0.5, 0.5 * 0.1
    assert (first.index, second.index) == (0, 1)
    assert first.value == pytest.approx((needs[0] + needs[1] * 0.25) / 2)
    assert second.value == pytest.approx(needs[1] * 0.5 / 2)


def test_every_task_is_chosen_once() -> None:
    tasks = [task(None), task(0, "mug"), task(None), task(0, "ball", seen=1.0)]
    assert sorted(order(*tasks)) == [0, 1, 2, 3]
    assert len(choose(tasks, 2)) == 2 and len(choose(tasks, 9)) == 4
    assert choose([]) == [] and choose(tasks, 0) == []


def test_of_equal_tasks_the_first_comes_first() -> None:
    assert order(task(0), task(0), task(0)) == [0, 1, 2]


def test_of_very_many_candidates_some_stand_for_all() -> None:
    many = [task(0.001 * number, unlike=0.9 if number == 1500 else 0.2) for number in range(1501)]
    found = order(*many, count=3)
    assert len(set(found)) == 3 and all(abs(a - b) > 100 for a, b in pairwise(found))


def test_the_reasons_are_words() -> None:
    close = Rivals(("mug", "ball"), 0.2), Rivals(("mug", "sky"), 0.001)
    unsure = replace(task(0, "mug", "snow", lessons=2), rivals=close)
    assert reasons(unsure) == ("unsure of mug/ball",)
    mixed = replace(unsure, words=(FoundWord("mug", 0.1, 0.3, 1), FoundWord("snow", 0.1, 0.4, 0)))
    assert reasons(mixed) == ("unsure of mug/ball, snow", "nobody has confirmed snow")
    assert reasons(task()) == ("nothing was found",)
    assert reasons(task(0, "mug", lessons=1)) == ()
