from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.presets.segmenting_settings import InstanceSettings
from ovdiff.segmenting.instances import find_instances, reduced

PARTS, CORES, PROPOSALS = (InstanceSettings(method=method) for method in ("parts", "cores", "proposals"))
SIZE = 120


def disc(row: float, column: float, radius: float, size: int = SIZE) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - row, columns - column) < radius


def of(*masks: NDArray[np.bool_], label: int = 1) -> NDArray[np.int32]:
    return np.where(np.any(masks, axis=0), label, 0).astype(np.int32)


TWO_DISCS = disc(60, 36, 24), disc(60, 82, 24)  # they touch along a line of about 13 pixels


@pytest.mark.parametrize("settings", [PARTS, CORES, PROPOSALS])
def test_parts_that_do_not_touch_are_objects_and_stuff_is_one_segment(settings: InstanceSettings) -> None:
    label_map = of(disc(30, 30, 14), disc(80, 80, 20))
    label_map[:4] = label_map[-4:] = 2  # stuff in two parts
    found = find_instances(label_map, {1}, settings)
    assert [np.unique(found[mask]).tolist() for mask in (disc(30, 30, 14), disc(80, 80, 20), label_map == 2)] == [
        [1],
        [2],
        [3],
    ]
    np.testing.assert_array_equal(found > 0, label_map > 0)


def test_objects_that_touch_are_one_part_and_two_cores() -> None:
    label_map = of(*TWO_DISCS)
    assert find_instances(label_map, (), PARTS).max() == 1
    found = find_instances(label_map, (), CORES)
    assert found.max() == 2
    for number, mask in enumerate(TWO_DISCS, start=1):
        assert (found[mask] == number).mean() > 0.97
    np.testing.assert_array_equal(found > 0, label_map > 0)


def test_ids_of_three_in_a_row_have_one_category_each_and_no_gap() -> None:
    label_map = of(disc(60, 20, 18), disc(60, 54, 18), disc(60, 88, 18), label=2)
    label_map[:30] = 1
    found = find_instances(label_map, (), CORES)
    assert np.unique(found).tolist() == [0, 1, 2, 3, 4]
    assert [np.unique(label_map[found == number]).tolist() for number in range(1, 5)] == [[1], [2], [2], [2]]


@pytest.mark.parametrize("radius", [3, 9, 14])
def test_a_handle_or_a_tail_is_not_cut_off(radius: int) -> None:
    mug = disc(60, 40, 30) | disc(60, 72 + radius, radius)
    mug[58:62, 40 : 72 + radius] = True
    assert find_instances(of(mug), (), CORES).max() == 1
    if radius > 3:  # too small a core to be one at all
        assert find_instances(of(mug), (), replace(CORES, min_piece=0.05)).max() == 2


def test_a_hole_is_no_waist() -> None:
    holed = disc(60, 60, 40) & ~disc(60, 60, 16)
    holed[:, 58:62] &= ~disc(60, 60, 30)[:, 58:62]
    assert find_instances(of(holed), (), CORES).max() == 1


def test_how_narrow_a_waist_must_be_is_a_setting() -> None:
    near = of(disc(60, 45, 24), disc(60, 75, 24))  # they overlap by far; the passage is three quarters as wide
    assert find_instances(near, (), replace(CORES, waist=0.6)).max() == 1
    assert find_instances(near, (), replace(CORES, waist=0.95)).max() == 2


def test_what_is_too_small_is_no_object() -> None:
    label_map = of(disc(60, 60, 20), disc(10, 10, 3))
    found = find_instances(label_map, (), replace(CORES, min_area=0.01))
    assert found.max() == 1
    assert not found[disc(10, 10, 3)].any()
    assert find_instances(label_map, (), replace(CORES, min_area=0.0)).max() == 2


def test_a_large_image_is_cut_along_the_same_line() -> None:
    large = of(*TWO_DISCS).repeat(9, axis=0).repeat(9, axis=1)[:1075, :1077]
    found = find_instances(large, (), CORES)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, large > 0)
    assert (found[:, : 59 * 9][large[:, : 59 * 9] > 0] == 1).mean() > 0.98


def test_nothing_gives_nothing() -> None:
    for settings in (PARTS, CORES, PROPOSALS):
        assert not find_instances(np.zeros((9, 7), np.int32), (), settings, np.zeros((0, 9, 7), np.bool_)).any()
    assert find_instances(np.ones((1, 1), np.int32), (), CORES).tolist() == [[1]]


# ---------------------------------------------------------------- proposals

BLOCK = np.zeros((SIZE, SIZE), dtype=np.bool_)
BLOCK[40:80, 10:110] = True  # two objects without a waist
LEFT, RIGHT = BLOCK.copy(), BLOCK.copy()
LEFT[:, 60:], RIGHT[:, :60] = False, False


@pytest.mark.parametrize("proposed", [[LEFT, RIGHT], [LEFT], [RIGHT, BLOCK]])
def test_a_proposal_cuts_a_part_and_what_remains_is_an_object(proposed: list[NDArray[np.bool_]]) -> None:
    assert find_instances(of(BLOCK), (), CORES).max() == 1
    found = find_instances(of(BLOCK), (), PROPOSALS, np.array(proposed))
    assert found.max() == 2
    assert [len(np.unique(found[mask])) for mask in (LEFT, RIGHT)] == [1, 1]
    np.testing.assert_array_equal(found > 0, BLOCK)


def test_proposals_may_be_of_another_size_than_the_image() -> None:
    found = find_instances(of(BLOCK), (), PROPOSALS, np.array([LEFT[::4, ::3]]))
    assert found.max() == 2
    assert (found[LEFT] == found[60, 20]).mean() > 0.98


@pytest.mark.parametrize(
    "useless",
    [
        pytest.param(~BLOCK, id="no thing"),
        pytest.param(np.ones_like(BLOCK), id="everything"),
        pytest.param(BLOCK, id="the whole part"),
        pytest.param(disc(60, 60, 3), id="hardly any of it"),
        pytest.param(LEFT | (disc(60, 20, 60) & ~BLOCK), id="mostly no thing"),
        pytest.param(np.zeros_like(BLOCK), id="empty"),
    ],
)
def test_a_proposal_that_agrees_with_no_object_is_ignored(useless: NDArray[np.bool_]) -> None:
    assert find_instances(of(BLOCK), (), PROPOSALS, useless[None]).max() == 1
    assert find_instances(of(BLOCK), (), PROPOSALS, np.array([useless, LEFT])).max() == 2


def test_a_proposal_takes_its_class_from_the_labels_and_cuts_no_other_category() -> None:
    label_map = of(LEFT) + 2 * of(RIGHT)  # labels 1 and 3, side by side
    across = BLOCK.copy()
    across[:, 90:] = False  # five eighths label 1, three eighths label 3
    found = find_instances(label_map, (), PROPOSALS, across[None])
    assert np.unique(found).tolist() == [0, 1, 2]
    assert [np.unique(found[mask]).tolist() for mask in (LEFT, RIGHT)] == [[1], [2]]


def test_where_proposals_leave_touching_objects_cores_cut_them() -> None:
    label_map = of(*TWO_DISCS, BLOCK & disc(60, 109, 20))
    found = find_instances(label_map, (), PROPOSALS, np.zeros((0, 4, 4), np.bool_))
    np.testing.assert_array_equal(found, find_instances(label_map, (), CORES))


def test_proposals_are_made_of_a_small_image() -> None:
    assert reduced(np.zeros((2048, 512, 3), np.uint8)).shape == (1024, 256, 3)
    small = np.zeros((20, 1024, 3), np.uint8)
    assert reduced(small) is small
    assert reduced(np.zeros((1, 4096, 3), np.uint8)).shape == (1, 1024, 3)
