"""Foreground and background candidates of a support image (A.3, D).

Two shapes of source, each a plain dict. A *proposer* finds class-agnostic masks in an image, among which
Eq. 1 chooses (:func:`ovdiff.building.support.choose_masks`); a *thresholder* cuts the attribution map itself. A new
source is one file and one line here. This module imports no model library.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.building.proposals.threshold import Thresholds, fixed_thresholds, multi_otsu_thresholds, otsu_thresholds
from ovdiff.extras import naming_the_extra
from ovdiff.models.licences import weights_licences
from ovdiff.presets import given
from ovdiff.presets.schema import DinoFeatureSettings, Preset, ProposalSettings

if TYPE_CHECKING:
    from ovdiff.models.loaded import LoadedModels


class Proposer(Protocol):
    """Finds class-agnostic masks."""

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return masks (J, H, W) of an (H, W, 3) uint8 RGB image; J may be 0, masks may overlap."""
        ...


def _maskcut(preset: Preset, models: "LoadedModels") -> Proposer:
    from ovdiff.building.proposals.maskcut import MaskCut
    from ovdiff.extractors.dino import dino_transformer
    from ovdiff.extractors.transformer import TransformerExtractor

    settings = preset.proposals.maskcut
    reads = DinoFeatureSettings(layer=settings.layer, statistics=settings.statistics)
    dino = dino_transformer(models.vit(given(preset, "dino")))
    return MaskCut(TransformerExtractor(dino, reads, "proposals.maskcut"), settings)


def _cutler(preset: Preset, models: "LoadedModels") -> Proposer:
    import torch

    with naming_the_extra("proposals.source 'cutler'"):
        from ovdiff.building.proposals.cutler import Cutler, load_cutler

    checkpoint = given(preset, "cutler")
    terms = next(entry.note for entry in weights_licences(preset) if entry.model == "cutler")
    network = load_cutler(checkpoint, terms, models.device)
    return Cutler(network, preset.proposals.cutler, getattr(torch, checkpoint.dtype))


def _detectron2(preset: Preset, models: "LoadedModels") -> Proposer:
    from ovdiff.building.proposals.detectron2 import Detectron2

    return Detectron2(preset.proposals.detectron2, models.device)


PROPOSERS: dict[str, Callable[[Preset, "LoadedModels"], Proposer]] = {
    "cutler": _cutler,
    "detectron2": _detectron2,
    "maskcut": _maskcut,
}

Thresholder = Callable[[NDArray[np.float32], ProposalSettings], list[Thresholds]]
"""Attribution maps (N, H, W) of one category, to one pair of thresholds an image."""

THRESHOLDERS: dict[str, Thresholder] = {
    "fixed": fixed_thresholds,
    "otsu": otsu_thresholds,
    "multi_otsu": multi_otsu_thresholds,
}
