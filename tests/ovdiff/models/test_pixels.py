import numpy as np
import pytest
import torch

from ovdiff.models.pixels import STATISTICS, images_to_pixels


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
