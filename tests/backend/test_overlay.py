import numpy as np

from backend.overlay import LEGEND_ROW_PX, draw_overlay
from ovdiff.segmentation import Segmentation


def test_categories_are_tinted_and_named() -> None:
    labels = np.zeros((30, 80), dtype=np.int32)
    labels[:10] = 1
    labels[20:] = 3
    scores = np.ones(labels.shape, dtype=np.float32)
    grey = np.full((30, 80, 3), 100, dtype=np.uint8)
    overlay = draw_overlay(grey, Segmentation(labels, scores, scores), ["a", "not there", "b"])
    assert overlay.shape == (30 + 2 * LEGEND_ROW_PX, 80, 3)
    assert overlay.dtype == np.uint8
    assert (overlay[10:20] == 100).all()
    assert not (overlay[0, 0] == overlay[25, 0]).all()
    assert (grey == 100).all()


def test_nothing_found_needs_no_legend() -> None:
    labels = np.zeros((5, 7), dtype=np.int32)
    scores = np.ones(labels.shape, dtype=np.float32)
    image = np.full((5, 7, 3), 9, dtype=np.uint8)
    assert np.array_equal(draw_overlay(image, Segmentation(labels, scores, scores), ["a"]), image)
