"""The proposal sources that threshold attribution maps (A.4.5, A.4.6). Never imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets import Preset
from ovdiff.presets.building_settings import ProposalSettings
from ovdiff.proposals.otsu import otsu_threshold, otsu_threshold_pair

_OTSU_CELLS = 64  # The side of the latent grid of 512 px, on which the released code finds its thresholds.


class Thresholds(NamedTuple):
    """Foreground is where attribution is above ``foreground``, background where it is below ``background``."""

    foreground: float
    background: float


Rule = Callable[[NDArray[np.float32], ProposalSettings], list[Thresholds]]
"""Returns one pair of thresholds for each of one category's attribution maps (N, H, W)."""


@dataclass(frozen=True)
class MapThresholder:
    """A proposal source that finds thresholds by one rule."""

    rule: Rule
    settings: ProposalSettings

    def thresholds(self, attributions: NDArray[np.float32]) -> list[Thresholds]:
        """Return one pair of thresholds for each of one category's attribution maps (N, H, W), in [0, 1]."""
        return self.rule(attributions, self.settings)


def make_fixed(preset: Preset, _models: object) -> MapThresholder:
    """Make the proposal source 'fixed' of a preset."""
    return MapThresholder(fixed_thresholds, preset.proposals)


def make_otsu(preset: Preset, _models: object) -> MapThresholder:
    """Make the proposal source 'otsu' of a preset."""
    return MapThresholder(otsu_thresholds, preset.proposals)


def make_multi_otsu(preset: Preset, _models: object) -> MapThresholder:
    """Make the proposal source 'multi_otsu' of a preset."""
    return MapThresholder(multi_otsu_thresholds, preset.proposals)


def fixed_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return the preset's fixed pair for each of the maps (N, H, W)."""
    return [Thresholds(settings.fixed_foreground, settings.fixed_background)] * len(attributions)


def otsu_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return Otsu's threshold of each map. Background is below that threshold and below ``fixed_background``.

    A map that is constant, except for rounding, takes the fixed pair.
    """
    return [_otsu(attribution, settings) for attribution in attributions]


def multi_otsu_thresholds(attributions: NDArray[np.float32], settings: ProposalSettings) -> list[Thresholds]:
    """Return one pair for the whole category, by Otsu's method for three classes over all its maps at 64 x 64 (A.4.6).

    Maps with fewer than three distinct values have no such pair; they take the fixed pair.
    """
    small = _average_pool(attributions, _OTSU_CELLS)
    try:
        background, foreground = otsu_threshold_pair(small)
    except ValueError:
        return fixed_thresholds(attributions, settings)
    return [Thresholds(foreground, background)] * len(attributions)


def _average_pool(maps: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Average square maps (N, S, S) over blocks so that at most ``most`` cells a side remain.

    Rows and columns at the end that fill no block are left out.
    """
    side = maps.shape[1]
    block = -(-side // most)
    cells = side // block
    blocks = maps[:, : cells * block, : cells * block].reshape(-1, cells, block, cells, block)
    return blocks.mean(axis=(2, 4))


def _otsu(attribution: NDArray[np.float32], settings: ProposalSettings) -> Thresholds:
    fixed = Thresholds(settings.fixed_foreground, settings.fixed_background)
    if attribution.min() == attribution.max():
        return fixed
    try:
        foreground = otsu_threshold(attribution)
    except ValueError:  # The map varies by rounding alone.
        return fixed
    return Thresholds(foreground, min(foreground, settings.fixed_background))
