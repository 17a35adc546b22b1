from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdiff.bank import Bank
from ovdiff.blast_radius import BACKGROUND, BlastRadius, Change, Side, compare, predict_both
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

BOAT, WATER = Category("boat"), Category("water")


def _found(rows: Sequence[Sequence[int]]) -> Segmentation:
    labels = np.array(rows, dtype=np.int32)
    return Segmentation(labels, np.zeros(labels.shape, np.float32), np.zeros(labels.shape, np.float32))


def test_labels_are_compared_by_their_names() -> None:
    before, after = _found([[0, 1, 2], [1, 1, 2]]), _found([[0, 2, 1], [0, 3, 1]])
    change = compare(before, after, (["boat", "water"], ["water", "boat", "dock"]))
    assert change == Change(6, {("boat", BACKGROUND): 1, ("boat", "dock"): 1})
    assert change.changed == 2 and change.share == pytest.approx(2 / 6)


def test_segmentations_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
        compare(_found([[0, 0]]), _found([[0, 0, 0]]), (["boat"], ["boat"]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_moves_add_up_to_the_pixels_that_differ(pairs: list[tuple[int, int]]) -> None:
    names = (["a", "b", "c"], ["c", "a"])
    change = compare(_found([[one for one, _ in pairs]]), _found([[other for _, other in pairs]]), names)
    named = [([BACKGROUND, *names[0]][one], [BACKGROUND, *names[1]][other]) for one, other in pairs]
    assert change.changed == sum(one != other for one, other in named)
    assert all(named.count(move) == count and move[0] != move[1] for move, count in change.moved.items())


def test_the_images_that_change_most_come_first_and_equal_ones_by_name() -> None:
    radius = BlastRadius()
    radius.add("same.png", Change(100, {}))
    radius.add("b.png", Change(100, {("boat", "dock"): 5, (BACKGROUND, "dock"): 5}))
    radius.add("a.png", Change(50, {("boat", "dock"): 5}))
    radius.add("large.png", Change(100, {("boat", BACKGROUND): 90}))
    assert (radius.images, len(radius.changes), radius.changed, radius.pixels) == (4, 3, 105, 350)
    assert [name for name, _ in radius.most_changed()] == ["large.png", "a.png", "b.png"]
    assert radius.moves()[:2] == [(("boat", BACKGROUND), 90, 1), (("boat", "dock"), 10, 2)]
    assert radius.larger_than(0.1) == 1
    said = radius.to_json()
    assert said["moved"][0] == {"before": "boat", "after": None, "pixels": 90, "images": 1}
    assert said["most_changed"][1]["image"] == "a.png" and said["images_changed"] == 3


@pytest.fixture(scope="module")
def engine(preset: Preset, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine(preset, Bank(tmp_path_factory.mktemp("bank")), models=models)
    for category in (BOAT, WATER):
        engine.build(category)
    return engine


def test_one_encoding_serves_both_sides_also_across_engines(
    engine: Engine, image: np.ndarray, encoded_images: list[Any]
) -> None:
    """The caches are off, so that a second encoding would be counted."""
    cache = replace(engine.preset.cache, features_mib=0, disk_mib=0)
    preset = replace(engine.preset, cache=cache)
    first = Engine(preset, engine.bank, models=engine._models)
    other = first.beside(replace(preset, refine=replace(preset.refine, pamr=True)), engine.bank)
    words = Vocabulary((BOAT, WATER))
    before, after = predict_both(Side(first, Vocabulary((BOAT,))), Side(other, words), image)
    assert len(encoded_images) == 1
    np.testing.assert_array_equal(before.label_map, engine.segment(image, Vocabulary((BOAT,))).label_map)
    np.testing.assert_array_equal(after.label_map, other.segment(image, words).label_map)


def test_a_change_of_the_windows_encodes_the_image_for_each_side(
    engine: Engine, image: np.ndarray, encoded_images: list[Any]
) -> None:
    cache = replace(engine.preset.cache, features_mib=0, disk_mib=0)
    preset = replace(engine.preset, cache=cache)
    first, words = Engine(preset, engine.bank, models=engine._models), Vocabulary((BOAT, WATER))
    other = first.beside(replace(preset, windows=replace(preset.windows, crops_px=())), engine.bank)
    _, after = predict_both(Side(first, words), Side(other, words), image)
    assert len(encoded_images) == 2
    np.testing.assert_array_equal(after.label_map, other.segment(image, words).label_map)


def test_an_engine_beside_another_loads_no_model_again(engine: Engine) -> None:
    other = engine.beside(engine.preset, engine.bank)
    assert other is not engine and other._models is engine._models
