"""DINOv3 features (A.11): patches of 16 px, rotary positions, and register tokens between CLS and the patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovdiff.extractors.transformer import TransformerExtractor, VisionTransformer
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel


def make_extractor(preset: Preset, models: LoadedModels) -> TransformerExtractor:
    """Make the extractor of a preset."""
    vit = dinov3_transformer(models.dinov3(preset.models.given("dinov3", ModelSettings)))
    return TransformerExtractor(vit, preset.extractors.dinov3, "extractors.dinov3")


def dinov3_transformer(vit: DINOv3ViTModel) -> VisionTransformer:
    """Describe a DINOv3. Its keys are read before their rotation, so that they hold content and no position."""
    return VisionTransformer(
        keys=[block.attention.k_proj for block in vit.model.layer],
        encode=lambda pixels: vit(pixels).last_hidden_state,
        patch_px=int(vit.config.patch_size),
        prefix=1 + vit.config.num_register_tokens,
    )
