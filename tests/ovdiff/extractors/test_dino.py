import numpy as np
import torch

from ovdiff.extractors.dino import dino_transformer, make_extractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets import Preset


def test_features_are_the_keys_of_the_last_block(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    found = make_extractor(preset, models).extract(image[None], "support")
    vit = models.vit(preset.models.dino)
    pixels = images_to_pixels(image[None], (64, 64), "half", torch.zeros(1))
    states = vit(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states
    block = vit.layers[-1]
    keys = block.attention.k_proj(block.layernorm_before(states[-2]))[0, 1:]
    torch.testing.assert_close(found[0], keys.reshape(8, 8, -1).permute(2, 0, 1), rtol=1e-4, atol=1e-5)


def test_keys_at_another_size_interpolate_positions(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    assert make_extractor(preset, models).keys(image[None], 120).shape == (1, 128, 15, 15)


def test_tokens_are_normalised_by_the_model(preset: Preset, models: LoadedModels) -> None:
    vit = models.vit(preset.models.dino)
    tokens = dino_transformer(vit).encode(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(tokens, vit(torch.zeros(1, 3, 64, 64)).last_hidden_state)
