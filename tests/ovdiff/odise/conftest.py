"""ODISE on the embedded models in float32, with a small head of random weights; models are loaded once."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.odise.preset import (
    CaptionerSettings,
    ClassifierSettings,
    ClipBranchSettings,
    LossSettings,
    MaskGeneratorSettings,
    OdiseModels,
    OdisePreset,
    TapSettings,
    TrainingSettings,
)
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings

if TYPE_CHECKING:
    from ovdiff.models.loaded import LoadedModels
    from ovdiff.odise.engine import OdiseEngine
    from ovdiff.odise.parts import OdiseParts


@pytest.fixture(scope="session")
def odise_preset(tmp_path_factory: pytest.TempPathFactory) -> OdisePreset:
    """A preset whose head folder does not exist yet; nothing depends on a tuned preset."""
    return OdisePreset(
        name="random",
        models=OdiseModels(
            diffusion=DiffusionModelSettings(source="tinyworld:stable_diffusion"),
            clip=ClipModelSettings(source="tinyworld:clip"),
            head=ModelSettings(source=str(tmp_path_factory.mktemp("odise") / "head")),
        ),
        taps=TapSettings(
            input_px=64,
            windows="whole",
            window_px=64,
            short_side_px=64,
            max_long_side_px=256,
            vae_encoder=("down_blocks.1.downsamplers.0", "mid_block.resnets.0"),
            vae_decoder=("up_blocks.0.resnets.1", "up_blocks.1.resnets.1"),
            unet=tuple(f"up_blocks.{level}.resnets.1" for level in range(4)),
            strides=(2, 4, 8, 16),
        ),
        captioner=CaptionerSettings(gate=0.2, standardise=True, statistics="half"),
        mask_generator=MaskGeneratorSettings(
            bottleneck=16,
            level_channels=32,
            norm_groups=8,
            hidden=32,
            mask_channels=32,
            heads=4,
            encoder_layers=1,
            encoder_ffn=32,
            decoder_layers=2,
            decoder_ffn=32,
            queries=12,
        ),
        classifier=ClassifierSettings(embedding=24, templates=("a photo of a {category}", "a {category}")),
        clip_branch=ClipBranchSettings(
            input_px=64, statistics="half", templates=("a photo of a {category}",), logit_scale=33.0
        ),
        loss=LossSettings(points=0),
        training=TrainingSettings(
            steps=4, batch=2, learning_rate=1e-3, warmup=2, max_gradient=1.0, ema=0.5, mask_px=32, autocast="none"
        ),
    )


@pytest.fixture(scope="session")
def odise_parts(odise_preset: OdisePreset, models: "LoadedModels") -> "OdiseParts":
    """The models of the preset; the head of random weights lies in its folder, trained for "car" and "sky"."""
    from ovdiff.odise.head_file import HeadCard, architecture, write_head
    from ovdiff.odise.naming import Label
    from ovdiff.odise.parts import OdiseParts

    parts = OdiseParts(odise_preset, models)
    torch.manual_seed(5)
    head = parts.new_head()
    labels = (Label("car", ("car", "automobile"), False), Label("sky", ("sky",), True))
    card = HeadCard(labels, architecture(odise_preset), {"steps": 0})
    write_head(Path(odise_preset.models.head.source), head.state_dict(), card)
    return parts


@pytest.fixture(scope="session")
def odise_engine(odise_preset: OdisePreset, odise_parts: "OdiseParts") -> "OdiseEngine":
    """An engine on that head, shared by tests that only ask it."""
    from ovdiff.odise.engine import OdiseEngine

    return OdiseEngine(odise_preset, models=odise_parts.models)


@pytest.fixture(scope="session")
def windows() -> NDArray[np.uint8]:
    """Two drawn scenes (2, 64, 64, 3)."""
    from ovdiff.tinyworld.world import render, sample_scene

    return np.stack([render(sample_scene(index, "thresholds"), 64).image for index in range(2)])
