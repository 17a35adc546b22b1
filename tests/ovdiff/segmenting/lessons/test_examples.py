from dataclasses import replace

import numpy as np
import pytest
import torch

from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.lessons.examples import Groups, Words, cell_examples, image_examples
from ovdiff.vocabulary import Vocabulary
from tests.ovdiff.segmenting.lessons.conftest import GROUPS, PHRASES, STUFF, WORDS, made_up_lesson


def test_background_things_and_each_kind_of_stuff_are_groups() -> None:
    assert GROUPS.of_label.tolist() == [0, 1, 2, 1, 3] and GROUPS.count == GROUPS.total == 4


def test_words_that_lessons_know_and_nobody_asks_for_are_groups_of_the_background() -> None:
    lessons = [
        made_up_lesson(0, 8, names=("mug", "tree", "car", "ant")),
        made_up_lesson(1, 8, covered=False, names=("mug", "oak")),
    ]
    groups = Groups.of(Competition(WORDS, 3), STUFF, PHRASES, lessons)
    assert groups.behind == {("ant",): 4, ("tree",): 5} and groups.total == 6  # nobody looked for oaks
    shares = torch.tensor([-5.0, -1.0, -2.0, -3.0, -4.0, -0.5])
    assert groups.best(shares).tolist() == [-0.5, -1, -2, -3]
    assert groups.merged(torch.tensor([0, 1, 4, 5])).tolist() == [0, 1, 0, 0]


def test_cells_without_a_label_show_background_only_if_the_annotation_speaks_of_every_asked_word() -> None:
    words = Words(PHRASES, 3)
    whole = cell_examples(made_up_lesson(0, 8), "made up", words, GROUPS)
    part = cell_examples(made_up_lesson(0, 8, covered=False), "made up", words, GROUPS)
    later = cell_examples(made_up_lesson(0, 8), "made up", Words([*PHRASES[:3], ("boat",)], 4), GROUPS)
    anchor = cell_examples(made_up_lesson(0, 8), "made up", Words([*PHRASES[:3], ("boat",)], 3), GROUPS)
    assert whole is not None and part is not None and later is not None and anchor is not None
    assert len(whole.groups) == len(anchor.groups) == 24 and len(part.groups) == len(later.groups) == 18
    assert cell_examples(made_up_lesson(0, 8), "another", words, GROUPS) is None


def test_the_cells_of_a_reworded_label_do_not_teach_that_the_new_word_is_background() -> None:
    found = cell_examples(made_up_lesson(0, 8), "made up", Words([("mug",), ("sky",), ("automobile",)], 3), GROUPS)
    assert found is not None and len(found.groups) == 12  # those of mug and sky


def test_a_word_that_does_not_compete_is_a_group_of_the_background() -> None:
    lesson = made_up_lesson(0, 8, names=("mug", "tree", "car"))
    competition, phrases = Competition(Vocabulary(["mug", "car"]), 2), [("mug",), ("car",)]
    groups = Groups.of(competition, frozenset({1}), phrases, [lesson])  # "car" is stuff here
    found = cell_examples(lesson, "made up", Words(phrases, 2), groups)
    assert found is not None and groups.count == 3
    assert found.groups.tolist() == [0] * 6 + [1] * 6 + [3] * 6 + [2] * 6
    assert found.weights.sum().item() == pytest.approx(4.0)


def test_what_annotated_images_hold_is_learned_for_asked_things_alone() -> None:
    lesson = made_up_lesson(0, 8)
    seen = replace(lesson, embedding=np.eye(4, dtype=np.float32)[0])
    found = image_examples(seen, [("mug",), ("boat",), ("car",)])
    assert found is not None and found.groups.tolist() == [0, 2] and found.weights.tolist() == [0.5, 0.5]
    assert image_examples(lesson, [("mug",)]) is None and image_examples(seen, [("boat",)]) is None
