"""From image arrays to model inputs: the one place where size, range, layout and statistics change."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.extractors import Purpose
from ovdiff.presets.schema import Statistics, TransformerFeatureSettings

STATISTICS: dict[Statistics, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # [-1, 1], as the VAE takes it
}
"""Mean and standard deviation of each channel, for values in [0, 1]."""


def images_to_pixels(
    images: NDArray[np.uint8], size_hw: tuple[int, int], statistics: Statistics, like: Tensor
) -> Tensor:
    """Resize and normalise images.

    Args:
        images: (B, H, W, 3) uint8 RGB.
        size_hw: (h, w) of the result, in px; the aspect is not kept.
        statistics: which mean and standard deviation to use.
        like: a weight of the model: its device and dtype.

    Returns:
        (B, 3, h, w); resized bicubically in float32 (antialiased), then cast.
    """
    pixels = torch.tensor(images, device=like.device).permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-2:] != size_hw:
        resized = F.interpolate(pixels, size=size_hw, mode="bicubic", align_corners=False, antialias=True)
        pixels = resized.clamp(0, 1)
    mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in STATISTICS[statistics])
    return ((pixels - mean) / deviation).to(like.dtype)


def square_hw(side_px: int, patch_px: int) -> tuple[int, int]:
    """Return a square of about ``side_px`` in whole patches, at least one."""
    return (_whole_patches(side_px, patch_px),) * 2


def purpose_size_hw(
    size_hw: Sequence[int], settings: TransformerFeatureSettings, purpose: Purpose, patch_px: int
) -> tuple[int, int]:
    """Return the size at which a transformer should see an image of ``size_hw``, in whole patches, at least one.

    Support images are stretched to a square, and so are windows where ``aspect`` is "stretch". "keep" keeps a
    window's size up to a short side of ``window_px`` and a long one of ``max_long_side_px``, and shrinks larger
    ones to these (A.11, DINO).
    """
    if purpose == "support":
        return square_hw(settings.support_px, patch_px)
    if settings.aspect == "stretch":
        return square_hw(settings.window_px, patch_px)
    height, width = size_hw
    scale = min(1.0, settings.window_px / min(height, width), settings.max_long_side_px / max(height, width))
    return _whole_patches(height * scale, patch_px), _whole_patches(width * scale, patch_px)


def _whole_patches(length: float, patch_px: int) -> int:
    return max(1, round(length / patch_px)) * patch_px
