from itertools import product

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ovdiff.models.pamr import pamr
from ovdiff.presets.schema import RefineSettings
from ovdiff.segmenting.refine import clean_up

SMALL = RefineSettings(pamr=True, pamr_iterations=2, pamr_dilations=(1, 2))


def _slow_pamr(image: np.ndarray, scores: np.ndarray, settings: RefineSettings) -> np.ndarray:
    """A.13 pixel by pixel."""
    height, width = image.shape[:2]
    colours = image.astype(np.float64)

    def at(row: int, column: int) -> tuple[int, int]:
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    offsets = [
        (d * r, d * c) for d in settings.pamr_dilations for r, c in product((-1, 0, 1), repeat=2) if (r, c) != (0, 0)
    ]
    for _ in range(settings.pamr_iterations):
        moved = np.empty_like(scores)
        for row, column in product(range(height), range(width)):
            places = [at(row + r, column + c) for r, c in offsets]
            near = np.array([colours[place] for place in places])
            nine = np.vstack([near, np.repeat(colours[row, column][None], len(settings.pamr_dilations), axis=0)])
            likeness = -np.abs(near - colours[row, column]) / (1e-8 + 0.1 * nine.std(axis=0, ddof=1))
            weights = np.exp(likeness.mean(axis=1))
            weights /= weights.sum()
            moved[:, row, column] = sum(w * scores[:, r, c] for w, (r, c) in zip(weights, places, strict=True))
        scores = moved
    return scores


def test_pamr_is_the_slow_reference() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    scores = random.random((3, 7, 9))
    found = pamr(image, torch.from_numpy(scores.astype(np.float32)), SMALL)
    np.testing.assert_allclose(found.numpy(), _slow_pamr(image, scores, SMALL), rtol=1e-4, atol=1e-5)


def test_pamr_keeps_constants_and_so_its_weights_sum_to_1() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    constant = torch.full((2, 40, 30), 0.37)
    torch.testing.assert_close(pamr(image, constant, RefineSettings(pamr=True)), constant)


def test_pamr_fits_scores_to_the_image_and_leaves_its_arguments() -> None:
    image = np.zeros((16, 20, 3), np.uint8)
    scores = torch.rand(2, 8, 10)
    before = scores.clone()
    assert pamr(image, scores, SMALL).shape == (2, 16, 20)
    assert torch.equal(scores, before)


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
