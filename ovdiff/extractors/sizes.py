"""At which size an extractor sees an image: whole patches of its transformer."""

from collections.abc import Sequence

from ovdiff.extractors.extractor import Purpose
from ovdiff.presets.schema import TransformerFeatureSettings


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
