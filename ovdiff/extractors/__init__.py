"""Image to dense features (A.11): one Protocol, one dict. A new extractor is one file and one line here.

Its file has ``make_extractor(preset, models) -> Extractor``. This module imports no model library.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from ovdiff.extractors.extractor import Extractor
from ovdiff.presets import Preset
from ovdiff.presets.schema import ExtractorName

if TYPE_CHECKING:
    from ovdiff.models.loaded import LoadedModels


def _from(module: str) -> Callable[[Preset, "LoadedModels"], Extractor]:
    """Return a maker that imports its file only when it is called: a preset's extractors bring their own libraries."""

    def make(preset: Preset, models: "LoadedModels") -> Extractor:
        extractor: Extractor = import_module(f"{__name__}.{module}").make_extractor(preset, models)
        return extractor

    return make


EXTRACTORS: dict[ExtractorName, Callable[[Preset, "LoadedModels"], Extractor]] = {
    "stable_diffusion": _from("stable_diffusion"),
    "clip": _from("clip"),
    "dino": _from("dino"),
    "dinov2": _from("dinov2"),
    "dinov3": _from("dinov3"),
    "mae": _from("mae"),
}


class Extractors:
    """The extractors of one preset, each made when first asked for. Each use happens inside ``with models.lock``."""

    def __init__(self, preset: Preset, models: "LoadedModels") -> None:
        """Load nothing yet."""
        self._preset, self._models = preset, models
        self._made: dict[ExtractorName, Extractor] = {}

    def __getitem__(self, name: ExtractorName) -> Extractor:
        """Return an extractor by its name.

        Raises:
            WeightsError: its model cannot be loaded.
        """
        if name not in self._made:
            self._made[name] = EXTRACTORS[name](self._preset, self._models)
        return self._made[name]
