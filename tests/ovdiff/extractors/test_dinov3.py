from dataclasses import replace

import numpy as np
import torch

from ovdiff.extractors.dinov3 import dinov3_transformer
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets import Preset


def test_features_leave_out_cls_and_the_registers(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    vit, settings = models.dinov3(preset.models.dinov3), preset.extractors.dinov3
    pixels = images_to_pixels(image[None], (64, 64), "imagenet", torch.zeros(1))
    output = vit(pixels, output_hidden_states=True)
    block = vit.model.layer[-1]
    keys = block.attention.k_proj(block.norm1(output.hidden_states[-2]))
    assert output.last_hidden_state.shape[1] == 1 + 4 + 4 * 4
    for feature, expected in (("tokens", output.last_hidden_state), ("keys", keys)):
        chosen = replace(settings, feature=feature)
        found = TransformerExtractor(dinov3_transformer(vit), chosen, "").extract(image[None], "support")
        torch.testing.assert_close(found, expected[:, 5:].transpose(1, 2).reshape(1, -1, 4, 4), rtol=1e-4, atol=1e-5)
