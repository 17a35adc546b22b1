"""DINOv2 features (A.11): patches of 14 px, and tokens that were trained to be used as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ovdiff.extractors.transformer import TransformerExtractor, VisionTransformer
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings

if TYPE_CHECKING:
    from transformers import Dinov2Model


def make_extractor(preset: Preset, models: LoadedModels) -> TransformerExtractor:
    """Make the extractor of a preset."""
    vit = dinov2_transformer(models.dinov2(preset.models.given("dinov2", ModelSettings)))
    return TransformerExtractor(vit, preset.extractors.dinov2, "extractors.dinov2")


def dinov2_transformer(vit: Dinov2Model) -> VisionTransformer:
    """Describe a DINOv2; it resizes its position embeddings by itself."""
    return VisionTransformer(
        keys=[_keys(block.attention) for block in vit.encoder.layer],
        encode=lambda pixels: vit(pixels).last_hidden_state,
        patch_px=int(vit.config.patch_size),
    )


def _keys(attention: nn.Module) -> nn.Linear:
    """Return the layer that makes the keys; transformers before 5.20 or so has it one floor deeper, by another name."""
    found = attention.k_proj if hasattr(attention, "k_proj") else attention.attention.key  # type: ignore[union-attr]
    assert isinstance(found, nn.Linear)
    return found
