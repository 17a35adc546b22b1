"""Extractors turn images into dense features (A.11). The table of all extractors is in :mod:`ovdiff.presets.needs`.

This module never imports torch.
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import PresetError
from ovdiff.extractors.extractor import Extractor, Purpose, TakesTensors
from ovdiff.presets import Preset
from ovdiff.presets.needs import EXTRACTORS

if TYPE_CHECKING:
    from torch import Tensor

    from ovdiff.models.loaded import LoadedModels


class Extractors:
    """The extractors of one preset. Each is made when it is first asked for, and used inside ``with models.lock``."""

    def __init__(self, preset: Preset, models: "LoadedModels") -> None:
        """Load no model yet."""
        self._preset, self._models = preset, models
        self._made: dict[str, Extractor] = {}

    def __getitem__(self, name: str) -> Extractor:
        """Return an extractor by its name.

        Raises:
            PresetError: there is no extractor of this name, or a package that it needs is not installed.
            WeightsError: its model cannot be loaded.
        """
        if name not in self._made:
            made = EXTRACTORS[name].make_one(f"extractors.use {name!r}", self._preset, self._models)
            if not isinstance(made, Extractor):
                expected = "an object with extract(images, purpose)"
                raise PresetError(f"The extractor {name!r} is {type(made).__name__}; expected {expected}.")
            self._made[name] = made
        return self._made[name]

    def extract(self, name: str, images: "NDArray[np.uint8] | Tensor", purpose: Purpose) -> "Tensor":
        """Return the features (B, D, h, w) float32 of images (B, H, W, 3) uint8 RGB by an extractor's name.

        Images that are a tensor are given as one to an extractor that takes that, and to others as an array.

        Raises:
            PresetError: as indexing does; or the extractor gives features of another shape or dtype.
            WeightsError: its model cannot be loaded.
        """
        extractor, given = self[name], cast(Any, images)  # the Protocol's own type is the array
        if not isinstance(images, np.ndarray) and not (isinstance(extractor, TakesTensors) and extractor.takes_tensors):
            given = images.numpy(force=True)
        features = extractor.extract(given, purpose)
        if features.ndim != 4 or len(features) != len(images) or str(features.dtype) != "torch.float32":
            raise PresetError(
                f"The extractor {name!r} gives {str(features.dtype).removeprefix('torch.')} features of shape "
                f"{tuple(features.shape)} for {len(images)} images; expected float32 of shape ({len(images)}, D, h, w)."
            )
        return features
