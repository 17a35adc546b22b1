"""Lessons that are made up; tests/ovdiff/learning/test_lessons_count.py takes real ones through the engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ovdiff.bank.lessons import Lesson, LessonRows, LessonWord
from ovdiff.bank.prototypes import Prototypes
from ovdiff.presets.segmenting_settings import LessonSettings
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.discriminant import Discriminant
from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.lessons import Groups, LessonModel, Report, Words, _cells, _fit_space, _image, with_lessons
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.origins import stored_origins
from ovdiff.segmenting.segmenter import PrototypeTable
from ovdiff.segmenting.windows import Window
from ovdiff.vocabulary import Vocabulary

WORDS = Vocabulary(["mug", "sky", "car", "sea"])
STUFF = frozenset({1, 3})
PHRASES = [(name,) for name in WORDS.names]
GROUPS = Groups.of(Competition(WORDS, 3), STUFF, PHRASES, [])  # "sea" is an anchor


def test_background_things_and_each_kind_of_stuff_are_groups() -> None:
    assert GROUPS.of_label.tolist() == [0, 1, 2, 1, 3] and GROUPS.count == GROUPS.total == 4


def test_words_that_lessons_know_and_nobody_asks_for_are_groups_of_the_background() -> None:
    lessons = [_lesson(0, 8, names=("mug", "tree", "car", "ant")), _lesson(1, 8, covered=False, names=("mug", "oak"))]
    groups = Groups.of(Competition(WORDS, 3), STUFF, PHRASES, lessons)
    assert groups.behind == {("ant",): 4, ("tree",): 5} and groups.total == 6  # nobody looked for oaks
    shares = torch.tensor([-5.0, -1.0, -2.0, -3.0, -4.0, -0.5])
    assert groups.best(shares).tolist() == [-0.5, -1, -2, -3]
    assert groups.merged(torch.tensor([0, 1, 4, 5])).tolist() == [0, 1, 0, 0]


def _table(depth: int) -> PrototypeTable:
    """Prototypes along the axes: the mug's, the sky's, the car's and the anchor's."""
    classes = np.arange(4)
    side = Prototypes(np.eye(4, depth, dtype=np.float32), np.zeros(4, np.uint8), np.full(4, -1, np.int32))
    return PrototypeTable(torch.eye(4, depth), classes, classes, stored_origins(side, ("class",)))


def _lesson(seed: int, depth: int, turn: int = 0, covered: bool = True, names: tuple[str, ...] = WORDS.names) -> Lesson:
    """A lesson whose cells lie near axes 4 to 7: axis 4 + n is background and the words n; ``turn`` mixes them up."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 6).astype(np.int32)
    vectors = np.eye(depth)[4 + (labels + turn) % 4] + 0.02 * random.normal(size=(24, depth))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = LessonRows(vectors.astype(np.float32), labels, labels, np.ones(24, np.float32))
    words = tuple(LessonWord(name, (name,), covered or name == "mug") for name in names)
    return Lesson("0" * 64, "r", "i", words, True, {"made up": rows})


def _fit(lessons: list[Lesson], depth: int) -> tuple[Discriminant, Report]:
    found = _fit_space("made up", lessons, Words(PHRASES, 3), _table(depth), GROUPS, LessonSettings(), 0.1)
    assert found is not None
    return found


@pytest.mark.parametrize("depth", [8, 1100])  # the longer ones are projected
def test_lessons_that_agree_are_used(depth: int) -> None:
    discriminant, report = _fit([_lesson(seed, depth) for seed in range(4)], depth)
    assert report.used and report.after > 0.9 > report.before and discriminant.temperature > 0
    assert discriminant.directions.shape == (depth, 4)
    decided = discriminant.log_shares(torch.eye(4, depth).roll(4, dims=1)).argmax(dim=1)
    assert decided.tolist() == [0, 1, 2, 1]


def test_lessons_that_contradict_each_other_are_not_used() -> None:
    _, report = _fit([_lesson(seed, 8, turn=seed) for seed in range(4)], 8)
    assert not report.used


def test_cells_without_a_label_show_background_only_if_the_annotation_speaks_of_every_asked_word() -> None:
    words = Words(PHRASES, 3)
    whole = _cells(_lesson(0, 8), "made up", words, GROUPS)
    part = _cells(_lesson(0, 8, covered=False), "made up", words, GROUPS)
    later = _cells(_lesson(0, 8), "made up", Words([*PHRASES[:3], ("boat",)], 4), GROUPS)
    anchor = _cells(_lesson(0, 8), "made up", Words([*PHRASES[:3], ("boat",)], 3), GROUPS)
    assert whole is not None and part is not None and later is not None and anchor is not None
    assert len(whole.groups) == len(anchor.groups) == 24 and len(part.groups) == len(later.groups) == 18
    assert _cells(_lesson(0, 8), "another", words, GROUPS) is None


def test_the_cells_of_a_reworded_label_do_not_teach_that_the_new_word_is_background() -> None:
    found = _cells(_lesson(0, 8), "made up", Words([("mug",), ("sky",), ("automobile",)], 3), GROUPS)
    assert found is not None and len(found.groups) == 12  # those of mug and sky


def test_a_word_that_does_not_compete_is_a_group_of_the_background() -> None:
    lesson = _lesson(0, 8, names=("mug", "tree", "car"))
    competition, phrases = Competition(Vocabulary(["mug", "car"]), 2), [("mug",), ("car",)]
    groups = Groups.of(competition, frozenset({1}), phrases, [lesson])  # "car" is stuff here
    found = _cells(lesson, "made up", Words(phrases, 2), groups)
    assert found is not None and groups.count == 3
    assert found.groups.tolist() == [0] * 6 + [1] * 6 + [3] * 6 + [2] * 6
    assert found.weights.sum().item() == pytest.approx(4.0)


def _model(**changes: object) -> LessonModel:
    directions = torch.tensor([[20.0, 0, 0, 0], [0, 20.0, 0, 0]])  # axis 0 is background, axis 1 things
    discriminant = Discriminant(directions, torch.zeros(4), torch.tensor([True, True, False, False]))
    model = LessonModel(GROUPS, {"made up": discriminant}, 0.1, {}, 3)
    return replace(model, **changes)


def _encoded() -> EncodedImage:
    """Two cells side by side: the left one is background, the right one a thing."""
    features = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])[None]
    working = np.zeros((2, 4, 3), np.uint8)
    return EncodedImage((2, 4), working, {"made up": (WindowFeatures((Window(0, 0, 2, 4, 1),), features),)}, None)


def test_taught_groups_compete_and_the_others_keep_their_chances() -> None:
    scores = torch.tensor([0.5, 0.4, 0.45, 0.3])[:, None, None].repeat(1, 2, 4)  # background, mug, sky, car
    maps = ScoreMaps(scores, (0, 1, 2, 3))
    found = with_lessons(_encoded(), maps, _model(), torch.device("cpu"))
    assert found.labels == maps.labels
    assert found.scores.argmax(dim=0)[0].tolist() == [0, 0, 1, 1]  # the thing with the better votes wins on the right
    torch.testing.assert_close(found.scores[2], scores[2])  # nobody taught sky
    torch.testing.assert_close(found.scores[[0, 1, 3]].amax(dim=0), torch.full((2, 4), 0.5))
    torch.testing.assert_close(found.scores[1] - found.scores[3], torch.full((2, 4), 0.1))


def test_without_two_taught_groups_or_without_a_discriminant_nothing_changes() -> None:
    maps = ScoreMaps(torch.rand(2, 2, 4), (1, 3))  # two things
    assert with_lessons(_encoded(), maps, _model(), torch.device("cpu")) is maps
    assert with_lessons(_encoded(), maps, _model(discriminants={}), torch.device("cpu")) is maps


def test_what_annotated_images_hold_is_learned_for_asked_things_alone() -> None:
    lesson = _lesson(0, 8)
    seen = replace(lesson, embedding=np.eye(4, dtype=np.float32)[0])
    found = _image(seen, [("mug",), ("boat",), ("car",)])
    assert found is not None and found.groups.tolist() == [0, 2] and found.weights.tolist() == [0.5, 0.5]
    assert _image(lesson, [("mug",)]) is None and _image(seen, [("boat",)]) is None
