"""Features of a vision transformer (A.11): the keys of one block, or the tokens after its last block.

DINO, DINOv2, DINOv3 and MAE share this extractor. Each of their modules describes its model by a
:class:`VisionTransformer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovdiff.extractors.extractor import Purpose
from ovdiff.extractors.sizes import purpose_size_hw, square_hw
from ovdiff.models.keys import check_block, output_of, tokens_to_grid
from ovdiff.models.pixels import Images, images_to_pixels
from ovdiff.presets.part_settings import TransformerFeatureSettings


@dataclass(frozen=True)
class VisionTransformer:
    """The facts that an extractor needs about a transformer.

    Attributes:
        keys: for each block in order, the layer that makes the keys of all heads.
        encode: turns pixels (B, 3, h * patch_px, w * patch_px) into the last block's normalised tokens
            (B, prefix + h * w, D).
        patch_px: the side of a patch.
        prefix: how many tokens stand before the patches: CLS, and the register tokens if the model has any.
    """

    keys: Sequence[nn.Linear]
    encode: Callable[[Tensor], Tensor]
    patch_px: int
    prefix: int = 1


class TransformerExtractor:
    """Extracts keys, with all heads side by side, or tokens. For keys, the pass ends as soon as they are computed."""

    takes_tensors = True

    def __init__(self, vit: VisionTransformer, settings: TransformerFeatureSettings, field: str) -> None:
        """Use a vision transformer.

        Args:
            vit: the transformer.
            settings: the preset's settings of this extractor.
            field: the preset's table of these settings, such as "extractors.dino", for messages.

        Raises:
            PresetError: the transformer has no such block.
        """
        check_block(f"{field}.layer", settings.layer, len(vit.keys))
        self._vit, self._settings = vit, settings

    def extract(self, images: Images, purpose: Purpose) -> Tensor:
        """Return features (B, D, h, w) float32 of images (B, H, W, 3) uint8; support images are stretched."""
        size_hw = purpose_size_hw(images.shape[1:3], self._settings, purpose, self._vit.patch_px)
        if self._settings.feature == "keys":
            return self._keys(images, size_hw)
        with torch.inference_mode():
            return self._to_grid(self._vit.encode(self._pixels(images, size_hw)), size_hw)

    def keys(self, images: Images, size_px: int) -> Tensor:
        """Return keys (B, D, h, w) float32 of images stretched to a square of ``size_px``."""
        return self._keys(images, square_hw(size_px, self._vit.patch_px))

    def _keys(self, images: Images, size_hw: tuple[int, int]) -> Tensor:
        pixels = self._pixels(images, size_hw)
        keys = self._vit.keys[self._settings.layer]
        return self._to_grid(output_of(keys, lambda: self._vit.encode(pixels)), size_hw)

    def _pixels(self, images: Images, size_hw: tuple[int, int]) -> Tensor:
        settings, like = self._settings, self._vit.keys[0].weight
        return images_to_pixels(images, size_hw, settings.statistics, like, settings.resampling)

    def _to_grid(self, tokens: Tensor, size_hw: tuple[int, int]) -> Tensor:
        grid_hw = size_hw[0] // self._vit.patch_px, size_hw[1] // self._vit.patch_px
        return tokens_to_grid(tokens, grid_hw, self._vit.prefix)
