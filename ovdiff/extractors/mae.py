"""MAE features (A.11): MAE's encoder, which is given every patch of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ovdiff.extractors.transformer import TransformerExtractor, VisionTransformer
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings

if TYPE_CHECKING:
    from transformers import ViTMAEModel


def make_extractor(preset: Preset, models: LoadedModels) -> TransformerExtractor:
    """Make the extractor of a preset."""
    vit = mae_transformer(models.mae(preset.models.given("mae", ModelSettings)))
    return TransformerExtractor(vit, preset.extractors.mae, "extractors.mae")


def mae_transformer(vit: ViTMAEModel) -> VisionTransformer:
    """Describe an MAE whose configuration masks nothing; its position embeddings are resized to the input."""
    patch = int(vit.config.patch_size)

    def encode(pixels: Tensor) -> Tensor:
        # The library sorts patches by random numbers even if it masks none. Ascending numbers keep their order.
        patches = pixels.shape[2] // patch * (pixels.shape[3] // patch)
        order = torch.arange(patches, device=pixels.device).expand(len(pixels), -1)
        tokens: Tensor = vit(pixels, noise=order, interpolate_pos_encoding=True).last_hidden_state
        return tokens

    return VisionTransformer([block.attention.k_proj for block in vit.layers], encode, patch)
