"""Proposals: class-agnostic masks, for the foreground of support images (A.3, D) and for the objects of an image.

A proposal source is a :class:`Proposer` or a :class:`Thresholder`. The table of all sources is in
:mod:`ovdiff.presets.needs`. Never imports torch.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import PresetError
from ovdiff.presets import Preset
from ovdiff.presets.needs import PROPOSALS, object_part
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


def make_object_proposer(preset: Preset, models: "LoadedModels") -> Proposer:
    """Make the proposal source that finds the objects of an image, for a preset whose method is "proposals".

    Raises:
        PresetError: the preset's method is another one, its source reads attribution maps, or there is an error as in
            `make_source`.
        WeightsError: its model cannot be loaded.
    """
    found = object_part(preset)
    if found is None:
        raise PresetError(f"instances.method is {preset.instances.method!r}; expected 'proposals' to make proposals.")
    name = found.path.partition(".")[2]
    source = make_source(replace(preset, proposals=replace(preset.proposals, source=name)), models)
    if not isinstance(source, Proposer):
        raise PresetError(
            f"The proposal source {name!r} thresholds attribution maps, which an image that is segmented does not "
            f"have. Set instances.source to a source that reads images, such as 'maskcut'."
        )
    return source
