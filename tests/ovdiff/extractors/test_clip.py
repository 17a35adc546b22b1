from dataclasses import replace

import numpy as np
import torch

from ovdiff.extractors.clip import ClipExtractor
from ovdiff.extractors.pixels import images_to_pixels
from ovdiff.models import Models
from ovdiff.presets import Preset


def test_features_are_the_keys_of_the_second_to_last_block(preset: Preset, models: Models, image: np.ndarray) -> None:
    vision = models.clip(preset.models.clip).vision_model
    found = ClipExtractor(vision, preset.extractors.clip).extract(image[None], "support")
    pixels = images_to_pixels(image[None], (64, 64), "half", torch.zeros(1))
    states = vision(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states
    block = vision.encoder.layers[-2]
    keys = block.self_attn.k_proj(block.layer_norm1(states[-3]))[0, 1:]  # without CLS
    expected = keys.reshape(8, 8, -1).permute(2, 0, 1)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_later_blocks_never_run(preset: Preset, models: Models, image: np.ndarray) -> None:
    vision = models.clip(preset.models.clip).vision_model
    runs: list[int] = []
    handles = [
        layer.register_forward_hook(lambda *_, number=number: runs.append(number))
        for number, layer in enumerate(vision.encoder.layers)
    ]
    ClipExtractor(vision, preset.extractors.clip).extract(image[None], "window")
    for handle in handles:
        handle.remove()
    assert runs == [0, 1]  # block 2 is left in the middle, block 3 never begun


def test_window_aspect_may_be_kept_and_statistics_matter(preset: Preset, models: Models) -> None:
    vision = models.clip(preset.models.clip).vision_model
    wide = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    kept = ClipExtractor(vision, replace(preset.extractors.clip, aspect="keep"))
    assert kept.extract(wide, "window").shape[2:] == (4, 8)
    assert kept.extract(wide, "support").shape[2:] == (8, 8)
    other = ClipExtractor(vision, replace(preset.extractors.clip, aspect="keep", statistics="imagenet"))
    assert not torch.allclose(kept.extract(wide, "window"), other.extract(wide, "window"))
