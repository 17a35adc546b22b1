import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovdiff.errors import WeightsError
from ovdiff.models import Models
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings


def test_equal_settings_share_one_model(preset: Preset, models: Models) -> None:
    assert models.diffusion(preset.models.generator) is models.diffusion(preset.models.stable_diffusion)
    assert models.vit(preset.models.dino) is models.vit(replace(preset.models.dino))


def test_dtypes_are_the_preset_s(preset: Preset) -> None:
    pipeline = Models().diffusion(replace(preset.models.generator, dtype="bfloat16"))
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.bfloat16
    assert pipeline.vae.dtype == torch.float32
    assert Models().clip(replace(preset.models.clip, dtype="bfloat16")).dtype == torch.bfloat16


def test_models_are_frozen_and_in_evaluation_mode(preset: Preset, models: Models) -> None:
    for model in (models.clip(preset.models.clip), models.diffusion(preset.models.generator).unet):
        assert not model.training and not any(weight.requires_grad for weight in model.parameters())


def test_loading_says_nothing(preset: Preset, capfd: pytest.CaptureFixture[str]) -> None:
    fresh = Models()
    fresh.diffusion(preset.models.generator)
    fresh.vit(preset.models.dino)
    assert capfd.readouterr().err == ""


def test_wrong_and_broken_folders_are_named(preset: Preset, tmp_path: Path, weights_folder: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=f"'{tmp_path}' does not load as a CLIPModel"):
        Models().clip(ModelSettings(source=str(tmp_path)))
    with pytest.raises(WeightsError, match="does not load as a StableDiffusionPipeline"):
        Models().diffusion(replace(preset.models.generator, source=str(weights_folder / "clip")))


def test_weights_with_holes_are_refused_instead_of_filled_with_random_numbers(
    tmp_path: Path, weights_folder: Path
) -> None:
    shutil.copytree(weights_folder / "dino", tmp_path / "dino")
    file = tmp_path / "dino" / "model.safetensors"
    weights = load_file(file)
    del weights[next(name for name in sorted(weights) if "layer" in name)]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights of a ViTModel, such as 'layers\.0"):
        Models().vit(ModelSettings(source=str(tmp_path / "dino")))
