import numpy as np
import pytest
import torch

from ovdiff.extractors.sizes import purpose_size_hw, square_hw
from ovdiff.models.pixels import STATISTICS, images_to_pixels
from ovdiff.presets.schema import DinoFeatureSettings


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
    assert square_hw(64, 8) == (64, 64)
    assert square_hw(70, 16) == (64, 64)
    assert square_hw(3, 8) == (8, 8)


def _kept(size_hw: tuple[int, int]) -> tuple[int, int]:
    settings = DinoFeatureSettings(aspect="keep", window_px=448, max_long_side_px=800)
    return purpose_size_hw(size_hw, settings, "window", 8)


def test_keep_leaves_small_images_and_shrinks_large_ones() -> None:
    assert _kept((336, 336)) == (336, 336)
    assert _kept((448, 597)) == (448, 600)
    assert _kept((896, 1194)) == (448, 600)
    assert _kept((1, 90)) == (8, 88)


def test_keep_bounds_the_long_side_of_a_panorama() -> None:
    """A whole image of 448 x 2,048 px was 14,336 patches; the released code stops at 800 px (A.11)."""
    assert _kept((448, 896)) == (400, 800)
    assert _kept((448, 2048)) == (176, 800)
    assert _kept((2048, 448)) == (800, 176)
    assert _kept((4096, 896)) == (800, 176)
