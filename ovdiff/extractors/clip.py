"""CLIP features: keys of the second-to-last block of the image encoder (A.11)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPVisionModel

from ovdiff.errors import PresetError
from ovdiff.extractors import Purpose
from ovdiff.extractors.keys import output_of, tokens_to_grid
from ovdiff.extractors.pixels import images_to_pixels, input_size_hw
from ovdiff.presets.schema import ClipFeatureSettings


class ClipExtractor:
    """Keys with all heads side by side; blocks after the one that is read are not run."""

    def __init__(self, vision: CLIPVisionModel, settings: ClipFeatureSettings) -> None:
        """Use a CLIP image encoder.

        Raises:
            PresetError: the encoder has no such block.
        """
        blocks = vision.encoder.layers
        if not -len(blocks) <= settings.layer < len(blocks):
            raise PresetError(f"extractors.clip.layer is {settings.layer}; this CLIP has {len(blocks)} blocks.")
        self._keys = blocks[settings.layer].self_attn.k_proj
        self._vision, self._settings = vision, settings

    def extract(self, images: NDArray[np.uint8], purpose: Purpose) -> Tensor:
        """Return keys (B, D, h, w) float32 of images (B, H, W, 3) uint8; support images are stretched."""
        settings, patch = self._settings, self._vision.config.patch_size
        if purpose == "support":
            size_hw = input_size_hw(images.shape[1:3], settings.support_px, "stretch", patch)
        else:
            size_hw = input_size_hw(images.shape[1:3], settings.window_px, settings.aspect, patch)
        pixels = images_to_pixels(images, size_hw, settings.statistics, self._keys.weight)
        tokens = output_of(self._keys, lambda: self._vision(pixels, interpolate_pos_encoding=True))
        return tokens_to_grid(tokens, (size_hw[0] // patch, size_hw[1] // patch))
