"""The picture of an explanation: the mark is at the place, and both finalists are there with what they were made of."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.presentation.explanation_picture import VIEW_PX, draw_explanation
from tests.fakes.explanations import explanation

IMAGE = np.full((10, 20, 3), 128, dtype=np.uint8)
YELLOW = (255, 230, 0)


def _pixels(found: object) -> NDArray[np.uint8]:
    return np.asarray(draw_explanation(IMAGE, found, "scene.png at 15,4"))  # type: ignore[arg-type]


def test_a_ring_marks_the_pixel_in_the_image_and_in_its_labels() -> None:
    rows, columns = np.nonzero((_pixels(explanation()) == YELLOW).all(axis=-1))
    scale = VIEW_PX / 20
    for view in (columns < VIEW_PX + 8, columns >= VIEW_PX + 8):
        assert np.ptp(columns[view]) == np.ptp(rows[view]) == 18  # a ring of 9 px around the place
    first = columns[columns < VIEW_PX + 8]
    assert (first.min() + first.max()) / 2 == 8 + 15.5 * scale


def test_a_region_has_an_outline() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:6, 4:12] = True
    marked = (_pixels(replace(explanation(), mask=mask)) == YELLOW).all(axis=-1)
    rows, columns = np.nonzero(marked[:, : VIEW_PX + 8])
    assert np.ptp(columns) == 8 * 18 + 3 and np.ptp(rows) == 4 * 18 + 3
    assert not marked[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]


def test_support_regions_are_in_colour_with_an_outline() -> None:
    outline = (_pixels(explanation()) == (220, 0, 90)).all(axis=-1)
    assert outline.any()
    gone = replace(explanation(), sources=tuple(replace(s, places=(), missing="gone") for s in explanation().sources))
    assert not (_pixels(gone) == (220, 0, 90)).all(axis=-1).any()


def test_one_finalist_leaves_the_other_half_empty_and_a_threshold_has_no_images() -> None:
    alone = replace(explanation(), runner_up=None, named=1)
    threshold = replace(explanation(), winner=0, runner_up=1, named=0)
    halves = slice(600), slice(600, None)
    quarters = [_pixels(found)[-270:, half] for found in (alone, explanation()) for half in halves]
    assert [bool((quarter < 250).any()) for quarter in quarters] == [True, False, True, True]
    outline = (_pixels(threshold) == (220, 0, 90)).all(axis=-1)
    assert not outline[:, :600].any() and outline[:, 600:].any()
