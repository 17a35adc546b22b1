"""Image arrays become model inputs here. No other module changes their size, range, layout or statistics."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.presets.part_settings import Resampling, Statistics

Images = NDArray[np.uint8] | Tensor
"""(B, H, W, 3) uint8 RGB: an array, or a tensor where the images are on a device already."""

STATISTICS: dict[Statistics, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # gives [-1, 1], the range that the VAE expects
}
"""The mean and the standard deviation of each channel, for values in [0, 1]."""


def images_to_pixels(
    images: Images,
    size_hw: tuple[int, int],
    statistics: Statistics,
    like: Tensor,
    resampling: Resampling = "bicubic",
) -> Tensor:
    """Resize and normalise images.

    Args:
        images: (B, H, W, 3) uint8 RGB, here or on a device.
        size_hw: (h, w) of the result, in px; the aspect is not kept.
        statistics: which mean and standard deviation to use.
        like: a weight of the model; the result has its device and dtype.
        resampling: "bicubic" resizes with antialiasing, "bilinear" without, as the released code does.

    Returns:
        (B, 3, h, w), resized in float32, and then cast.
    """
    # torch reads no array backwards, such as image[::-1].
    given = images if isinstance(images, Tensor) else torch.tensor(np.ascontiguousarray(images), device=like.device)
    pixels = given.to(like.device).permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-2:] != size_hw:
        smooth = resampling == "bicubic"
        resized = F.interpolate(pixels, size=size_hw, mode=resampling, align_corners=False, antialias=smooth)
        pixels = resized.clamp(0, 1)  # Bicubic interpolation overshoots beside edges.
    mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in STATISTICS[statistics])
    return ((pixels - mean) / deviation).to(like.dtype)
