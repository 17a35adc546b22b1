"""What two judges say about support images; the training of the second judge is tested beside its module."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tinyworld_support import clip_judge, draw, lowest, right_shares, table
from ovdiff import load_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.tinyworld.world import THINGS, render, sample_scene


def always(name: str) -> Callable[[NDArray[np.uint8]], NDArray[np.int64]]:
    return lambda images: np.full(len(images), THINGS.index(name))


def test_share_of_each_thing_and_of_all() -> None:
    images = {name: np.zeros((8, 4, 4, 3), dtype=np.uint8) for name in THINGS}
    shares = right_shares(always("car"), images)
    assert shares["car"] == 1
    assert shares["bird"] == 0
    assert shares["all"] == pytest.approx(1 / 12)


def test_lowest_thing_over_all_seeds() -> None:
    seeds = [dict.fromkeys(THINGS, 1.0) | {"bird": 0.5}, dict.fromkeys(THINGS, 1.0) | {"mug": 0.75}]
    assert lowest(seeds) == ("bird", 0.75)


def test_table_has_a_column_for_each_judge() -> None:
    rows = table({"CLIP": [{"bird": 0.5, "all": 0.75}], "second judge": [{"bird": 0.25, "all": 1.0}]}).splitlines()
    assert rows[0] == "| asked for | CLIP | second judge |"
    assert rows[2] == "| bird | .500 | .250 |"


def test_clip_names_what_is_drawn() -> None:
    judge = clip_judge(load_preset("tinyworld"), LoadedModels("cpu"))
    scenes = [scene for scene in (sample_scene(number, "test", things=1) for number in range(24)) if scene.things]
    answers = judge(np.stack([render(scene, 64).image for scene in scenes]))
    right = [THINGS[answer] == scene.things[0].name for answer, scene in zip(answers, scenes, strict=True)]
    assert np.mean(right) > 0.8


def test_images_are_judged_as_they_are_drawn() -> None:
    images = draw(load_preset("tinyworld"), LoadedModels("cpu"), "boat")
    assert images.shape == (8, 64, 64, 3)
    assert images.dtype == np.uint8
    assert images.std() > 20  # pictures, and not one grey
