"""The pictures of one image: truth, prediction, wrong pixels."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.command.evaluation.example_pictures import LONGER_SIDE_PX, ExamplePictures, example_pictures
from backend.presentation.overlay import label_colours

_SIZE_HW = (64, 96)


def _pixels(jpeg: bytes) -> NDArray[np.int32]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int32)


def _drawn() -> ExamplePictures:
    """Draw a grey image: on the left label 1 that was found, in the middle 2 that was taken for 1, right unknown."""
    image = np.full((*_SIZE_HW, 3), 100, dtype=np.uint8)
    truth, given = np.zeros(_SIZE_HW, np.int32), np.zeros(_SIZE_HW, np.int32)
    truth[:, :32], truth[:, 32:64], truth[:, 64:] = 1, 2, -1
    given[:, :64], given[:, 64:] = 1, 2
    region = truth == 2
    region[:8] = False
    return example_pictures(image, truth, given, region, 2)


def test_labels_are_tinted_and_unknown_pixels_are_grey() -> None:
    pictures = _drawn()
    one, two = (50 + label_colours(2)[label].astype(int) // 2 for label in (1, 2))
    truth, found = _pixels(pictures.truth), _pixels(pictures.found)
    assert np.abs(truth[32, 16] - one).max() < 12 and np.abs(truth[32, 48] - two).max() < 12
    assert np.abs(truth[32, 80] - 122).max() < 12
    assert np.abs(found[32, 48] - one).max() < 12 and np.abs(found[32, 80] - two).max() < 12


def test_wrong_pixels_are_red_the_others_grey_and_the_region_has_a_yellow_line() -> None:
    wrong = _pixels(_drawn().wrong)
    assert np.ptp(wrong[32, 10]) < 12 and np.ptp(wrong[32, 85]) < 12, "right and unknown pixels have no colour"
    red, green, blue = wrong[32, 48]
    assert red > 170 and green < 100 and blue < 120
    red, green, blue = wrong[2, 48]
    assert red > 170 and green < 100, "wrong, outside the region"
    line = wrong[40, 30:33]
    assert any(red > 180 and green > 150 and blue < 110 for red, green, blue in line)


def test_a_large_image_is_made_smaller() -> None:
    image = np.zeros((900, 1800, 3), dtype=np.uint8)
    labels = np.zeros((900, 1800), np.int32)
    pictures = example_pictures(image, labels, labels, None, 1)
    assert {_pixels(jpeg).shape for jpeg in vars(pictures).values()} == {(LONGER_SIDE_PX // 2, LONGER_SIDE_PX, 3)}
