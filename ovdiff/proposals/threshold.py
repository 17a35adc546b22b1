"""Thresholds of attribution maps (A.4.5, A.4.6). Never imports torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets.schema import ProposalSettings


class Thresholds(NamedTuple):
    """Foreground is attribution above the first value, background is attribution below the second."""

    foreground: float
    background: float


def fixed_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return the preset's own pair for each of the (N, H, W) maps."""
    return [Thresholds(settings.fixed_foreground, settings.fixed_background)] * len(attributions)


def otsu_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return Otsu's threshold of each map; background lies below it and below ``fixed_background``."""
    return [_otsu(attribution, settings) for attribution in attributions]


def multi_otsu_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return one pair for the whole category, from three-class Otsu over all its maps (A.4.6).

    Maps of fewer than three distinct values have no such pair; they take the fixed one.
    """
    from skimage.filters import threshold_multiotsu

    try:
        background, foreground = threshold_multiotsu(attributions.reshape(len(attributions), -1), classes=3)
    except ValueError:
        return fixed_thresholds(attributions, settings)
    return [Thresholds(float(foreground), float(background))] * len(attributions)


def _otsu(attribution: NDArray[np.float32], settings: ProposalSettings) -> Thresholds:
    from skimage.filters import threshold_otsu

    if attribution.min() == attribution.max():
        return Thresholds(settings.fixed_foreground, settings.fixed_background)
    foreground = float(threshold_otsu(attribution))
    return Thresholds(foreground, min(foreground, settings.fixed_background))
