"""Proposals: the candidates for foreground and background of a support image (A.3, D).

A proposal source is a :class:`Proposer` or a :class:`Thresholder`. The table of all sources is in
:mod:`ovdiff.presets.needs`. Never imports torch.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import PresetError
from ovdiff.presets import Preset
from ovdiff.presets.needs import PROPOSALS
from ovdiff.proposals.threshold import Thresholds

if TYPE_CHECKING:
    from ovdiff.models.loaded import LoadedModels


@runtime_checkable
class Proposer(Protocol):
    """Finds class-agnostic masks, among which Eq. 1 chooses (:func:`ovdiff.building.support.choose_masks`)."""

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return masks (J, H, W) of an (H, W, 3) uint8 RGB image. J may be 0, and masks may overlap."""
        ...


@runtime_checkable
class Thresholder(Protocol):
    """Finds thresholds of the attribution maps themselves, without the images."""

    def thresholds(self, attributions: NDArray[np.float32]) -> list[Thresholds]:
        """Return one pair of thresholds for each of one category's attribution maps (N, H, W), in [0, 1]."""
        ...


def make_source(preset: Preset, models: "LoadedModels") -> Proposer | Thresholder:
    """Make the proposal source of a preset.

    Raises:
        PresetError: there is no source of this name, a package that it needs is not installed, or its maker returns no
            proposal source.
        WeightsError: its model cannot be loaded.
    """
    name = preset.proposals.source
    source = PROPOSALS[name].make_one(f"proposals.source {name!r}", preset, models)
    if not isinstance(source, Proposer | Thresholder):
        raise PresetError(
            f"The proposal source {name!r} is {type(source).__name__}; expected an object with propose(image) or "
            f"thresholds(attributions)."
        )
    return source
