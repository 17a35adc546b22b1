"""Pure: which of some scored tasks come first, and why."""

from dataclasses import replace

import numpy as np
import pytest

from ovdiff.learning.next_tasks import FoundWord, NextTask, Rivals, TaskScore, choose, reasons


def task(
    *words: str, score: float = 0.8, lessons: int = 0, unlike: float = 0.2, seen: float = -1.0, angle: float | None = None
) -> TaskScore:
    """Return a task that shows some words; ``angle`` is that of its vector, in radians."""
    found = tuple(FoundWord(name, 0.1, score, lessons) for name in words)
    vector = None if angle is None else np.array([np.cos(angle), np.sin(angle)], np.float32)
    return TaskScore(found, (), unlike, seen, vector)


def order(*tasks: TaskScore, count: int | None = None) -> list[int]:
    return [each.index for each in choose(tasks, count)]


@pytest.mark.parametrize(
    ("behind", "ahead"),
    [
        (task("mug", score=0.9), task("mug", score=0.2)),  # doubted
        (task("mug", lessons=3), task("ball")),  # nobody has confirmed it
        (task("mug"), task("mug", "ball")),  # more to learn
        (task("mug", unlike=0.1), task("mug", unlike=0.3)),  # unlike every prototype
        (task("mug", seen=0.9, angle=0), task("mug", seen=-0.5, angle=0)),  # unlike the taught images
    ],
)
def test_a_task_that_teaches_more_comes_first(behind: TaskScore, ahead: TaskScore) -> None:
    assert order(behind, ahead) == [1, 0]
    assert order(ahead, behind) == [0, 1]


def test_the_first_tasks_are_not_all_of_a_kind() -> None:
    crowd = [task("mug", score=0.5) for _ in range(5)]
    assert order(*crowd, task("snow"), count=2) == [0, 5]


def test_an_image_that_looks_like_a_chosen_one_comes_later() -> None:
    assert order(task("mug", angle=0), task("mug", angle=0.1), task("mug", angle=3)) == [0, 2, 1]


def test_a_task_without_a_vector_is_chosen_beside_those_that_have_one() -> None:
    assert order(task("mug", angle=0), task("mug"), task("mug", angle=0.1)) == [0, 1, 2]


def test_the_value_is_that_of_the_formula() -> None:
    first, second = choose([task("mug", score=0.5, lessons=1, unlike=0.2), task("mug", score=0.5, lessons=1, unlike=0.1)])
    assert first == NextTask(0, pytest.approx(0.2 * 1.5 / 2))
    assert second == NextTask(1, pytest.approx(0.1 * 1.5 / 3))


def test_every_task_is_chosen_once_also_those_without_a_word() -> None:
    tasks = [task(), task("mug"), task(), task("ball", seen=1.0)]
    assert sorted(order(*tasks)) == [0, 1, 2, 3] and order(*tasks)[0] == 1
    assert len(choose(tasks, 2)) == 2 and len(choose(tasks, 9)) == 4
    assert choose([]) == [] and choose(tasks, 0) == []


def test_of_equal_tasks_the_first_comes_first() -> None:
    assert order(task("mug"), task("ball"), task("cup")) == [0, 1, 2]


def test_the_reasons_are_words() -> None:
    unsure = replace(task("mug", "snow", lessons=2), rivals=(Rivals(("mug", "ball"), 0.2), Rivals(("mug", "sky"), 0.001)))
    assert reasons(unsure) == ("unsure of mug/ball",)
    mixed = replace(unsure, words=(FoundWord("mug", 0.1, 0.3, 1), FoundWord("snow", 0.1, 0.4, 0)))
    assert reasons(mixed) == ("unsure of mug/ball, snow", "nobody has confirmed snow")
    assert reasons(task()) == ("nothing was found",)
    assert reasons(task("mug", lessons=1)) == ()
