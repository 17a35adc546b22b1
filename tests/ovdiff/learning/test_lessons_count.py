"""Lessons change masks: through the engine, on drawn scenes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.tinyworld.world import Rendering
from ovdiff.vocabulary import Vocabulary
from tests.ovdiff.learning.conftest import WORDS, annotation, scene

pytestmark = pytest.mark.slow  # the embedded models are loaded

TAUGHT, OTHERS = range(12), range(20, 28)


@pytest.fixture(scope="module")
def taught(quick: Preset, built: Path, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with the lessons of twelve scenes."""
    folder = tmp_path_factory.mktemp("taught") / "bank"
    shutil.copytree(built, folder)
    engine = Engine(quick, Bank(folder), models=models)
    for number in TAUGHT:
        drawn = scene(number)
        if any(drawn.mask(name).any() for name in WORDS.names):
            engine.learn(drawn.image, annotation(drawn))
    return engine


def _right(drawn: Rendering, encoded: EncodedImage, engine: Engine) -> float:
    truth = np.zeros(drawn.image.shape[:2], np.int32)
    for label, name in enumerate(WORDS.names, start=1):
        truth[drawn.mask(name)] = label
    return float((engine.label(encoded, WORDS).label_map == truth).mean())


def test_other_images_are_labelled_better(taught: Engine, engine: Engine) -> None:
    with_lessons, without = list[float](), list[float]()
    for drawn in map(scene, OTHERS):
        encoded = engine.encode(drawn.image)  # lessons change no encoding
        with_lessons.append(_right(drawn, encoded, taught))
        without.append(_right(drawn, encoded, engine))
    assert np.mean(with_lessons) > np.mean(without) + 0.05


def test_a_preset_that_does_not_want_lessons_has_the_masks_without(
    taught: Engine, engine: Engine, quick: Preset, models: LoadedModels
) -> None:
    unwilling = Engine(
        replace(quick, lessons=replace(quick.lessons, enabled=False)), Bank(taught.bank.folder), models=models
    )
    image = scene(OTHERS[0]).image
    without, found = engine.segment(image, WORDS), unwilling.segment(image, WORDS)
    assert found.label_map.tobytes() == without.label_map.tobytes()
    assert taught.segment(image, WORDS).label_map.tobytes() != without.label_map.tobytes()


def test_labels_in_another_order_are_taught_the_same(taught: Engine) -> None:
    image = scene(OTHERS[0]).image
    first = taught.segment(image, WORDS)
    second = taught.segment(image, Vocabulary(WORDS.categories[::-1]))
    for index in range(len(WORDS.names)):
        same = first.mask(index) == second.mask(len(WORDS.names) - 1 - index)
        assert same.all()


def test_lessons_that_are_switched_off_one_by_one_leave_nothing(taught: Engine, engine: Engine) -> None:
    image = scene(OTHERS[1]).image
    addresses = taught.lessons.addresses()
    for address in addresses:
        taught.lessons.change(address, on=False)
    assert taught.segment(image, WORDS).label_map.tobytes() == engine.segment(image, WORDS).label_map.tobytes()
    for address in addresses:
        taught.lessons.change(address, on=True)
    assert taught.segment(image, WORDS).label_map.tobytes() != engine.segment(image, WORDS).label_map.tobytes()


def test_a_lesson_is_taken_without_what_earlier_ones_say(taught: Engine, engine: Engine) -> None:
    drawn = next(each for each in map(scene, OTHERS) if any(each.mask(name).any() for name in WORDS.names))
    said = annotation(drawn)
    late, first = taught.learn(drawn.image, said), engine.learn(drawn.image, said)
    for name, rows in first.spaces.items():
        np.testing.assert_array_equal(rows.predicted, late.spaces[name].predicted)
    taught.lessons.remove(late.address)
