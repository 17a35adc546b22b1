"""Parts of a diffusion pipeline, compiled by torch when they first run.

Only what has no state of ours in it is compiled: residual blocks, feed-forward layers and the VAE's blocks. Attention
stays as it is, because attribution and features are read there, and a pass may end there. Each shape is compiled once;
torch keeps the result in its own cache on disk (``TORCHINDUCTOR_CACHE_DIR``), so a later process starts warm.
"""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

MOST_SHAPES = 512
"""How many shapes of one kind of block torch may compile: a UNet has about 30, each for a few sizes of batches."""

_COMPILED = (ResnetBlock2D, FeedForward)


def compile_parts(pipeline: StableDiffusionPipeline, backend: str = "inductor") -> int:
    """Have the parts of a pipeline's UNet and VAE compiled when they first run; return how many there are."""
    dynamo: Any = torch._dynamo
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, MOST_SHAPES)
    dynamo.config.accumulated_recompile_limit = max(dynamo.config.accumulated_recompile_limit, 4 * MOST_SHAPES)
    found = [*_parts(pipeline.unet), *_parts(pipeline.vae)]
    for module in found:
        module.compile(backend=backend, dynamic=False)
    return len(found)


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    return (module for module in model.modules() if isinstance(module, _COMPILED))
