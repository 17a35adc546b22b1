import numpy as np
import pytest

from benchmarks.instance_scenes import SCENE_PX, TrueScene, crowd, true_scenes
from ovdiff.tinyworld.world import STUFF, THINGS


@pytest.fixture(scope="module")
def scenes() -> list[TrueScene]:
    return list(true_scenes(70_000, 8, "test"))


def test_a_number_is_a_scene_and_another_split_another_one() -> None:
    assert crowd(70_000, "test") == crowd(70_000, "test")
    assert crowd(70_000, "test").things != crowd(70_000, "thresholds").things != crowd(70_001, "thresholds").things


def test_every_pixel_has_one_segment_at_most_and_every_segment_pixels(scenes: list[TrueScene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (SCENE_PX, SCENE_PX, 3) and scene.ids.shape == (SCENE_PX, SCENE_PX)
        assert np.unique(scene.ids[scene.ids > 0]).tolist() == list(range(1, len(scene.names) + 1))
        assert set(scene.names) <= {*THINGS, *STUFF}
        stuff = [name for name in scene.names if name in STUFF]
        assert len(set(stuff)) == len(stuff)


def test_scenes_have_several_things_of_a_kind_of_which_some_touch(scenes: list[TrueScene]) -> None:
    pairs, touching = np.sum([scene.pairs() for scene in scenes], axis=0)
    assert pairs > len(scenes)
    assert 0.2 < touching / pairs < 0.8
    assert sum(len({name for name in scene.names if name in THINGS}) == 2 for scene in scenes) >= 2


def test_pairs_are_of_one_kind_and_touch_at_an_edge() -> None:
    ids = np.array([[1, 1, 2, 0, 3, 4]], dtype=np.int32)
    image = np.zeros((1, 6, 3), dtype=np.uint8)
    assert TrueScene(image, ids, ("boat", "boat", "boat", "fish")).pairs() == (3, 1)
    assert TrueScene(image, ids, ("sky", "sky", "boat", "fish")).pairs() == (0, 0)
