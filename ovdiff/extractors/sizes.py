"""The size at which an extractor encodes an image, and the reference's rule for smaller sizes."""

from collections.abc import Sequence

from ovdiff.extractors.extractor import Purpose
from ovdiff.presets.part_settings import TransformerFeatureSettings


def square_hw(side_px: int, patch_px: int) -> tuple[int, int]:
    """Return the size of a square of about ``side_px``: a whole number of patches, at least one."""
    return (_whole_patches(side_px, patch_px),) * 2


def purpose_size_hw(
    size_hw: Sequence[int], settings: TransformerFeatureSettings, purpose: Purpose, patch_px: int
) -> tuple[int, int]:
    """Return the size at which a transformer encodes an image of ``size_hw``: at least one patch a side.

    Support images are stretched to a square. Windows are stretched to a square if ``aspect`` is "stretch". With "keep"
    a window keeps its size up to a short side of ``window_px`` and a long side of ``max_long_side_px``, and a larger
    window is shrunk to these limits with its aspect kept (A.11, DINO).

    The size is a whole number of patches, except for a kept window whose ``remainder`` is "cut". Of such a window the
    transformer's first layer leaves out the pixels at the right and below that fill no patch.
    """
    if purpose == "support":
        return square_hw(settings.support_px, patch_px)
    if settings.aspect == "stretch":
        return square_hw(settings.window_px, patch_px)
    height, width = size_hw
    scale = min(1.0, settings.window_px / min(height, width), settings.max_long_side_px / max(height, width))
    if settings.remainder == "cut":
        if scale < 1:
            height, width = truncated_size_hw(size_hw, settings.window_px, settings.max_long_side_px)
        return max(height, patch_px), max(width, patch_px)
    return _whole_patches(height * scale, patch_px), _whole_patches(width * scale, patch_px)


def truncated_size_hw(size_hw: Sequence[int], short_side_px: int, max_long_side_px: int) -> tuple[int, int]:
    """Return (h, w) with a short side of ``short_side_px``, or a long side of ``max_long_side_px`` if that is less.

    The side that is computed is rounded down, in the order of operations of torchvision's ``Resize``, which the
    released code uses. It is at least 1.
    """
    short, long = short_side_px, int(short_side_px * max(size_hw) / min(size_hw))
    if long > max_long_side_px:
        short, long = max(1, int(max_long_side_px * short / long)), max_long_side_px
    return (short, long) if size_hw[0] <= size_hw[1] else (long, short)


def _whole_patches(length: float, patch_px: int) -> int:
    return max(1, round(length / patch_px)) * patch_px
