from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ovdiff.errors import PresetError
from ovdiff.extractors.transformer import TransformerExtractor, VisionTransformer
from ovdiff.presets.part_settings import TransformerFeatureSettings

SETTINGS = TransformerFeatureSettings(layer=-2, statistics="half", support_px=16, window_px=24)


class TinyTransformer(nn.Module):
    """Patches of 8 px are their mean colours, behind two tokens of ones; blocks add, the end doubles."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.runs = 0

    def forward(self, pixels: Tensor) -> Tensor:
        patches = nn.functional.avg_pool2d(pixels, 8).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.ones(len(pixels), 2, 3), patches], dim=1)
        for keys in self.keys:
            self.runs += 1
            tokens = tokens + keys(tokens)
        return tokens * 2

    def described(self) -> VisionTransformer:
        return VisionTransformer(list(self.keys), self, patch_px=8, prefix=2)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)


def test_keys_are_a_block_s_and_nothing_after_it_is_run(images: np.ndarray) -> None:
    model = TinyTransformer()
    found = TransformerExtractor(model.described(), SETTINGS, "extractors.x").extract(images, "support")
    assert found.shape == (2, 3, 2, 2) and model.runs == 2


def test_tokens_are_the_whole_encoder_s_without_the_prefix(images: np.ndarray) -> None:
    model = TinyTransformer()
    settings = replace(SETTINGS, feature="tokens")
    found = TransformerExtractor(model.described(), settings, "extractors.x").extract(images[:, :, :16], "support")
    pixels = torch.tensor(images[:, :, :16]).permute(0, 3, 1, 2) / 127.5 - 1
    expected = model(pixels)[:, 2:].transpose(1, 2).reshape(2, 3, 2, 2)
    torch.testing.assert_close(found, expected)


def test_support_images_are_stretched_and_windows_as_the_settings_say(images: np.ndarray) -> None:
    vit = TinyTransformer().described()
    stretched = TransformerExtractor(vit, SETTINGS, "extractors.x")
    kept = TransformerExtractor(vit, replace(SETTINGS, aspect="keep"), "extractors.x")
    assert stretched.extract(images, "window").shape[2:] == (3, 3)
    assert kept.extract(images, "window").shape[2:] == (2, 4)
    assert kept.extract(images, "support").shape[2:] == (2, 2)
    assert kept.keys(images, 40).shape == (2, 3, 5, 5)


def test_an_unknown_block_is_refused_by_the_name_of_its_field() -> None:
    vit = TinyTransformer().described()
    with pytest.raises(PresetError, match=r"extractors\.x\.layer is 3; this transformer has 3 blocks, 0 to 2"):
        TransformerExtractor(vit, replace(SETTINGS, layer=3), "extractors.x")
