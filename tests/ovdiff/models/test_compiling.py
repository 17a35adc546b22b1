"""Parts of a pipeline are compiled and compute the same; what is not ours to compile stays as it is."""

from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D

from benchmarks import architectures
from ovdiff.models.compiling import compile_parts
from ovdiff.models.devices import DeviceOptions
from ovdiff.models.loaded import arranged


def run(pipeline: Any) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, generator=random)
    text = torch.randn(1, 5, pipeline.unet.config.cross_attention_dim, generator=random)
    with torch.inference_mode():
        return pipeline.unet(latents, torch.tensor(10), encoder_hidden_states=text).sample


def test_blocks_are_compiled_and_compute_the_same_and_attention_is_left_alone() -> None:
    torch.manual_seed(0)
    pipeline = architectures.build_diffusion(shrink=16)
    expected = run(pipeline)
    count = compile_parts(pipeline, backend="eager")
    compiled = [module for module in pipeline.unet.modules() if module._compiled_call_impl is not None]
    assert {type(module) for module in compiled} == {ResnetBlock2D, FeedForward} and count > len(compiled) > 20
    torch.testing.assert_close(run(pipeline), expected)


def test_channels_come_last_where_a_device_s_options_say_so_and_the_result_is_the_same() -> None:
    torch.manual_seed(0)
    pipeline = architectures.build_diffusion(shrink=16)
    expected = run(pipeline)
    arranged(pipeline, DeviceOptions())
    assert not pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    arranged(pipeline, DeviceOptions(channels_last=True))
    for part in (pipeline.unet.conv_in, pipeline.vae.decoder.conv_in):
        assert part.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(run(pipeline), expected, rtol=1e-4, atol=1e-5)
