"""Each extractor on its real architecture at full size: widths and grids (A.11), with no byte allocated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import architectures as real
from ovdiff.extractors.clip import ClipExtractor
from ovdiff.extractors.dino import dino_transformer
from ovdiff.extractors.dinov2 import dinov2_transformer
from ovdiff.extractors.dinov3 import dinov3_transformer
from ovdiff.extractors.extractor import Extractor
from ovdiff.extractors.mae import mae_transformer
from ovdiff.extractors.stable_diffusion import StableDiffusionExtractor
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.clip import Clip, OpenClip, TransformersClip
from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.presets import load_preset
from ovdiff.presets.part_settings import (
    ClipFeatureSettings,
    DinoFeatureSettings,
    Dinov2FeatureSettings,
    Dinov3FeatureSettings,
    MaeFeatureSettings,
    StableDiffusionFeatureSettings,
)

PAPER_LAYERS = StableDiffusionFeatureSettings().layers
WITH_MID_BLOCK = (*PAPER_LAYERS, "mid_block.attentions.0")


@dataclass(frozen=True)
class Expected:
    """What A.11's table says: the width, the grid of a support image, and that of a 448-px window."""

    width: int
    support: int
    window: int


def _stable_diffusion(version: real.Diffusion, layers: tuple[str, ...]) -> Extractor:
    pipeline = real.build_diffusion(version, device="meta")
    return StableDiffusionExtractor(pipeline, StableDiffusionFeatureSettings(layers=layers))


def _clip(library: str) -> Clip:
    if library == "open_clip":
        return OpenClip(real.build_open_clip("meta"), real.open_clip.SimpleTokenizer())
    return TransformersClip(real.build_clip("meta"), real.build_tokenizer())


def _mae() -> Any:
    model = real.build_mae("meta")
    model.config.mask_ratio = 0.0  # as Models.mae loads it
    return mae_transformer(model)


def _transformer(name: str, **feature: Any) -> Extractor:
    if name == "dino":
        return TransformerExtractor(dino_transformer(real.build_dino("meta")), DinoFeatureSettings(**feature), "")
    if name == "dinov2":
        return TransformerExtractor(dinov2_transformer(real.build_dinov2("meta")), Dinov2FeatureSettings(**feature), "")
    if name == "dinov3":
        return TransformerExtractor(dinov3_transformer(real.build_dinov3("meta")), Dinov3FeatureSettings(**feature), "")
    return TransformerExtractor(_mae(), MaeFeatureSettings(**feature), "")


CASES = {
    "SD 1.5, the paper's layers": (lambda: _stable_diffusion(real.SD_15, PAPER_LAYERS), Expected(6400, 64, 64)),
    "SD 1.5, the released layers": (lambda: _stable_diffusion(real.SD_15, WITH_MID_BLOCK), Expected(7680, 64, 64)),
    "SD-Turbo": (lambda: _stable_diffusion(real.SD_TURBO, PAPER_LAYERS), Expected(6400, 64, 64)),
    "DINO B/8 keys": (lambda: _transformer("dino"), Expected(768, 64, 56)),
    "CLIP B/16 keys": (lambda: ClipExtractor(_clip("transformers"), ClipFeatureSettings()), Expected(768, 32, 28)),
    "open_clip B/16 keys": (lambda: ClipExtractor(_clip("open_clip"), ClipFeatureSettings()), Expected(768, 32, 28)),
    "CLIP B/16 tokens": (
        lambda: ClipExtractor(_clip("transformers"), ClipFeatureSettings(feature="tokens")),
        Expected(512, 32, 28),
    ),
    "open_clip B/16 tokens": (
        lambda: ClipExtractor(_clip("open_clip"), ClipFeatureSettings(feature="tokens")),
        Expected(512, 32, 28),
    ),
    "MAE L/16 keys": (lambda: _transformer("mae"), Expected(1024, 32, 28)),
    "DINOv2 B/14 tokens": (lambda: _transformer("dinov2"), Expected(768, 37, 37)),  # 518 px both
    "DINOv2 B/14 keys": (lambda: _transformer("dinov2", feature="keys"), Expected(768, 37, 37)),
    "DINOv3 B/16 tokens": (lambda: _transformer("dinov3"), Expected(768, 32, 28)),
    "DINOv3 B/16 keys": (lambda: _transformer("dinov3", feature="keys"), Expected(768, 32, 28)),
}


@pytest.mark.parametrize("name", CASES)
def test_widths_and_grids_are_the_specification_s(name: str) -> None:
    build, expected = CASES[name]
    extractor = build()
    for purpose, px, grid in (("support", 512, expected.support), ("window", 448, expected.window)):
        found = extractor.extract(np.zeros((2, px, px, 3), np.uint8), purpose)
        assert found.is_meta and found.shape == (2, expected.width, grid, grid)


def test_dino_looks_at_a_small_window_as_it_is_and_at_a_wide_image_by_its_short_side() -> None:
    dino = _transformer("dino")
    for size_hw, grid_hw in (((336, 336), (42, 42)), ((448, 597), (56, 75))):
        assert dino.extract(np.zeros((1, *size_hw, 3), np.uint8), "window").shape[2:] == grid_hw


def test_the_paper_s_and_the_fast_preset_are_made_for_these_models() -> None:
    paper, fast = (load_preset(name).extractors for name in ("paper", "fast"))
    assert paper.stable_diffusion.layers == PAPER_LAYERS and paper.stable_diffusion.support_px == 512
    assert (paper.clip.layer, paper.dino.layer) == (-2, -1)
    assert (fast.dinov2.feature, fast.dinov2.window_px % 14) == ("tokens", 0)


@pytest.mark.parametrize("version", [real.SD_15, real.SD_TURBO], ids=["SD 1.5", "SD-Turbo"])
def test_the_unet_has_the_published_cross_attention(version: real.Diffusion) -> None:
    """16 layers (A.2): two or three a block, as wide as the block, reading the text encoder's width."""
    layers = cross_attention_layers(real.build_unet(version, device="meta"), ())
    widths = {f"down_blocks.{block}": 320 * 2**block for block in range(3)}
    widths |= {"up_blocks.1": 1280, "up_blocks.2": 640, "up_blocks.3": 320, "mid_block": 1280}
    assert len(layers) == 16
    for name, layer in layers.items():
        block = next(block for block in widths if name.startswith(f"{block}."))
        assert layer.to_q.weight.shape == (widths[block], widths[block])
        assert layer.to_k.weight.shape == (widths[block], version.text_encoder["hidden_size"])


def test_clip_embeds_images_and_texts_into_512_numbers() -> None:
    for library in ("transformers", "open_clip"):
        clip = _clip(library)
        assert clip.embed_images(np.zeros((1, 300, 200, 3), np.uint8), "clip").shape == (1, 512)
        (text,) = clip.embed_texts(["a cat"])
        assert text is not None and text.shape == (512,) and text.dtype == torch.float32
