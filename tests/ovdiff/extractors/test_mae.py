from dataclasses import replace

import numpy as np
import torch

from ovdiff.extractors.mae import mae_transformer
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets import Preset


def test_patches_are_all_there_and_in_order(preset: Preset, models: LoadedModels) -> None:
    """A patch's token follows the patch: brighten one and it is that token that changes most."""
    vit = models.mae(preset.models.mae)
    assert vit.config.mask_ratio == 0
    dark, bright = torch.zeros(2, 1, 3, 64, 64)
    bright[..., 16:32, 48:64] = 3.0  # patch (1, 3) of 4 x 4
    encode = mae_transformer(vit).encode
    with torch.inference_mode():
        changes = (encode(bright) - encode(dark))[0, 1:].norm(dim=1)
    assert len(changes) == 16 and int(changes.argmax()) == 1 * 4 + 3


def test_features_are_the_same_every_time(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    vit, settings = models.mae(preset.models.mae), preset.extractors.mae
    for feature in ("keys", "tokens"):
        extractor = TransformerExtractor(mae_transformer(vit), replace(settings, feature=feature), "")
        assert torch.equal(extractor.extract(image[None], "window"), extractor.extract(image[None], "window"))


def test_keys_are_the_last_block_s(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    vit = models.mae(preset.models.mae)
    found = TransformerExtractor(mae_transformer(vit), preset.extractors.mae, "").extract(image[None], "support")
    pixels = images_to_pixels(image[None], (64, 64), "imagenet", torch.zeros(1))
    hidden, _, _ = vit.embeddings(pixels, noise=torch.arange(16.0)[None], interpolate_pos_encoding=True)
    for block in vit.layers[:-1]:
        hidden = block(hidden)
    last = vit.layers[-1]
    keys = last.attention.k_proj(last.layernorm_before(hidden))
    torch.testing.assert_close(found, keys[:, 1:].transpose(1, 2).reshape(1, -1, 4, 4), rtol=1e-4, atol=1e-5)
