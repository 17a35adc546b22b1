"""DINO features (A.11): a self-supervised ViT with patches of 8 px. MaskCut computes affinities from DINO's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovdiff.extractors.transformer import TransformerExtractor, VisionTransformer
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings

if TYPE_CHECKING:
    from transformers import ViTModel


def make_extractor(preset: Preset, models: LoadedModels) -> TransformerExtractor:
    """Make the extractor of a preset."""
    vit = dino_transformer(models.vit(preset.models.given("dino", ModelSettings)))
    return TransformerExtractor(vit, preset.extractors.dino, "extractors.dino")


def dino_transformer(vit: ViTModel) -> VisionTransformer:
    """Describe a ViT whose position embeddings are resized to the input."""
    return VisionTransformer(
        keys=[block.attention.k_proj for block in vit.layers],
        encode=lambda pixels: vit(pixels, interpolate_pos_encoding=True).last_hidden_state,
        patch_px=int(vit.config.patch_size),
    )
