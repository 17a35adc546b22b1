from dataclasses import replace

import numpy as np
import pytest

from benchmarks.drawn_world import EVERYTHING
from benchmarks.instance_scenes import TrueScene, true_scenes
from benchmarks.instances import (
    WAYS,
    average_precision,
    choose,
    compare,
    cost_table,
    describe,
    draw_worst,
    measure,
    table,
    told_apart,
    truth,
)
from ovdiff import Segmentation, load_preset

PRESET = load_preset("tinyworld")
NOTHING = np.zeros((0, 4, 4), dtype=np.bool_)


@pytest.fixture(scope="module")
def scenes() -> list[TrueScene]:
    return [scene for scene in true_scenes(90_000, 6, "thresholds") if scene.pairs()[1]][:3]


@pytest.fixture(scope="module")
def plain(scenes: list[TrueScene]) -> list[Segmentation]:
    return [replace(truth(scene), instance_map=None) for scene in scenes]


def test_the_truth_is_perfect(scenes: list[TrueScene]) -> None:
    figures = measure(scenes, [truth(scene) for scene in scenes])
    assert list(figures.values()) == pytest.approx([1.0] * len(figures))


def test_each_way_is_measured_and_parts_that_are_cut_are_better(
    scenes: list[TrueScene], plain: list[Segmentation]
) -> None:
    """On true label maps of scenes with things that touch, so that no weights of today decide it."""
    rows = compare(scenes, plain, PRESET, [NOTHING] * len(scenes), 7.0)
    assert list(rows) == list(WAYS)
    whole, parts, cores, proposals = rows.values()
    assert whole["pq_things"] < parts["pq_things"] < cores["pq_things"]
    assert whole["ap_things"] < parts["ap_things"] < cores["ap_things"]
    assert proposals["pq_things"] == cores["pq_things"]  # without a proposal
    assert proposals["seconds"] > 7.0 > cores["seconds"]
    assert [row["pq_stuff"] for row in rows.values()] == [1.0] * 4


def test_proposals_are_given_to_their_way_alone(plain: list[Segmentation]) -> None:
    height, width = plain[0].label_map.shape
    label = int(np.bincount(plain[0].label_map.ravel())[1:13].argmax()) + 1  # the largest thing
    half = plain[0].label_map == label
    half[: int(np.median(np.flatnonzero(half.any(axis=1))))] = False
    ways = {method: told_apart(plain[0], method, PRESET, half[None]).instance_map for method in ("parts", "proposals")}
    parts, cut = (ids.max() if ids is not None else 0 for ids in ways.values())
    assert cut > parts
    assert half.shape == (height, width)


def test_nothing_found_is_a_precision_of_zero(scenes: list[TrueScene]) -> None:
    empty = truth(scenes[0])
    empty = replace(empty, label_map=np.zeros_like(empty.label_map))
    assert average_precision([(truth(scenes[0]), empty)]) == (0.0, 0.0)


def test_settings_are_tried_side_by_side(scenes: list[TrueScene], plain: list[Segmentation]) -> None:
    rows = choose(scenes[:1], plain[:1], PRESET)
    assert "waist 0.9, min_area 0.005" in rows
    assert len(rows) == 10


def test_the_scenes_are_described(scenes: list[TrueScene]) -> None:
    said = describe(scenes)
    assert said["scenes"] == said["scenes with a touching pair"] == len(scenes)
    assert said["touching"] <= said["pairs of one kind"]


def test_tables_have_a_line_for_each_way_with_the_spread_over_the_seeds() -> None:
    row = {"pq_things": 0.5, "pq_stuff": 1.0, "pq_all": 0.75, "ap_things": 0.25, "ap50_things": 0.5, "seconds": 0.1}
    other = {**row, "pq_things": 0.7}
    seeds = {"42": dict.fromkeys(WAYS, row), "43": dict.fromkeys(WAYS, other)}
    lines = table(seeds).splitlines()
    assert len(lines) == 2 + len(WAYS)
    assert lines[2].startswith("| one region a category | .600 ± .100 | 1.000 ± .000 |")
    cost = cost_table({"processor seconds an image": {"segmenting": 0.3, "proposals": 0.08}, "seeds": seeds})
    assert cost.splitlines()[2:4] == ["| segmenting | .300 |", "| and connected parts | .100 ± .000 |"]
    assert cost.splitlines()[-1] == "| of the last, the proposals alone | .080 |"


def test_the_worst_scenes_are_drawn_first(scenes: list[TrueScene]) -> None:
    found = [truth(scene) for scene in scenes]
    missed = replace(found[1], label_map=np.zeros_like(found[1].label_map))
    sheet = np.asarray(draw_worst(scenes, [found[0], missed, *found[2:]], count=1))
    assert sheet.shape == (480, 160, 3)  # the image, the truth, what was found; at half size
    assert np.abs(sheet[:160].astype(int) - scenes[1].image[::2, ::2].astype(int)).mean() < 8
    assert len(EVERYTHING.categories) == 19
