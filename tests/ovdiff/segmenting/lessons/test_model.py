"""Made-up lessons become models; tests/ovdiff/learning/test_lessons_count.py takes real ones through the engine."""

import numpy as np
import pytest
import torch

from ovdiff.bank.lessons import Lesson
from ovdiff.bank.prototypes import Prototypes
from ovdiff.presets.segmenting_settings import LessonSettings
from ovdiff.segmenting.lessons.discriminant import Discriminant
from ovdiff.segmenting.lessons.examples import Words
from ovdiff.segmenting.lessons.model import Report, _fit_space
from ovdiff.segmenting.origins import stored_origins
from ovdiff.segmenting.segmenter import PrototypeTable
from tests.ovdiff.segmenting.lessons.conftest import GROUPS, PHRASES, made_up_lesson


def _table(depth: int) -> PrototypeTable:
    """Prototypes along the axes: the mug's, the sky's, the car's and the anchor's."""
    classes = np.arange(4)
    side = Prototypes(np.eye(4, depth, dtype=np.float32), np.zeros(4, np.uint8), np.full(4, -1, np.int32))
    return PrototypeTable(torch.eye(4, depth), classes, classes, stored_origins(side, ("class",)))


def _fit(lessons: list[Lesson], depth: int) -> tuple[Discriminant, Report]:
    found = _fit_space("made up", lessons, Words(PHRASES, 3), _table(depth), GROUPS, LessonSettings(), 0.1)
    assert found is not None
    return found


@pytest.mark.parametrize("depth", [8, 1100])  # the longer ones are projected
def test_lessons_that_agree_are_used(depth: int) -> None:
    discriminant, report = _fit([made_up_lesson(seed, depth) for seed in range(4)], depth)
    assert report.used and report.after > 0.9 > report.before and discriminant.temperature > 0
    assert discriminant.directions.shape == (depth, 4)
    decided = discriminant.log_shares(torch.eye(4, depth).roll(4, dims=1)).argmax(dim=1)
    assert decided.tolist() == [0, 1, 2, 1]


def test_lessons_that_contradict_each_other_are_not_used() -> None:
    _, report = _fit([made_up_lesson(seed, 8, turn=seed) for seed in range(4)], 8)
    assert not report.used
