"""The drawn world as a dataset."""

from pathlib import Path

import numpy as np
import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.datasets.drawn import CHOOSING, CROWDED, USUAL
from ovdiff.tinyworld.world import render, sample_scene


@pytest.fixture(scope="module")
def usual() -> Dataset:
    return USUAL.open(Path())


def test_images_are_scenes_of_the_test_split(usual: Dataset) -> None:
    assert usual.images[:2] == ("test-0", "test-1")
    assert len(usual.images) == USUAL.image_count
    drawn = render(sample_scene(1, "test"), 256)
    np.testing.assert_array_equal(usual.read("test-1").image, drawn.image)


def test_settings_are_chosen_on_other_scenes_than_figures_are_reported_on(usual: Dataset) -> None:
    assert set(CHOOSING.open(Path()).images).isdisjoint(usual.images)
    assert set(CROWDED.open(Path()).images).isdisjoint(usual.images)


def test_labels_segments_and_objects_say_the_same(usual: Dataset) -> None:
    truth = usual.read("test-3").truth
    assert truth.segments is not None
    assert truth.objects
    np.testing.assert_array_equal(truth.segments.label_map(), truth.label_map)
    for each in truth.objects:
        assert usual.vocabulary.categories[each.label - 1].kind == "thing"
        assert set(truth.label_map[each.mask]) == {each.label}
    things = {label for label in truth.segments.categories if usual.vocabulary.categories[label - 1].kind == "thing"}
    assert things == {each.label for each in truth.objects}


@pytest.mark.parametrize("name", ["train-1", "test", "test-x", ""])
def test_what_is_no_scene_is_refused(usual: Dataset, name: str) -> None:
    with pytest.raises(DatasetError, match="expected a name such as test-0"):
        usual.read(name)
