import pytest
from diffusers import UNet2DConditionModel

from ovdiff.errors import PresetError
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset


@pytest.fixture(scope="module")
def unet(preset: Preset, models: LoadedModels) -> UNet2DConditionModel:
    return models.diffusion(preset.models.generator).unet


def test_no_prefix_selects_every_cross_attention(unet: UNet2DConditionModel) -> None:
    layers = cross_attention_layers(unet, [])
    assert len(layers) == 3 + 1 + 6  # one a down block, one in the middle, two an up block
    assert all(name.endswith(".attn2") for name in layers)


def test_prefix_ends_at_a_dot(unet: UNet2DConditionModel) -> None:
    names = cross_attention_layers(unet, ["up_blocks.1"])
    assert len(names) == 2 and all(name.startswith("up_blocks.1.") for name in names)
    with pytest.raises(PresetError, match=r"starts with 'up_blocks.1.attention'. This UNet has: down_blocks"):
        cross_attention_layers(unet, ["up_blocks.1.attention"])


def test_order_is_the_unet_s_whatever_the_prefixes_order(unet: UNet2DConditionModel) -> None:
    prefixes = ["up_blocks.3", "down_blocks.0"]
    assert list(cross_attention_layers(unet, prefixes)) == list(cross_attention_layers(unet, prefixes[::-1]))
