"""Explanations tell what lessons say at a place: it adds up to the scores, and names annotated cells and crops."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovdiff.bank import Bank
from ovdiff.bank.lessons import Lesson, LessonRows, LessonSource, LessonWord
from ovdiff.engine import Engine
from ovdiff.explaining.explanation import Explanation
from ovdiff.explaining.lessons import alike_lessons, part_without, taught_at
from ovdiff.explaining.places import pixel_weights, place_mask
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.lessons.discriminant import Discriminant, LearnedViews
from ovdiff.segmenting.lessons.examples import Groups, Words
from ovdiff.segmenting.lessons.model import LessonModel, Report
from ovdiff.segmenting.part_check import redecide
from ovdiff.segmenting.steps import PART_CHECK
from ovdiff.segmenting.windows import Window
from tests.ovdiff.learning.conftest import WORDS, annotation, scene

pytestmark = pytest.mark.slow  # the embedded models are loaded

WORKING_PX = 128  # an image of this size is its own working image, so that pixels are not mixed


@pytest.fixture(scope="module")
def taught(quick: Preset, built: Path, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with the lessons of a few scenes."""
    folder = tmp_path_factory.mktemp("explained") / "bank"
    shutil.copytree(built, folder)
    engine = Engine(quick, Bank(folder), models=models)
    for number in range(6):
        drawn = scene(number)
        if any(drawn.mask(name).any() for name in WORDS.names):
            engine.learn(drawn.image, annotation(drawn), LessonSource(task=str(number), person="ann"))
    return engine


def _after(found: Explanation) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores that follow from what is told, and those of the stage."""
    assert found.taught is not None
    group_of = {word: group for group in found.taught.groups for word in group.words}
    groups = [group_of[rival.name] for rival in found.rivals]
    rows = [row for row, group in enumerate(groups) if group.competes]
    before, after = (torch.tensor(stage.scores)[:, None, None] for stage in found.stages[:2])
    bonus = torch.tensor([found.taught.weight * groups[row].log_share for row in rows])[:, None, None]
    return redecide(before, rows, bonus, 1.0), after


def test_what_lessons_say_at_random_places_adds_up_to_the_scores_after_them(taught: Engine) -> None:
    encoded = taught.encode(scene(20, WORKING_PX).image)
    assert encoded.working.shape[:2] == encoded.size_hw
    for x, y in np.random.default_rng(0).integers(0, WORKING_PX, (5, 2)).tolist():
        found = taught.explain(encoded, WORDS, (x, y))
        assert [stage.name for stage in found.stages[:2]] == ["votes", "lessons"]
        expected, after = _after(found)
        torch.testing.assert_close(expected, after, atol=1e-5, rtol=0)
        assert found.taught is not None
        assert sum(group.share for group in found.taught.groups) == pytest.approx(1)
        used = [each for each in found.taught.extractors if each.used]
        logs = np.mean([np.log(np.maximum(each.shares, 1e-30)) for each in used], axis=0)  # each has the same windows
        shares = np.exp(logs) / np.exp(logs).sum()
        np.testing.assert_allclose([group.share for group in found.taught.groups], shares, atol=1e-3)


def test_an_annotated_image_is_most_like_its_own_lesson(taught: Engine) -> None:
    drawn, card = scene(0), {lesson.source.task for lesson in taught.lessons.cards()}
    task = "0" if "0" in card else min(card)
    drawn = scene(int(task))
    found = taught.explain(taught.encode(drawn.image), WORDS, np.ones(drawn.image.shape[:2], bool)).taught
    assert found is not None and found.lessons == len(card) and len(found.alike) <= 3
    best = found.alike[0]
    assert (best.source.task, best.source.person) == (task, "ann")
    assert best.cosine == pytest.approx(np.mean(list(best.cosines.values())))
    assert best.cosine > found.alike[1].cosine


def test_without_lessons_nothing_is_told(engine: Engine) -> None:
    assert engine.explain(engine.encode(scene(20).image), WORDS, (5, 5)).taught is None


def test_an_extractor_whose_lessons_are_not_used_says_why(taught: Engine) -> None:
    encoded = taught.encode(scene(20).image)
    weights = pixel_weights(place_mask((40, 40), encoded.size_hw), (encoded.working.shape[0], encoded.working.shape[1]))
    with taught._models.lock:
        match = taught._segmenter.match(encoded, WORDS)
        assert match.lessons is not None
        (kept, own), *_ = match.lessons.discriminants.items()
        other, *_ = set(match.tables) - {kept}
        reports = {kept: Report(0.5, 0.75, True), other: Report(0.5, 0.25, False)}
        one = replace(match, lessons=replace(match.lessons, discriminants={kept: own}, reports=reports))
        none = replace(match, lessons=replace(match.lessons, discriminants={}, reports={}))
        found, nothing = (taught_at(taught._segmenter, each, weights, [0, 1, 2, 3, 4]) for each in (one, none))
    assert found is not None and nothing is not None
    by_name = {each.name: each for each in found.extractors}
    assert by_name[kept].used and not by_name[other].used and by_name[other].shares == ()
    assert by_name[other].why_not.endswith("50.0% of the cells are right without lessons, and 25.0% with them.")
    assert by_name[kept].shares == pytest.approx([group.share for group in found.groups])
    assert nothing.favoured() is None and nothing.alike == ()
    assert {each.why_not for each in nothing.extractors} == {"No lesson has cells of it."}


def test_what_crops_taught_is_the_difference_to_a_part_check_without_them(taught: Engine) -> None:
    encoded = taught.encode(scene(20, WORKING_PX).image)
    assert encoded.embedding is not None
    with taught._models.lock:
        match, segmenter = taught._segmenter.match(encoded, WORDS), taught._segmenter
        assert match.lessons is not None
        directions = torch.randn(len(encoded.embedding), 2, generator=torch.Generator().manual_seed(0))
        learned = Discriminant(directions, torch.zeros(2), torch.ones(2, dtype=torch.bool), 3.0)
        views = LearnedViews(learned, {1: 0, 2: 1}, segmenter.parts.preset.part_check.logit_scale)
        told, untold = (replace(match, lessons=replace(match.lessons, crops=each)) for each in (views, None))
        steps = list(segmenter.steps(told))
        checked = [step.name for step in steps].index(PART_CHECK)
        before, seen = steps[checked - 1].maps, steps[checked].parts
        assert seen
        found = [part_without(segmenter, told, before, part) for part in seen]
        expected = list(segmenter.steps(untold))[checked].parts
        assert found == list(expected) and found != list(seen)
        assert part_without(segmenter, untold, before, seen[0]) is None


def _lesson(task: str, rows: list[tuple[list[float], int]], words: tuple[str, ...]) -> Lesson:
    vectors, labels = np.array([row for row, _ in rows], np.float32), np.array([label for _, label in rows], np.int32)
    cells = LessonRows(vectors, labels, labels, np.ones(len(rows), np.float32))
    known = tuple(LessonWord(word, (word,)) for word in words)
    return Lesson("0" * 64, "r", "i", known, True, {"made up": cells}, source=LessonSource(task=task))


def test_cosines_and_words_of_alike_cells_are_those_of_the_favoured_group_alone() -> None:
    """Two cells side by side; the place is a corner of the left one."""
    features = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])[None]
    windows = (WindowFeatures((Window(0, 0, 2, 4, 1),), features),)
    encoded = EncodedImage((2, 4), np.zeros((2, 4, 3), np.uint8), {"made up": windows}, None)
    groups = Groups(np.array([0, 1, 2]), 3)  # background, mug, sky
    discriminant = Discriminant(torch.eye(2, 3), torch.zeros(3), torch.ones(3, dtype=torch.bool))
    model = LessonModel(groups, {"made up": discriminant}, 0.1, {}, 2)
    lessons = [
        _lesson("1", [([0.6, 0.8], 1), ([0.8, 0.6], 1), ([1.0, 0.0], 2)], ("mug", "sky")),
        _lesson("2", [([0.0, 1.0], 2), ([0.96, 0.28], 2), ([1.0, 0.0], 0)], ("fox", "mug")),
        _lesson("3", [([0.6, 0.8], 1), ([0.28, 0.96], 0)], ("fox", "mug", "sky")),
    ]
    words, weights = Words([("mug",), ("sky",)], 2), torch.zeros(2, 4, dtype=torch.float64)
    weights[0, 0] = 1.0

    def found(group: int) -> list[tuple[str, str, float]]:
        alike = alike_lessons(encoded, weights, model, lessons, words, group, torch.device("cpu"))
        return [(each.source.task, each.word, round(each.cosine, 4)) for each in alike]

    assert found(1) == [("2", "mug", 0.96), ("1", "mug", 0.8)]
    assert found(2) == [("1", "sky", 1.0)]
    # Lesson 2 does not speak of sky, so neither its cells without a label nor its fox are background.
    assert found(0) == [("3", "fox", 0.6)]
