"""Extractors turn images into dense features (A.11). The table of all extractors is in :mod:`ovdiff.presets.needs`.

This module never imports torch.
"""

from typing import TYPE_CHECKING

from ovdiff.extractors.extractor import Extractor
from ovdiff.presets import Preset
from ovdiff.presets.needs import EXTRACTORS

if TYPE_CHECKING:
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
            self._made[name] = EXTRACTORS[name].maker(f"extractors.use {name!r}")(self._preset, self._models)
        return self._made[name]
