import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ovdiff.presets.segmenting_settings import RefineSettings
from ovdiff.segmenting.refine import clean_up


def _map() -> np.ndarray:
    labels = np.zeros((10, 12), np.int32)
    labels[1:7, 1:7] = 1
    labels[3, 3] = 0  # a hole of one pixel
    labels[5, 5] = 2  # another category inside
    labels[8, 10] = 1  # a part of one pixel
    labels[8:10, 1:3] = 2
    return labels


def test_small_parts_go_and_small_holes_are_filled() -> None:
    found = clean_up(_map(), RefineSettings(min_part_px=2, max_hole_px=1))
    assert found[8, 10] == 0  # removed
    assert found[3, 3] == 1  # filled
    assert found[5, 5] == 1  # a small part of another category, removed and then filled
    assert (found[8:10, 1:3] == 2).all()


def test_other_categories_inside_a_hole_stay() -> None:
    found = clean_up(_map(), RefineSettings(max_hole_px=1))
    assert found[5, 5] == 2 and found[3, 3] == 1


def test_limits_are_inclusive_in_pixels_and_0_is_off() -> None:
    labels = _map()
    np.testing.assert_array_equal(clean_up(labels, RefineSettings()), labels)
    assert (clean_up(labels, RefineSettings(min_part_px=4))[8:10, 1:3] == 2).all()
    assert (clean_up(labels, RefineSettings(min_part_px=5))[8:10, 1:3] == 0).all()


def test_background_at_the_border_is_no_hole() -> None:
    labels = np.ones((4, 4), np.int32)
    labels[0, 0] = 0
    np.testing.assert_array_equal(clean_up(labels, RefineSettings(max_hole_px=9)), labels)


@given(labels=npst.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_cleaning_is_idempotent_brings_no_new_labels_and_copies(labels: np.ndarray) -> None:
    before = labels.copy()
    settings = RefineSettings(min_part_px=3)
    once = clean_up(labels, settings)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(clean_up(once, settings), once)
    assert set(np.unique(once)) <= {0, *np.unique(labels)}
