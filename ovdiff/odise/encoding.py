"""From images to taps: windows, the frozen models, the captioner's condition, and the stitching of windows (C.1)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.models.clip import Clip
from ovdiff.odise.captioner import ImplicitCaptioner, standardised
from ovdiff.odise.preset import OdisePreset, TapSettings
from ovdiff.odise.taps import Condition, DiffusionTaps, VaeFeatures

_LEAST_WINDOW = 1 / 8
"""The least side of a window, as a share of the long side: an image of 1 x 5000 px is 8 windows and not 2,560."""


class WindowGrid(NamedTuple):
    """How an image is cut into windows.

    Attributes:
        size_hw: the image's size before it was cut, in px of the diffusion model's input.
        rows: the rows of windows.
        columns: the columns of windows.
        side: the side of a window, in the same px.
    """

    size_hw: tuple[int, int]
    rows: int
    columns: int
    side: int


class FrozenWindows(NamedTuple):
    """What the frozen models make of windows, apart from the UNet, which the captioner's condition changes.

    Attributes:
        latents: (N, C, h, w).
        maps: the VAE's taps (N, C, h, w).
        embeddings: (N, P), CLIP's embeddings of the windows, not normalised; (N, 0) without a captioner.
    """

    latents: Tensor
    maps: list[Tensor]
    embeddings: Tensor


class WindowEncoder:
    """Encodes windows by the frozen models. Use it under the models' lock."""

    def __init__(self, preset: OdisePreset, taps: DiffusionTaps, clip: Clip) -> None:
        """Use loaded models."""
        self.taps = taps
        self._clip, self._preset = clip, preset

    def frozen(self, windows: NDArray[np.uint8]) -> FrozenWindows:
        """Run VAE and CLIP on windows (N, S, S, 3) uint8."""
        vae: VaeFeatures = self.taps.vae(windows)
        settings = self._preset.captioner
        if settings.condition == "null":
            return FrozenWindows(*vae, vae.latents.new_zeros((len(windows), 0)))
        features = self._clip.image_features(windows, settings.statistics, settings.resampling)
        return FrozenWindows(*vae, standardised(features, settings))

    def unet(self, latents: Tensor, embeddings: Tensor, captioner: ImplicitCaptioner | None) -> list[Tensor]:
        """Run the UNet on latents (N, C, h, w) with the captioner's condition, or with the empty text."""
        text = self.taps.empty_text
        condition = Condition(text) if captioner is None else captioner(embeddings, text)
        return self.taps.unet(latents, condition)

    @torch.inference_mode()
    def encode(self, windows: NDArray[np.uint8], captioner: ImplicitCaptioner | None) -> list[Tensor]:
        """Return all taps (N, C, h, w) of windows."""
        frozen = self.frozen(windows)
        return [*frozen.maps, *self.unet(frozen.latents, frozen.embeddings, captioner)]


def cut(image: NDArray[np.uint8], settings: TapSettings) -> tuple[NDArray[np.uint8], WindowGrid]:
    """Cut an (H, W, 3) uint8 image into windows (N, S, S, 3), row by row.

    The image is resized so that its short side is ``short_side_px``. A window's side is ``window_px``, or the short
    side if that is shorter (C.1), but of a very long image at least an eighth of the long side. At the right and the
    lower edge the image is padded with its last pixels to full windows.
    """
    if settings.windows == "whole":
        side = settings.input_px
        return image[None], WindowGrid((side, side), 1, 1, side)
    resized = _resized(image, _working_size(image.shape[0], image.shape[1], settings))
    short, long = sorted(resized.shape[:2])
    side = min(settings.window_px, max(short, math.ceil(long * _LEAST_WINDOW)))
    rows, columns = (-(-length // side) for length in resized.shape[:2])
    lacking = [(0, count * side - length) for count, length in zip((rows, columns), resized.shape[:2], strict=True)]
    padded = np.pad(resized, [*lacking, (0, 0)], mode="edge")
    windows = padded.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    scale = settings.input_px / side
    height, width = (max(1, round(length * scale)) for length in resized.shape[:2])
    return windows, WindowGrid((height, width), rows, columns, settings.input_px)


def stitch(maps: Sequence[Tensor], grid: WindowGrid, *, mirror: bool = False) -> list[Tensor]:
    """Lay the maps (B * N, C, h, w) of windows side by side, (B, C, H, W), and cut off what was padded.

    Args:
        maps: any maps of windows.
        grid: how an image was cut.
        mirror: whether the windows are those of :func:`mirrored`, so that the padding is on the left.
    """
    return [_stitched(each, grid, mirror=mirror) for each in maps]


def mirrored(tap: Tensor, grid: WindowGrid) -> Tensor:
    """Return the windows (B * N, C, h, w) of the mirrored images."""
    windows = tap.reshape(-1, grid.rows, grid.columns, *tap.shape[1:])
    return windows.flip(2, -1).reshape(tap.shape)


def _stitched(tap: Tensor, grid: WindowGrid, *, mirror: bool) -> Tensor:
    if grid.rows == grid.columns == 1:
        return tap
    _, channels, height, width = tap.shape
    windows = tap.reshape(-1, grid.rows, grid.columns, channels, height, width)
    whole = windows.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, grid.rows * height, grid.columns * width)
    stride = grid.side / tap.shape[-1]
    rows, columns = (max(1, round(length / stride)) for length in grid.size_hw)
    left = whole.shape[-1] - columns if mirror else 0
    return whole[..., :rows, left : left + columns]


def _working_size(height: int, width: int, settings: TapSettings) -> tuple[int, int]:
    scale = settings.short_side_px / min(height, width)
    if max(height, width) * scale > settings.max_long_side_px:
        scale = settings.max_long_side_px / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float()
    size = size_hw[0], max(2, size_hw[1])  # torch 2 makes a result of one column one colour, hence two.
    resized = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True)
    if size_hw[1] == 1:
        resized = resized.mean(dim=3, keepdim=True)
    found: NDArray[np.uint8] = resized.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
    return found
