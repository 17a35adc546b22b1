import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from ovdiff.errors import WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import AdapterSettings, DiffusionModelSettings

Weights = dict[str, Tensor]
LCM_LAYERS = [
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
]


@pytest.fixture(scope="module")
def adapter_folder(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 2 and alpha 6 on the kinds of layers that LCM-LoRA changes."""
    folder = tmp_path_factory.mktemp("lora")
    unet = UNet2DConditionModel.from_pretrained(weights_folder / "stable_diffusion", subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=6, target_modules=LCM_LAYERS))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.1)
    layers = get_peft_model_state_dict(unet)
    metadata = unet.peft_config["default"].to_dict()
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers, unet_lora_adapter_metadata=metadata)
    return folder


def _with_adapter(weights_folder: Path, adapter: Path, **options: float) -> DiffusionModelSettings:
    return DiffusionModelSettings(
        source=str(weights_folder / "stable_diffusion"), adapter=AdapterSettings(source=str(adapter), **options)
    )


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_adapter_is_fused_into_the_weights(scale: float, weights_folder: Path, adapter_folder: Path) -> None:
    fused = LoadedModels().diffusion(_with_adapter(weights_folder, adapter_folder, scale=scale)).unet
    plain = LoadedModels().diffusion(DiffusionModelSettings(source=str(weights_folder / "stable_diffusion"))).unet
    lora = load_file(adapter_folder / "pytorch_lora_weights.safetensors")
    assert [name for name, _ in fused.named_parameters()] == [name for name, _ in plain.named_parameters()]
    expected = plain.state_dict()
    changed_names = [name for name in expected if f"unet.{name.removesuffix('.weight')}.lora_A.weight" in lora]
    assert len(changed_names) == len(lora) // 2 > 0
    for name in changed_names:
        down, up = (lora[f"unet.{name.removesuffix('.weight')}.lora_{part}.weight"] for part in "AB")
        change = up.flatten(1) @ down.flatten(1)  # a convolution's is one of its unfolded input
        expected[name] = expected[name] + scale * (6 / 2) * change.reshape(expected[name].shape)
    for name, weight in fused.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6)


def test_an_adapter_changes_the_images(preset: Preset, weights_folder: Path, adapter_folder: Path) -> None:
    images = []
    for settings in (preset.models.generator, _with_adapter(weights_folder, adapter_folder)):
        pipeline, generator = LoadedModels().diffusion(settings), torch.Generator().manual_seed(0)
        drawn = pipeline(
            "a boat", num_inference_steps=2, height=64, width=64, generator=generator, output_type="np"
        ).images
        images.append(drawn)
    assert np.abs(images[0] - images[1]).max() > 0.01


def test_an_adapter_in_the_names_of_other_trainers_is_read(
    weights_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    """LCM-LoRA's file: names joined by underscores, and an alpha a layer."""
    lora, kohya = load_file(adapter_folder / "pytorch_lora_weights.safetensors"), {}
    for name, tensor in lora.items():
        layer, part = re.fullmatch(r"unet\.(.*)\.lora_([AB])\.weight", name).groups()  # type: ignore[union-attr]
        joined = "lora_unet_" + layer.replace(".", "_")
        kohya[f"{joined}.lora_{'down' if part == 'A' else 'up'}.weight"] = tensor
        kohya[f"{joined}.alpha"] = torch.tensor(6.0)
    save_file(kohya, tmp_path / "pytorch_lora_weights.safetensors")
    found = LoadedModels().diffusion(_with_adapter(weights_folder, tmp_path)).unet
    expected = LoadedModels().diffusion(_with_adapter(weights_folder, adapter_folder)).unet
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_an_adapter_of_another_unet_is_refused(weights_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    file = "pytorch_lora_weights.safetensors"

    def elsewhere(weights: Weights) -> Weights:
        return {name.replace("down_blocks.0", "down_blocks.7"): tensor for name, tensor in weights.items()}

    def wider(weights: Weights) -> Weights:
        return {name: torch.ones(2, 999) if "lora_A" in name else tensor for name, tensor in weights.items()}

    def nameless(weights: Weights) -> Weights:
        return {f"other.{name}": tensor for name, tensor in weights.items()}

    for change, message in (
        (elsewhere, "The adapter '{}' does not fit: 324 of its 356 tensors have a place"),
        (wider, r"'{}' does not load as a LoRA of this pipeline: .*size mismatch for down_blocks\.0"),
        (nameless, "The adapter '{}' does not fit: 0 of its 356 tensors have a place"),
    ):
        folder = tmp_path / change.__name__
        folder.mkdir()
        save_file(change(load_file(adapter_folder / file)), folder / file)
        with pytest.raises(WeightsError, match=message.format(folder)):
            LoadedModels().diffusion(_with_adapter(weights_folder, folder))


def test_an_adapter_s_file_must_be_the_one(weights_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"holds 0 \.safetensors files; leave only the adapter's file there, or name"
    ):
        LoadedModels().diffusion(_with_adapter(weights_folder, tmp_path))
    shutil.copy(adapter_folder / "pytorch_lora_weights.safetensors", tmp_path / "mine.safetensors")
    LoadedModels().diffusion(_with_adapter(weights_folder, tmp_path))


def test_a_hub_s_adapter_is_of_the_preset_s_revision(
    weights_folder: Path, adapter_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(source: str, name: str, revision: str) -> str:
        asked.append((source, name, revision))
        return str(adapter_folder / name)

    monkeypatch.setattr("ovdiff.models.adapters.hf_hub_download", download)
    adapter = AdapterSettings(source="owner/lora", revision="abc")
    LoadedModels().diffusion(replace(_with_adapter(weights_folder, Path()), adapter=adapter))
    assert asked == [("owner/lora", "pytorch_lora_weights.safetensors", "abc")]


def test_loading_an_adapter_says_nothing(
    weights_folder: Path, adapter_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LoadedModels().diffusion(_with_adapter(weights_folder, adapter_folder))
    assert capfd.readouterr().err == ""


def test_an_adapter_of_an_unreachable_hub_offers_a_folder(weights_folder: Path, offline: None) -> None:
    settings = replace(
        _with_adapter(weights_folder, Path("unused")), adapter=AdapterSettings(source="owner/lora", revision="abc")
    )
    with pytest.raises(WeightsError, match=r"'owner/lora' .* give its folder as the source"):
        LoadedModels().diffusion(settings)
