"""The configurations are the published ones: each full-size model has the parameter count that its authors give."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks import architectures as real
from ovdiff.models.files import MEGABYTES
from ovdiff.proposals.cutler_network import CascadeMaskRcnn

BUILDERS: dict[str, tuple[Callable[..., nn.Module], float]] = {
    # Millions of parameters, as the weights that the hub serves have them.
    "SD 1.5 UNet": (partial(real.build_unet, real.SD_15), 859.5),
    "SD 1.5 VAE": (real.build_vae, 83.7),
    "SD 1.5 text encoder": (partial(real.build_text_encoder, real.SD_15), 123.1),
    "SD-Turbo UNet": (partial(real.build_unet, real.SD_TURBO), 865.9),
    "SD-Turbo text encoder": (partial(real.build_text_encoder, real.SD_TURBO), 340.4),
    "safety checker": (real.build_safety_checker, 304.0),
    "CLIP B/16": (real.build_clip, 149.6),
    "CLIP B/16 of open_clip": (real.build_open_clip, 149.6),
    "CLIP L/14-336": (partial(real.build_clip, config=real.CLIP_L14_336), 427.9),
    "CLIP L/14-336 of open_clip": (partial(real.build_open_clip, config=real.OPEN_CLIP_L14_336), 427.9),
    "DINO B/8": (real.build_dino, 85.8),
    "DINOv2 B/14": (real.build_dinov2, 86.6),
    "DINOv3 B/16": (real.build_dinov3, 85.7),
    "MAE L/16 encoder": (real.build_mae, 303.3),
    "GroupViT": (real.build_groupvit, 55.7),
    "CLIPSeg": (real.build_clipseg, 150.7),
    "SAM B": (real.build_sam, 93.7),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    build, millions = BUILDERS[name]
    parameters = sum(weight.numel() for weight in build(device="meta").parameters())
    assert round(parameters / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("source", "variant", "parts", "bytes_each"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "fp16", ("UNet", "VAE", "text encoder"), 2),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "", ("UNet", "VAE", "text encoder"), 4),
        ("CompVis/stable-diffusion-safety-checker", "", ("safety checker",), 4),
        ("timm/vit_base_patch16_clip_224.openai", "", ("CLIP B/16 of open_clip",), 4),
        ("openai/clip-vit-base-patch16", "", ("CLIP B/16",), 4),
        ("openai/clip-vit-large-patch14-336", "", ("CLIP L/14-336",), 4),
        ("facebook/dino-vitb8", "", ("DINO B/8",), 4),
        ("facebook/dinov2-base", "", ("DINOv2 B/14",), 4),
        ("nvidia/groupvit-gcc-yfcc", "", ("GroupViT",), 4),
        ("CIDAS/clipseg-rd64-refined", "", ("CLIPSeg",), 4),
        ("facebook/sam-vit-base", "", ("SAM B",), 4),
    ],
)
def test_the_sizes_of_downloads_are_the_architectures_(
    source: str, variant: str, parts: tuple[str, ...], bytes_each: int
) -> None:
    millions = sum(BUILDERS[part if part in BUILDERS else f"SD 1.5 {part}"][1] for part in parts)
    assert MEGABYTES[source, variant] == pytest.approx(millions * bytes_each, abs=1)


def test_the_size_of_cutler_s_checkpoint_is_its_network_s() -> None:
    with torch.device("meta"):
        network = CascadeMaskRcnn()
    (size,) = (size for (source, _), size in MEGABYTES.items() if source.endswith("cutler_cascade_final.pth"))
    assert size == pytest.approx(4e-6 * sum(tensor.numel() for tensor in network.state_dict().values()), abs=1)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_narrow_model_has_the_same_layout(name: str) -> None:
    build, _ = BUILDERS[name]
    full, narrow = (build(device="meta", shrink=shrink).state_dict() for shrink in (1, 8))
    assert list(full) == list(narrow)
    assert all(full[key].ndim == narrow[key].ndim for key in full)


def test_a_width_that_cannot_be_divided_is_named() -> None:
    with pytest.raises(ValueError, match="hidden_size is 768, which 7 does not divide"):
        real.narrow(real.DINO_B8, 7)


def test_the_tokenizer_is_clip_s() -> None:
    words = real.build_tokenizer()
    assert len(words) == 49408
    # "a photo of a cat", as every description of CLIP prints it
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert real.build_tokenizer("!").pad_token_id == 0
