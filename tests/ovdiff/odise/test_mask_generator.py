import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from ovdiff.errors import PresetError
from ovdiff.odise.mask_generator import FeaturePyramid, MaskGenerator, PooledEmbedding, TapProjection
from ovdiff.odise.preset import OdisePreset

CHANNELS, STRIDES = [4, 6, 6, 8], (2, 4, 8, 16)


@pytest.fixture
def taps() -> list[Tensor]:
    torch.manual_seed(0)
    sides = (32, 16, 8, 4)
    return [torch.randn(2, width, side, side) for width, side in zip(CHANNELS, sides, strict=True)]


def test_a_mask_is_embedded_by_the_mean_of_the_features_inside_it() -> None:
    """C.1: mean where sigmoid(mask) > 0.5, layer norm and linear, plus the query, layer norm, MLP."""
    torch.manual_seed(0)
    embed = PooledEmbedding(5, 6, 3, layers=3).double()
    features, logits = torch.randn(2, 5, 4, 4).double(), torch.randn(2, 3, 4, 4).double()
    queries = torch.randn(2, 3, 6).double()
    logits[1, 2] = -1.0  # a mask without a pixel
    found = embed(features, logits, queries)
    linears = [part for part in embed.mlp if isinstance(part, nn.Linear)]
    assert len(linears) == 3
    for image in range(2):
        for query in range(3):
            inside = [
                features[image, :, row, column]
                for row in range(4)
                for column in range(4)
                if 1 / (1 + math.exp(-float(logits[image, query, row, column]))) > 0.5
            ]
            mean = torch.stack(inside).sum(dim=0) / len(inside) if inside else torch.zeros(5).double()
            norm, linear = embed.pooled
            state = linear(F.layer_norm(mean, (5,), norm.weight, norm.bias)) + queries[image, query]
            state = F.layer_norm(state, (6,), embed.norm.weight, embed.norm.bias)
            for number, layer in enumerate(linears):
                state = layer(state if number == 0 else F.relu(state))
            assert torch.allclose(found[image, query], state, atol=1e-12)


def test_no_gradient_flows_through_the_choice_of_pixels() -> None:
    embed = PooledEmbedding(5, 6, 3, layers=3)
    features, logits = torch.randn(1, 5, 4, 4, requires_grad=True), torch.randn(1, 2, 4, 4, requires_grad=True)
    embed(features, logits, torch.randn(1, 2, 6)).sum().backward()
    assert logits.grad is None
    assert features.grad is not None and features.grad.any()


def test_taps_of_one_stride_are_projected_and_summed(odise_preset: OdisePreset) -> None:
    settings = odise_preset.mask_generator
    pyramid = FeaturePyramid([3, 5, 4], (4, 8), settings)
    taps = [torch.randn(1, 3, 8, 8), torch.randn(1, 5, 4, 4), torch.randn(1, 4, 8, 8)]
    fine, coarse = pyramid(taps, (32, 32))
    assert torch.equal(fine, pyramid.taps[0](taps[0]) + pyramid.taps[2](taps[2]))
    assert torch.equal(coarse, pyramid.taps[1](taps[1]))


@pytest.mark.parametrize("fitting", ["nearest", "bilinear"])
def test_a_tap_beyond_the_levels_is_resized_to_the_nearest(odise_preset: OdisePreset, fitting: str) -> None:
    """C.1: strides are clipped to the levels."""
    pyramid = FeaturePyramid([3, 3, 3, 3], (4, 8), odise_preset.mask_generator, fitting)
    taps = [torch.randn(1, 3, side, side) for side in (16, 8, 4, 2)]  # strides 2, 4, 8, 16
    levels = pyramid(taps, (32, 32))
    fitted = [F.interpolate(taps[0], (8, 8), mode=fitting), F.interpolate(taps[3], (4, 4), mode=fitting)]
    assert torch.equal(levels[0], pyramid.taps[0](fitted[0]) + pyramid.taps[1](taps[1]))
    assert torch.equal(levels[1], pyramid.taps[2](taps[2]) + pyramid.taps[3](fitted[1]))


def test_a_level_without_a_tap_is_named(odise_preset: OdisePreset) -> None:
    pyramid = FeaturePyramid([3], (4, 8), odise_preset.mask_generator)
    with pytest.raises(PresetError, match=r"No tap .* has stride 8, which taps\.strides asks for\. Name a module"):
        pyramid([torch.randn(1, 3, 8, 8)], (32, 32))


def test_a_projection_is_a_residual_bottleneck(odise_preset: OdisePreset) -> None:
    settings = odise_preset.mask_generator
    block, tap = TapProjection(6, settings), torch.randn(2, 6, 5, 5)
    states = tap
    for number, part in enumerate((block.reduce, block.mix, block.expand)):
        convolution, norm = part
        padding = convolution.kernel_size[0] // 2
        states = F.group_norm(
            F.conv2d(states, convolution.weight, padding=padding), settings.norm_groups, norm.weight, norm.bias
        )
        states = states.relu() if number < 2 else states
    convolution, norm = block.shortcut
    shortcut = F.group_norm(F.conv2d(tap, convolution.weight), settings.norm_groups, norm.weight, norm.bias)
    assert torch.allclose(block(tap), (states + shortcut).relu(), atol=1e-5)
    assert block.mix[0].kernel_size == (3, 3)
    assert block.mix[0].weight.shape[:2] == (settings.bottleneck, settings.bottleneck)


def test_every_layer_gives_masks_in_training_and_the_last_one_else(
    odise_preset: OdisePreset, taps: list[Tensor]
) -> None:
    torch.manual_seed(0)
    generator = MaskGenerator(CHANNELS, STRIDES, odise_preset.mask_generator, 24, 3)
    layers = generator.train()(taps, (64, 64))
    assert len(layers) == odise_preset.mask_generator.decoder_layers + 1
    for masks in layers:
        assert masks.logits.shape == (2, 12, 32, 32)
        assert masks.embeddings.shape == (2, 12, 24)
    only = generator.eval()(taps, (64, 64))
    assert len(only) == 1
    assert torch.allclose(only[0].logits, layers[-1].logits, atol=1e-5)
    assert torch.allclose(only[0].embeddings, layers[-1].embeddings, atol=1e-5)


def test_first_weights_are_drawn_and_finite(odise_preset: OdisePreset) -> None:
    """The library initialises nothing of parts that are used alone: level embeddings would be raw memory."""
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(MaskGenerator(CHANNELS, STRIDES, odise_preset.mask_generator, 24, 3).state_dict())
    for name, value in made[0].items():
        assert torch.isfinite(value).all(), name
        assert torch.equal(value, made[1][name]), name
        assert value.abs().max() < 20, name


def test_dropout_is_off_when_a_head_is_used(odise_preset: OdisePreset, taps: list[Tensor]) -> None:
    settings = replace(odise_preset.mask_generator, dropout=0.5)
    generator = MaskGenerator(CHANNELS, STRIDES, settings, 24, 3).eval()
    assert torch.equal(generator(taps, (64, 64))[0].logits, generator(taps, (64, 64))[0].logits)


class GivenLevels(nn.Module):
    """Stands for the library's backbone: gives a pyramid that was computed elsewhere."""

    def __init__(self, levels: list[Tensor]) -> None:
        super().__init__()
        self.feature_maps = levels

    def forward(self, _pixels: Tensor) -> "GivenLevels":
        return self


@torch.no_grad()
def test_masks_are_those_of_the_library_s_own_model_on_equal_weights(
    odise_preset: OdisePreset, taps: list[Tensor]
) -> None:
    """transformers' whole Mask2Former, whose backbone is replaced by our pyramid, gives the same masks."""
    settings = odise_preset.mask_generator
    torch.manual_seed(0)
    ours = MaskGenerator(CHANNELS, STRIDES, settings, 24, 3).train()
    swin = SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=[f"stage{i}" for i in range(1, 5)]
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=settings.hidden,
        mask_feature_size=settings.mask_channels,
        hidden_dim=settings.hidden,
        encoder_feedforward_dim=settings.encoder_ffn,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers + 1,
        dim_feedforward=settings.decoder_ffn,
        num_attention_heads=settings.heads,
        dropout=0.0,
        num_queries=settings.queries,
        common_stride=STRIDES[0],
        feature_strides=list(STRIDES),
    )
    theirs = Mask2FormerForUniversalSegmentation(config)
    pixels = theirs.model.pixel_level_module
    pixels.encoder = GivenLevels(ours.pyramid(taps, (64, 64)))
    pixels.decoder = Mask2FormerPixelDecoder(config, feature_channels=[settings.level_channels] * 4)
    pixels.decoder.load_state_dict(ours.pixels.state_dict())
    theirs.model.transformer_module.load_state_dict(ours.queries.state_dict())
    expected = theirs.eval()(torch.zeros(2, 3, 64, 64), output_auxiliary_logits=True)
    found = ours(taps, (64, 64))
    masks = [each["masks_queries_logits"] for each in expected.auxiliary_logits] + [expected.masks_queries_logits]
    assert len(found) == len(masks) == settings.decoder_layers + 1
    for one, other in zip(found, masks, strict=True):
        assert torch.allclose(one.logits, other, atol=1e-4)
    last = expected.transformer_decoder_last_hidden_state
    features = expected.pixel_decoder_last_hidden_state
    assert torch.allclose(found[-1].embeddings, ours.embed(features, masks[-1], last), atol=1e-4)
