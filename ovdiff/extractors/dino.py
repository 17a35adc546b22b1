"""DINO features: keys of a block of a self-supervised vision transformer (A.11)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import ViTModel

from ovdiff.errors import PresetError
from ovdiff.extractors import Purpose
from ovdiff.extractors.keys import output_of, tokens_to_grid
from ovdiff.extractors.pixels import images_to_pixels, input_size_hw
from ovdiff.presets.schema import DinoFeatureSettings


class DinoExtractor:
    """Keys with all heads side by side; of the block that is read, nothing but its keys is computed."""

    def __init__(self, vit: ViTModel, settings: DinoFeatureSettings) -> None:
        """Use a vision transformer.

        Raises:
            PresetError: it has no such block.
        """
        if not -len(vit.layers) <= settings.layer < len(vit.layers):
            raise PresetError(
                f"extractors.dino.layer is {settings.layer}; this transformer has {len(vit.layers)} blocks."
            )
        self._keys = vit.layers[settings.layer].attention.k_proj
        self._vit, self._settings = vit, settings

    def extract(self, images: NDArray[np.uint8], purpose: Purpose) -> Tensor:
        """Return keys (B, D, h, w) float32 of images (B, H, W, 3) uint8; support images are stretched."""
        settings = self._settings
        if purpose == "support":
            return self.keys(images, settings.support_px)
        size_hw = input_size_hw(images.shape[1:3], settings.window_px, settings.aspect, self._patch_px)
        return self._keys_at(images, size_hw)

    def keys(self, images: NDArray[np.uint8], size_px: int) -> Tensor:
        """Return keys (B, D, h, w) float32 of images stretched to a square of ``size_px``."""
        return self._keys_at(images, input_size_hw(images.shape[1:3], size_px, "stretch", self._patch_px))

    @property
    def _patch_px(self) -> int:
        return int(self._vit.config.patch_size)

    def _keys_at(self, images: NDArray[np.uint8], size_hw: tuple[int, int]) -> Tensor:
        pixels = images_to_pixels(images, size_hw, self._settings.statistics, self._keys.weight)
        tokens = output_of(self._keys, lambda: self._vit(pixels, interpolate_pos_encoding=True))
        return tokens_to_grid(tokens, (size_hw[0] // self._patch_px, size_hw[1] // self._patch_px))
