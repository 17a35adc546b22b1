"""The foreground and background of a support image: Eq. 1 and its refinements (A.4). Never imports torch."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ovdiff.presets.building_settings import SupportSettings
from ovdiff.proposals.threshold import Thresholds


def threshold_masks(
    attribution: NDArray[np.float32], thresholds: Thresholds
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (foreground, background) of an attribution map (H, W) by its thresholds, without erosion (A.4.5)."""
    return attribution > thresholds.foreground, attribution < thresholds.background


def choose_masks(
    attribution: NDArray[np.float32],
    proposals: NDArray[np.bool_],
    settings: SupportSettings,
    fallback: Thresholds,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose foreground and background among class-agnostic masks: Eq. 1, refined as in A.4.

    ``score_j = sum_p A(p) m_j(p) / sum_p m_j(p)``. The pixels that no proposal covers are one more candidate mask. A
    pixel belongs to the mask of the highest score that covers it. The foreground is the pixels of the mask of the
    highest score. The background is the pixels of the mask of the lowest score that has pixels, where attribution is
    low; it is eroded.

    Args:
        attribution: (H, W) float32 in [0, 1].
        proposals: (J, H, W) bool, J >= 0, overlaps allowed.
        settings: the limits of the background.
        fallback: the thresholds of an image without proposals.

    Returns:
        (foreground, background), each (H, W) bool, disjoint. One mask over the whole image leaves no background.
    """
    if not proposals.any():
        return threshold_masks(attribution, fallback)
    owners = _owners(attribution, _with_complement(proposals))
    last = int(owners.max())
    foreground: NDArray[np.bool_] = owners == 0
    if last == 0:
        return foreground, np.zeros_like(foreground)
    background = (owners == last) & (attribution < settings.background_max)
    if settings.erode_background:
        background = ndimage.binary_erosion(background, border_value=not settings.erode_border)
    return foreground, background


def _with_complement(proposals: NDArray[np.bool_]) -> NDArray[np.bool_]:
    candidates = np.concatenate([~proposals.any(axis=0, keepdims=True), proposals])
    kept: NDArray[np.bool_] = candidates[candidates.any(axis=(1, 2))]
    return kept


def _owners(attribution: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return, for each pixel, the rank of the best mask that covers it by Eq. 1's score; rank 0 is the best."""
    scores = np.array([attribution[mask].mean(dtype=np.float64) for mask in masks])
    ranked = masks[np.argsort(-scores, kind="stable")]
    owners: NDArray[np.intp] = ranked.argmax(axis=0)  # The first mask that covers the pixel; every pixel has one.
    return owners
