"""The taps against whole forward passes with plain hooks, on the embedded models."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor, nn

from ovdiff.errors import PresetError
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.taps import Condition, DiffusionTaps


@pytest.fixture(scope="module")
def pipeline(odise_preset: OdisePreset, odise_parts: OdiseParts) -> StableDiffusionPipeline:
    return odise_parts.models.diffusion(odise_preset.models.diffusion)


@pytest.fixture(scope="module")
def taps(odise_parts: OdiseParts) -> DiffusionTaps:
    return odise_parts.encoder.taps


class Recorder:
    """Plain hooks that keep what goes into modules and let the pass run to its end."""

    def __init__(self, parent: nn.Module, names: tuple[str, ...]) -> None:
        self.names, self.seen = names, {}
        self.handles = [parent.get_submodule(name).register_forward_pre_hook(self._keeper(name)) for name in names]

    def _keeper(self, name: str) -> Any:
        def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.seen[name] = inputs[0].clone()

        return keep

    def values(self) -> list[Tensor]:
        for handle in self.handles:
            handle.remove()
        return [self.seen[name] for name in self.names]


def noised(pipeline: StableDiffusionPipeline, latents: Tensor, timestep: int, seed: int = 42) -> Tensor:
    """sqrt(a_t) x + sqrt(1 - a_t) noise, with one noise for all."""
    share = math.prod(1 - float(beta) for beta in pipeline.scheduler.betas[: timestep + 1])
    noise = torch.randn((1, *latents.shape[1:]), generator=torch.Generator().manual_seed(seed))
    return math.sqrt(share) * latents + math.sqrt(1 - share) * noise


def test_the_vae_s_taps_are_those_of_whole_passes(
    pipeline: StableDiffusionPipeline, taps: DiffusionTaps, odise_preset: OdisePreset, windows: NDArray[np.uint8]
) -> None:
    vae, settings = pipeline.vae, odise_preset.taps
    pixels = torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 127.5 - 1  # C.1: [0, 1] mapped to [-1, 1]
    encoder, decoder = Recorder(vae.encoder, settings.vae_encoder), Recorder(vae.decoder, settings.vae_decoder)
    with torch.no_grad():
        mean = vae.encode(pixels).latent_dist.mean
        vae.decode(mean)
    found = taps.vae(windows)
    assert torch.allclose(found.latents, mean * vae.config.scaling_factor, atol=1e-5)
    expected = encoder.values() + decoder.values()
    assert len(found.maps) == len(expected) == 4
    for tap, value in zip(found.maps, expected, strict=True):
        assert torch.allclose(tap, value, atol=1e-4)


@pytest.mark.parametrize("timestep", [0, 300])
def test_the_unet_s_taps_are_those_of_a_whole_pass(
    pipeline: StableDiffusionPipeline,
    odise_preset: OdisePreset,
    timestep: int,
) -> None:
    settings = replace(odise_preset.taps, timestep=timestep)
    latents, text = torch.randn(2, 4, 16, 16), torch.randn(2, *DiffusionTaps(pipeline, settings).empty_text.shape[1:])
    found = DiffusionTaps(pipeline, settings).unet(latents, Condition(text))
    recorder = Recorder(pipeline.unet, settings.unet)
    with torch.no_grad():
        pipeline.unet(noised(pipeline, latents, timestep), timestep, encoder_hidden_states=text)
    for tap, value in zip(found, recorder.values(), strict=True):
        assert torch.allclose(tap, value, atol=1e-4)


def test_a_tap_of_the_unet_holds_the_decoder_s_state_and_the_skip_connection(
    pipeline: StableDiffusionPipeline, taps: DiffusionTaps
) -> None:
    """C.1: the inputs of output blocks are two maps side by side."""
    found = taps.unet(torch.randn(1, 4, 16, 16), Condition(taps.empty_text))
    widths = [block.resnets[0].out_channels for block in pipeline.unet.up_blocks]
    assert all(tap.shape[1] > width for tap, width in zip(found, widths, strict=True))
    assert [tap.shape[1] for tap in found] == taps.channels[4:]


def test_channels_are_told_before_anything_runs(taps: DiffusionTaps, windows: NDArray[np.uint8]) -> None:
    vae = taps.vae(windows)
    unet = taps.unet(vae.latents, Condition(taps.empty_text))
    assert [tap.shape[1] for tap in (*vae.maps, *unet)] == taps.channels


@pytest.fixture
def ran(pipeline: StableDiffusionPipeline) -> Iterator[list[nn.Module]]:
    """The modules of the UNet that ran, in order."""
    found: list[nn.Module] = []
    handles = [module.register_forward_hook(lambda m, _i, _o: found.append(m)) for module in pipeline.unet.modules()]
    yield found
    for handle in handles:
        handle.remove()


def test_the_pass_ends_at_the_last_tap(
    pipeline: StableDiffusionPipeline, taps: DiffusionTaps, ran: list[nn.Module]
) -> None:
    taps.unet(torch.randn(1, 4, 16, 16), Condition(taps.empty_text))
    unet = pipeline.unet
    assert unet.up_blocks[3].resnets[0] in ran
    assert not {unet.up_blocks[3].resnets[1], unet.conv_norm_out, unet.conv_out} & set(ran)


def test_an_offset_of_the_time_is_added_to_the_time_embedding(
    pipeline: StableDiffusionPipeline, taps: DiffusionTaps, odise_preset: OdisePreset
) -> None:
    """A shift of the last layer's bias is the same for one image."""
    latents, offset = torch.randn(1, 4, 16, 16), torch.randn(1, taps.time_channels)
    found = taps.unet(latents, Condition(taps.empty_text, offset))
    bias = pipeline.unet.time_embedding.linear_2.bias
    recorder = Recorder(pipeline.unet, odise_preset.taps.unet)
    with torch.no_grad():
        bias += offset[0]
        pipeline.unet(noised(pipeline, latents, 0), 0, encoder_hidden_states=taps.empty_text)
        bias -= offset[0]
    for tap, value in zip(found, recorder.values(), strict=True):
        assert torch.allclose(tap, value, atol=1e-3)
    without = taps.unet(latents, Condition(taps.empty_text))
    assert not torch.allclose(found[0], without[0], atol=1e-2)


def test_each_image_has_its_own_offset(taps: DiffusionTaps) -> None:
    latents, offset = torch.randn(2, 4, 16, 16), torch.randn(2, taps.time_channels)
    both = taps.unet(latents, Condition(taps.empty_text, offset))
    for image in range(2):
        alone = taps.unet(latents[image : image + 1], Condition(taps.empty_text, offset[image : image + 1]))
        for one, other in zip(both, alone, strict=True):
            assert torch.allclose(one[image], other[0], atol=1e-3)


def test_nothing_is_left_on_the_models_not_even_after_an_error(
    pipeline: StableDiffusionPipeline, taps: DiffusionTaps, windows: NDArray[np.uint8]
) -> None:
    taps.vae(windows)
    taps.unet(torch.randn(1, 4, 16, 16), Condition(taps.empty_text, torch.zeros(1, taps.time_channels)))
    with pytest.raises(RuntimeError):
        taps.unet(torch.randn(1, 9, 16, 16), Condition(taps.empty_text, torch.zeros(1, taps.time_channels)))
    for model in (pipeline.unet, pipeline.vae):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_captioners_can_learn_through_the_frozen_unet(taps: DiffusionTaps) -> None:
    text = taps.empty_text.clone().requires_grad_()
    offset = torch.zeros(1, taps.time_channels, requires_grad=True)
    found = taps.unet(torch.randn(1, 4, 16, 16), Condition(text, offset))
    torch.stack([tap.square().mean() for tap in found]).sum().backward()
    assert text.grad is not None and text.grad.any()
    assert offset.grad is not None and offset.grad.any()


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("vae_encoder", ("down_blocks.9.resnets.0",)),
        ("vae_decoder", ("up_blocks.0.resnets.1", "conv_in")),
        ("unet", ("up_blocks.1.attentions.0",)),
    ],
)
def test_a_module_that_cannot_be_tapped_is_named_with_those_that_can(
    pipeline: StableDiffusionPipeline, odise_preset: OdisePreset, field: str, names: tuple[str, ...]
) -> None:
    message = rf"taps\.{field} has '{names[-1]}', which cannot be tapped here; these can: .*resnets\.0"
    with pytest.raises(PresetError, match=message):
        DiffusionTaps(pipeline, replace(odise_preset.taps, **{field: names}))
