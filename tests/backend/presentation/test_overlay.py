import tracemalloc

import numpy as np

from backend.presentation.overlay import LEGEND_ROW_PX, draw_indexed, draw_overlay, label_colours
from ovdiff.segmentation import Segmentation


def segmentation(labels: np.ndarray) -> Segmentation:
    scores = np.ones(labels.shape, dtype=np.float32)
    return Segmentation(labels, scores, scores)


def test_categories_are_tinted_and_named() -> None:
    labels = np.zeros((30, 80), dtype=np.int32)
    labels[:10] = 1
    labels[20:] = 3
    grey = np.full((30, 80, 3), 100, dtype=np.uint8)
    overlay = draw_overlay(grey, segmentation(labels), ["a", "not there", "b"])
    assert overlay.shape == (30 + 2 * LEGEND_ROW_PX, 80, 3)
    assert overlay.dtype == np.uint8
    assert (overlay[10:20] == 100).all()
    assert not (overlay[0, 0] == overlay[25, 0]).all()
    assert (grey == 100).all()


def test_painting_takes_little_more_memory_than_the_pictures() -> None:
    image, labels = np.zeros((600, 800, 3), dtype=np.uint8), np.ones((600, 800), dtype=np.int32)
    found = segmentation(labels)
    tracemalloc.start()
    draw_overlay(image, found, ["a"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image.nbytes  # in floats it would be 8 times a picture, and several at once


def test_nothing_found_needs_no_legend() -> None:
    image = np.full((5, 7, 3), 9, dtype=np.uint8)
    labels = np.zeros((5, 7), dtype=np.int32)
    assert np.array_equal(draw_overlay(image, segmentation(labels), ["a"]), image)


def test_an_indexed_picture_holds_label_ids_up_to_the_last() -> None:
    labels = np.array([[0, 1, 255]], dtype=np.int32)
    picture = draw_indexed(segmentation(labels), 255)
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), labels)
    assert np.array_equal(np.asarray(picture.convert("RGB"))[0], label_colours(255)[[0, 1, 255]])


def test_background_is_black_and_categories_differ() -> None:
    colours = label_colours(60)
    assert colours[0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in colours.tolist()}) == 61
