"""Image to dense features (A.11): one Protocol, one dict. A new extractor is one file and one line here.

This module imports no model library; each extractor's builder does when it is called.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets import given
from ovdiff.presets.schema import ExtractorName, Preset

if TYPE_CHECKING:
    from torch import Tensor

    from ovdiff.models import Models

Purpose = Literal["support", "window"]
"""Support images and windows of a target image may be encoded at different sizes."""


class Extractor(Protocol):
    """Encodes images densely. Deterministic: equal images give equal features, in any batch."""

    def extract(self, images: NDArray[np.uint8], purpose: Purpose) -> "Tensor":
        """Return raw features (B, D, h, w) float32 of images (B, H, W, 3) uint8 RGB."""
        ...


def _stable_diffusion(preset: Preset, models: "Models") -> Extractor:
    from ovdiff.extractors.stable_diffusion import StableDiffusionExtractor

    pipeline = models.diffusion(given(preset, "stable_diffusion"))
    return StableDiffusionExtractor(pipeline, preset.extractors.stable_diffusion)


def _clip(preset: Preset, models: "Models") -> Extractor:
    from ovdiff.extractors.clip import ClipExtractor

    return ClipExtractor(models.clip(given(preset, "clip")).vision_model, preset.extractors.clip)


def _dino(preset: Preset, models: "Models") -> Extractor:
    from ovdiff.extractors.dino import DinoExtractor

    return DinoExtractor(models.vit(given(preset, "dino")), preset.extractors.dino)


EXTRACTORS: dict[ExtractorName, Callable[[Preset, "Models"], Extractor]] = {
    "stable_diffusion": _stable_diffusion,
    "clip": _clip,
    "dino": _dino,
}
