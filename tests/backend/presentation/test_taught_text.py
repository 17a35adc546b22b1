"""What lessons say, in lines; the picture has them too."""

from dataclasses import replace

import numpy as np
import pytest

from backend.command.explanation_text import explanation_text
from backend.presentation.explanation_picture import draw_explanation
from backend.presentation.taught_text import taught_lines
from ovdiff.bank.lessons import LessonSource
from tests.fakes.explanations import explanation, taught


def test_each_line_has_its_figures() -> None:
    found = replace(explanation(), taught=taught())
    expected = [
        "3 lessons say: things 97%, background 3%. "
        "Of two groups the one whose share is 2.7 times the other's gains 0.086.",
        "  by clip: things 97%, background 3%",
        "  by sd: not used. "
        "Of left-out annotated images 80.0% of the cells are right without lessons, and 70.0% with them.",
        "Most alike: boat in task 12 (annotation 4, project 1, harbour.png) by ann, cosine 0.93; "
        "ship in an image without a name, cosine 0.80.",
        "Without annotated crops CLIP would have seen boat 60%, fox 30% in this part.",
    ]  # fmt: skip
    assert taught_lines(found) == expected
    text = explanation_text(found).splitlines()
    assert [line for line in text if line in expected] == expected


def test_without_lessons_there_is_no_line_and_the_picture_is_lower() -> None:
    assert taught_lines(explanation()) == []
    image = np.zeros((10, 20, 3), np.uint8)
    plain = draw_explanation(image, explanation(), "x")
    assert draw_explanation(image, replace(explanation(), taught=taught()), "x").height >= plain.height + 5 * 16


def test_one_extractor_is_not_told_twice_and_lessons_that_say_nothing_say_why() -> None:
    alone = replace(taught(), lessons=1, extractors=taught().extractors[:1], alike=(), part_without=None)
    (line,) = taught_lines(replace(explanation(), taught=alone))
    assert line.startswith("1 lesson says: things 97%, background 3%.")
    groups = tuple(replace(group, competes=False) for group in taught().groups)
    nothing = taught_lines(replace(explanation(), taught=replace(alone, groups=groups)))
    assert nothing == ["1 lesson says nothing here: two groups that compete are not both known from annotations."]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (LessonSource(image="a.png"), "a.png"),
        (LessonSource(task="7"), "task 7"),
        (LessonSource(person="ann"), "an image without a name by ann"),
    ],
)
def test_a_source_is_named_as_far_as_it_is_known(source: LessonSource, place: str) -> None:
    alike = replace(taught().alike[0], source=source)
    lines = taught_lines(replace(explanation(), taught=replace(taught(), alike=(alike,))))
    assert f"Most alike: boat in {place}, cosine 0.93." in lines
