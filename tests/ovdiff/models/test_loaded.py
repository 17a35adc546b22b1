import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import ViTModel

from ovdiff.errors import DeviceMemoryError, WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings


def test_equal_settings_share_one_model(preset: Preset, models: LoadedModels) -> None:
    assert models.diffusion(preset.models.generator) is models.diffusion(preset.models.stable_diffusion)
    assert models.vit(preset.models.dino) is models.vit(replace(preset.models.dino))


def test_dtypes_are_the_preset_s(preset: Preset) -> None:
    pipeline = LoadedModels().diffusion(replace(preset.models.generator, dtype="bfloat16"))
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.bfloat16
    assert pipeline.vae.dtype == torch.float32
    for name in ("dinov2", "dinov3", "mae"):
        assert (
            getattr(LoadedModels(), name)(replace(getattr(preset.models, name), dtype="bfloat16")).dtype
            == torch.bfloat16
        )


def test_a_cpu_computes_float32_where_a_preset_says_float16(preset: Preset) -> None:
    models = LoadedModels("cpu")
    pipeline = models.diffusion(replace(preset.models.generator, dtype="float16", vae_dtype="float16"))
    assert {pipeline.unet.dtype, pipeline.text_encoder.dtype, pipeline.vae.dtype} == {torch.float32}
    clip = models.clip(replace(preset.models.clip, dtype="float16"))
    assert {weight.dtype for weight in clip._model.vision_model.parameters()} == {torch.float32}  # type: ignore[attr-defined]
    assert models.vit(replace(preset.models.dino, dtype="float16")).dtype == torch.float32


def test_models_are_frozen_and_in_evaluation_mode(preset: Preset, models: LoadedModels) -> None:
    pipeline = models.diffusion(preset.models.generator)
    for model in (models.vit(preset.models.dino), pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert not model.training and not any(weight.requires_grad for weight in model.parameters())


def test_loading_says_nothing(preset: Preset, capfd: pytest.CaptureFixture[str]) -> None:
    fresh = LoadedModels()
    fresh.diffusion(preset.models.generator)
    fresh.vit(preset.models.dino)
    assert capfd.readouterr().err == ""


def test_wrong_and_broken_folders_are_named(preset: Preset, tmp_path: Path, weights_folder: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=f"'{tmp_path}' does not load as a CLIP model of transformers"):
        LoadedModels().clip(ClipModelSettings(source=str(tmp_path)))
    with pytest.raises(WeightsError, match=r"does not load as a CLIP model of open_clip: .*open_clip_config\.json"):
        LoadedModels().clip(ClipModelSettings(source=str(tmp_path), library="open_clip"))
    with pytest.raises(WeightsError, match="does not load as a StableDiffusionPipeline"):
        LoadedModels().diffusion(replace(preset.models.generator, source=str(weights_folder / "clip")))


def test_a_folder_s_fault_is_not_blamed_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        LoadedModels().vit(ModelSettings(source=str(tmp_path)))
    assert "hub cannot be reached" not in str(caught.value)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_an_unreachable_hub_is_an_error_that_offers_a_folder(library: str, offline: None) -> None:
    settings = ClipModelSettings(source="owner/model", revision="abc", library=library)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"If the hub cannot be reached from here, .* give its folder as the source"):
        LoadedModels().clip(settings)


@pytest.mark.parametrize("name", ["vit", "dinov2", "dinov3", "mae", "safety_checker", "diffusion"])
def test_every_hub_id_that_cannot_be_reached_is_named(name: str, offline: None) -> None:
    settings = (DiffusionModelSettings if name == "diffusion" else ModelSettings)(source="owner/model")
    with pytest.raises(WeightsError, match=r"'owner/model' does not load as a .* give its folder as the source"):
        getattr(LoadedModels(), name)(settings)


def test_weights_larger_than_the_device_s_memory_are_said_to_be(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ViTModel, "to", full)
    with pytest.raises(DeviceMemoryError, match="do not fit into the device's free memory"):
        LoadedModels().vit(preset.models.dino)


def test_no_model_of_the_process_runs_while_another_one_loads() -> None:
    """Loading switches torch's default dtype for the whole process; a build beside it made other prototypes."""
    first, second, taken = LoadedModels(), LoadedModels(), threading.Event()

    def use() -> None:
        with second.lock:
            taken.set()

    other = threading.Thread(target=use, daemon=True)
    with first.lock:
        other.start()
        assert not taken.wait(0.1)
    assert taken.wait(60)


@pytest.mark.slow
def test_the_first_model_of_a_process_is_loaded_without_a_word() -> None:
    """The libraries are imported by the model that needs them, and must be told to be quiet before it loads."""
    program = (
        "from ovdiff import load_preset\n"
        "from ovdiff.models.loaded import LoadedModels\n"
        "LoadedModels().clip(load_preset('tinyworld').models.clip)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Loading" not in run.stderr
