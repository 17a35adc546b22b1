import numpy as np
import pytest
import torch

from ovdiff.extractors.pixels import STATISTICS, images_to_pixels, input_size_hw


@pytest.mark.parametrize("statistics", list(STATISTICS))
def test_values_are_normalised_a_channel(statistics: str) -> None:
    image = np.zeros((1, 4, 6, 3), np.uint8)
    image[..., 1] = 255
    pixels = images_to_pixels(image, (4, 6), statistics, torch.zeros(1))  # type: ignore[arg-type]
    mean, deviation = STATISTICS[statistics]  # type: ignore[index]
    expected = [(value - m) / d for value, m, d in zip((0, 1, 0), mean, deviation, strict=True)]
    torch.testing.assert_close(pixels[0, :, 2, 3], torch.tensor(expected))


def test_resizing_keeps_the_range_and_takes_the_weight_s_dtype() -> None:
    image = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), size=(2, 33, 17, 3))
    pixels = images_to_pixels(image, (16, 24), "half", torch.zeros(1, dtype=torch.bfloat16))
    assert pixels.shape == (2, 3, 16, 24) and pixels.dtype == torch.bfloat16
    assert float(pixels.min()) >= -1 and float(pixels.max()) <= 1


def test_stretch_is_a_square_of_whole_patches() -> None:
    assert input_size_hw((100, 300), 64, "stretch", 8) == (64, 64)
    assert input_size_hw((100, 300), 70, "stretch", 16) == (64, 64)
    assert input_size_hw((100, 300), 3, "stretch", 8) == (8, 8)


def test_keep_leaves_small_images_and_shrinks_large_ones() -> None:
    assert input_size_hw((336, 336), 448, "keep", 8) == (336, 336)
    assert input_size_hw((448, 597), 448, "keep", 8) == (448, 600)
    assert input_size_hw((896, 1194), 448, "keep", 8) == (448, 600)
    assert input_size_hw((1, 90), 448, "keep", 8) == (8, 88)
