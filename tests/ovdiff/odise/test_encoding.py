from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ovdiff.odise.encoding import WindowEncoder, WindowGrid, cut, stitch
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset, TapSettings

SLIDING = TapSettings(input_px=16, window_px=16, short_side_px=40, max_long_side_px=100)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (40, 57), (64, 40), (48, 40)])
def test_windows_lie_side_by_side_and_the_edge_repeats_the_last_pixel(height: int, width: int) -> None:
    image = noise(height, width)
    windows, grid = cut(image, SLIDING)
    assert grid == WindowGrid((height, width), -(-height // 16), -(-width // 16), 16)
    assert windows.shape == (grid.rows * grid.columns, 16, 16, 3)
    for number, window in enumerate(windows):
        row, column = divmod(number, grid.columns)
        for y in range(16):
            for x in range(16):
                source = image[min(16 * row + y, height - 1), min(16 * column + x, width - 1)]
                assert np.array_equal(window[y, x], source)


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((80, 100), (40, 50)),
        ((20, 20), (40, 40)),
        ((30, 300), (10, 100)),
        ((100, 40), (100, 40)),
        ((101, 40), (100, 40)),
    ],
)
def test_the_short_side_is_fitted_unless_the_long_one_grows_too_long(
    size: tuple[int, int], working: tuple[int, int]
) -> None:
    _, grid = cut(noise(*size), replace(SLIDING, window_px=8, input_px=8))
    assert grid.size_hw == working


def test_a_window_is_no_larger_than_the_short_side() -> None:
    """C.1: side min(512, short side); each window is stretched to the input."""
    windows, grid = cut(noise(20, 30), replace(SLIDING, short_side_px=20, window_px=64, input_px=40))
    assert windows.shape == (2, 20, 20, 3)
    assert grid == WindowGrid((40, 60), 1, 2, 40)


def test_a_whole_image_is_one_window() -> None:
    image = noise(30, 70)
    windows, grid = cut(image, replace(SLIDING, windows="whole"))
    assert np.array_equal(windows, image[None])
    assert grid == WindowGrid((16, 16), 1, 1, 16)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_stitched_maps_are_those_of_the_whole_image(stride: int) -> None:
    """A map without context, the mean over cells, is the same window by window and at once."""
    image = noise(40, 56)
    windows, grid = cut(image, SLIDING)

    def pooled(pixels: NDArray[np.uint8]) -> Tensor:
        return avg_pool2d(torch.from_numpy(pixels).permute(0, 3, 1, 2).double(), stride)

    found = stitch([pooled(windows)], grid)[0]
    assert torch.equal(found, pooled(image[None]))


def test_two_images_are_stitched_each_by_itself() -> None:
    grid = WindowGrid((4, 6), 2, 3, 2)
    maps = torch.arange(2 * 6 * 4.0).reshape(12, 1, 2, 2)
    both = stitch([maps], grid)[0]
    assert both.shape == (2, 1, 4, 6)
    for image in range(2):
        assert torch.equal(both[image], stitch([maps[6 * image : 6 * image + 6]], grid)[0][0])
    assert both[0, 0, 0].tolist() == [0, 1, 4, 5, 8, 9]
    assert both[0, 0, 2].tolist() == [12, 13, 16, 17, 20, 21]


def test_what_was_padded_is_cut_off() -> None:
    _, grid = cut(noise(40, 57), SLIDING)
    maps = torch.zeros(grid.rows * grid.columns, 1, 4, 4)  # stride 4
    assert stitch([maps], grid)[0].shape == (1, 1, 10, 14)


@pytest.fixture(scope="module")
def encoder(odise_parts: OdiseParts) -> WindowEncoder:
    return odise_parts.encoder


def test_an_encoder_joins_vae_clip_captioner_and_unet(
    encoder: WindowEncoder, odise_parts: OdiseParts, windows: NDArray[np.uint8]
) -> None:
    captioner = odise_parts.head[0].captioner
    assert captioner is not None
    vae = encoder.taps.vae(windows)
    features = odise_parts.clip.image_features(windows, "half", "bicubic")
    condition = captioner(features / features.std(dim=1, keepdim=True), encoder.taps.empty_text)
    with torch.no_grad():
        expected = [*vae.maps, *encoder.taps.unet(vae.latents, condition)]
    found = encoder.encode(windows, captioner)
    assert len(found) == 8
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_without_a_captioner_the_condition_is_the_empty_text_and_clip_does_not_run(
    odise_parts: OdiseParts, odise_preset: OdisePreset, windows: NDArray[np.uint8]
) -> None:
    preset = replace(odise_preset, captioner=replace(odise_preset.captioner, condition="null"))
    encoder = WindowEncoder(preset, odise_parts.encoder.taps, clip=None)  # type: ignore[arg-type]
    frozen = encoder.frozen(windows)
    assert frozen.embeddings.shape == (2, 0)
    found, text = encoder.unet(frozen.latents, frozen.embeddings, None), encoder.taps.empty_text
    said = odise_parts.encoder.taps.unet(frozen.latents, odise_parts.head[0].captioner(torch.ones(2, 96), text))  # type: ignore[misc]
    assert not torch.allclose(found[0], said[0], atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (3, 1000)])
def test_a_very_long_image_is_few_windows(height: int, width: int) -> None:
    settings = TapSettings(input_px=32, window_px=32, short_side_px=64, max_long_side_px=160)  # the paper's, / 16
    windows, grid = cut(noise(height, width), settings)
    assert len(windows) == grid.rows * grid.columns <= 10  # as many as the largest image of the paper's test has
    assert grid.size_hw[0] * grid.size_hw[1] <= 64 * 160
    assert min(grid.size_hw) >= 1
    maps = torch.zeros(len(windows), 1, 4, 4)
    assert all(side >= 1 for side in stitch([maps], grid)[0].shape)


def test_a_column_is_resized_as_a_row_is() -> None:
    """torch 2 makes a result of one column one colour."""
    row = noise(1, 500)
    of_row, grid = cut(row, SLIDING)
    of_column, turned = cut(row.swapaxes(0, 1), SLIDING)
    assert turned.size_hw == grid.size_hw[::-1]
    assert np.array_equal(of_row, of_column.swapaxes(1, 2))
    assert len(np.unique(of_row.reshape(-1, 3), axis=0)) > 50


def test_a_long_image_within_the_paper_s_sizes_has_the_paper_s_windows() -> None:
    windows, grid = cut(noise(40, 200), replace(SLIDING, short_side_px=40, max_long_side_px=200, window_px=512))
    assert windows.shape == (5, 40, 40, 3)
    assert grid == WindowGrid((16, 80), 1, 5, 16)
