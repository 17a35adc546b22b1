from dataclasses import replace

import numpy as np
import torch

from ovdiff.extractors.dinov2 import dinov2_transformer
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets import Preset


def test_features_are_patch_tokens_or_keys(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    vit, settings = models.dinov2(preset.models.dinov2), preset.extractors.dinov2
    pixels = images_to_pixels(image[None], (56, 56), "imagenet", torch.zeros(1))
    output = vit(pixels, output_hidden_states=True)
    block = vit.encoder.layer[-1]
    keys = block.attention.k_proj(block.norm1(output.hidden_states[-2]))
    for feature, expected in (("tokens", output.last_hidden_state), ("keys", keys)):
        chosen = replace(settings, feature=feature)
        found = TransformerExtractor(dinov2_transformer(vit), chosen, "").extract(image[None], "support")
        torch.testing.assert_close(found, expected[:, 1:].transpose(1, 2).reshape(1, -1, 4, 4), rtol=1e-4, atol=1e-5)
