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


def test_images_may_be_read_backwards() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    for turned in (image[:, ::-1], image[:, :, ::-1], image[..., ::-1]):
        expected = images_to_pixels(turned.copy(), (5, 7), "half", torch.zeros(1))
        assert torch.equal(images_to_pixels(turned, (5, 7), "half", torch.zeros(1)), expected)


def _slow_bilinear(channel: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation without antialiasing, from two samples for each axis, corners not aligned."""
    (height, width), out = channel.shape, np.zeros(size_hw)
    for row, column in np.ndindex(*size_hw):
        y = min(max((row + 0.5) * height / size_hw[0] - 0.5, 0), height - 1)
        x = min(max((column + 0.5) * width / size_hw[1] - 0.5, 0), width - 1)
        for v, u in {(int(np.floor(y)), int(np.floor(x))), (int(np.floor(y)), int(np.ceil(x)))} | {
            (int(np.ceil(y)), int(np.floor(x))),
            (int(np.ceil(y)), int(np.ceil(x))),
        }:
            out[row, column] += (1 - abs(y - v)) * (1 - abs(x - u)) * channel[v, u]
    return out


@pytest.mark.parametrize("size_hw", [(5, 4), (17, 30)])
def test_bilinear_resizing_reads_two_samples_an_axis_as_the_reference_does(size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 12, 3), dtype=np.uint8)
    found = images_to_pixels(image, size_hw, "half", torch.zeros(1), "bilinear")
    for channel in range(3):
        expected = _slow_bilinear(image[0, ..., channel] / 255, size_hw) * 2 - 1
        np.testing.assert_allclose(found[0, channel].numpy(), expected, atol=1e-5)


def test_bicubic_resizing_averages_fine_noise_away_and_bilinear_keeps_it() -> None:
    image = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), size=(1, 64, 64, 3))
    smooth, rough = (
        images_to_pixels(image, (8, 8), "half", torch.zeros(1), resampling).std()
        for resampling in ("bicubic", "bilinear")
    )
    assert smooth < 0.3 < rough
