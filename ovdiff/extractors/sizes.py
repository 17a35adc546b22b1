"""The size at which an extractor encodes an image, which is a whole number of its transformer's patches."""

from collections.abc import Sequence

from ovdiff.extractors.extractor import Purpose
from ovdiff.presets.part_settings import TransformerFeatureSettings


def square_hw(side_px: int, patch_px: int) -> tuple[int, int]:
    """Return the size of a square of about ``side_px``: a whole number of patches, at least one."""
    return (_whole_patches(side_px, patch_px),) * 2


def purpose_size_hw(
    size_hw: Sequence[int], settings: TransformerFeatureSettings, purpose: Purpose, patch_px: int
) -> tuple[int, int]:
    """Return the size at which a transformer encodes an image of ``size_hw``: whole patches, at least one a side.

    Support images are stretched to a square. Windows are stretched to a square if ``aspect`` is "stretch". With "keep"
    a window keeps its size up to a short side of ``window_px`` and a long side of ``max_long_side_px``, and a larger
    window is shrunk to these limits with its aspect kept (A.11, DINO).
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
