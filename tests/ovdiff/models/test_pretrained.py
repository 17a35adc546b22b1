"""What is read is read whole: folders as the hub has them, damaged in one place each."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from open_clip.transformer import QuickGELU
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import architectures as real
from ovdiff.errors import WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pretrained import load_open_clip
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings

Weights = dict[str, Tensor]
PARTS = {
    "unet": ("UNet2DConditionModel", "diffusion_pytorch_model.safetensors", "conv_in.weight"),
    "vae": ("AutoencoderKL", "diffusion_pytorch_model.safetensors", "quant_conv.weight"),
    "text_encoder": ("CLIPTextModel", "model.safetensors", "final_layer_norm.weight"),
}


def changed(source: Path, target: Path, file: str, change: Callable[[Weights], Weights]) -> str:
    """Copy a model folder with one of its weights files changed."""
    shutil.copytree(source, target, copy_function=os.link)
    weights = change(load_file(target / file))
    (target / file).unlink()  # the copy is of links
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target / file, {"format": "pt"})
    return str(target)


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


# ---- whole models only


@pytest.mark.parametrize("part", PARTS)
def test_one_missing_tensor_of_a_pipeline_is_named(part: str, weights_folder: Path, tmp_path: Path) -> None:
    """It was filled with random numbers, silently."""
    model, file, tensor = PARTS[part]
    folder = changed(weights_folder / "stable_diffusion", tmp_path / "sd", f"{part}/{file}", without(tensor))
    with pytest.raises(WeightsError, match=f"lacks 1 weights of a {model}, such as '{tensor}'"):
        LoadedModels().diffusion(DiffusionModelSettings(source=folder))


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_too_many_is_named(part: str, weights_folder: Path, tmp_path: Path) -> None:
    model, file, _ = PARTS[part]
    folder = changed(
        weights_folder / "stable_diffusion",
        tmp_path / "sd",
        f"{part}/{file}",
        lambda weights: weights | {"another.weight": torch.ones(2)},
    )
    with pytest.raises(
        WeightsError, match=rf"has 1 weights that a {model} .* does not have, such as 'another\.weight'"
    ):
        LoadedModels().diffusion(DiffusionModelSettings(source=folder))


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_of_another_shape_is_named(part: str, weights_folder: Path, tmp_path: Path) -> None:
    _, file, tensor = PARTS[part]
    folder = changed(
        weights_folder / "stable_diffusion",
        tmp_path / "sd",
        f"{part}/{file}",
        lambda weights: weights | {tensor: torch.ones(3)},
    )
    with pytest.raises(WeightsError, match=rf"{tensor}.*\(?\[?3"):
        LoadedModels().diffusion(DiffusionModelSettings(source=folder))


@pytest.mark.parametrize(
    ("name", "file", "model"),
    [
        ("clip", "model.safetensors", "CLIPModel"),
        ("dinov2", "model.safetensors", "Dinov2Model"),
        ("dinov3", "model.safetensors", "DINOv3ViTModel"),
        ("mae", "model.safetensors", "ViTMAEModel"),
        ("dino", "model.safetensors", "ViTModel"),
    ],
)
def test_holes_in_a_transformer_are_refused(
    name: str, file: str, model: str, preset: Preset, weights_folder: Path, tmp_path: Path
) -> None:
    hole = next(key for key in sorted(load_file(weights_folder / name / file)) if ".0." in key)
    folder = changed(weights_folder / name, tmp_path / name, file, without(hole))
    load = getattr(LoadedModels(), "vit" if name == "dino" else name)
    with pytest.raises(WeightsError, match=rf"lacks 1 weights of a {model}, such as '.*\.0\."):
        load(replace(getattr(preset.models, name), source=folder))


# ---- the files that are out there


def test_published_names_of_older_versions_are_read(weights_folder: Path, tmp_path: Path) -> None:
    """SD 1.5's files: the text encoder in its wrapper, with a counter; the VAE's attention by its old names."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights: Weights) -> Weights:
        names = {key: key for key in weights}
        for new, former in old.items():
            names = {
                key: name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.") for key, name in names.items()
            }
        return {names[key]: value for key, value in weights.items()}

    def wrap(weights: Weights) -> Weights:
        wrapped = {f"text_model.{key}": value for key, value in weights.items()}
        return wrapped | {"text_model.embeddings.position_ids": torch.arange(48)[None]}

    source = weights_folder / "stable_diffusion"
    once = changed(source, tmp_path / "once", "text_encoder/model.safetensors", wrap)
    folder = changed(Path(once), tmp_path / "sd", "vae/diffusion_pytorch_model.safetensors", rename)
    found = LoadedModels().diffusion(DiffusionModelSettings(source=folder))
    expected = LoadedModels().diffusion(DiffusionModelSettings(source=str(source)))
    for part in ("vae", "text_encoder"):
        for one, other in zip(getattr(found, part).parameters(), getattr(expected, part).parameters(), strict=True):
            assert torch.equal(one, other)


def test_mae_s_decoder_and_a_vit_s_pooler_are_left_where_they_are(
    preset: Preset, weights_folder: Path, tmp_path: Path
) -> None:
    def wrap(weights: Weights) -> Weights:
        wrapped = {f"vit.{key}": value for key, value in weights.items()}
        return wrapped | {"decoder.decoder_embed.weight": torch.ones(2, 2), "mask_token": torch.ones(2)}

    folder = changed(weights_folder / "mae", tmp_path / "mae", "model.safetensors", wrap)
    found = LoadedModels().mae(ModelSettings(source=folder))
    assert torch.equal(found.layernorm.weight, LoadedModels().mae(preset.models.mae).layernorm.weight)
    pooled = changed(
        weights_folder / "dino",
        tmp_path / "dino",
        "model.safetensors",
        lambda weights: weights | {"pooler.dense.weight": torch.ones(128, 128)},
    )
    LoadedModels().vit(ModelSettings(source=pooled))


def test_a_safety_checker_s_published_names_are_read(tmp_path: Path) -> None:
    real.save_safety_checker(real.build_safety_checker(shrink=16), tmp_path / "checker")

    def wrap(weights: Weights) -> Weights:
        return {key.replace("vision_model.", "vision_model.vision_model."): value for key, value in weights.items()}

    folder = changed(tmp_path / "checker", tmp_path / "published", "model.safetensors", wrap)
    found, processor = LoadedModels().safety_checker(ModelSettings(source=folder))
    expected, _ = LoadedModels().safety_checker(ModelSettings(source=str(tmp_path / "checker")))
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
    pixels = processor([np.zeros((32, 32, 3), np.uint8)], return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 224, 224)


def test_a_variant_of_the_files_is_read_where_it_is_asked_for(weights_folder: Path, tmp_path: Path) -> None:
    source = str(weights_folder / "stable_diffusion")
    StableDiffusionPipeline.from_pretrained(source).to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    settings = DiffusionModelSettings(source=str(tmp_path), variant="fp16", dtype="bfloat16")
    found = LoadedModels().diffusion(settings)
    assert found.unet.dtype == torch.bfloat16 and found.vae.dtype == torch.float32
    with pytest.raises(WeightsError, match="does not load as a StableDiffusionPipeline"):
        LoadedModels().diffusion(replace(settings, variant=""))


# ---- nothing is unpickled


class Malicious:
    """Unpickling it would make a folder."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._mark),)


def _with_bin(source: Path, target: Path, safe: str, pickled: str) -> Path:
    """Copy a model folder with its weights in a .bin file."""
    shutil.copytree(source, target, copy_function=os.link)
    torch.save(load_file(target / safe), target / pickled)
    (target / safe).unlink()
    return target


@pytest.mark.parametrize("name", ["dino", "dinov2", "clip"])
def test_bin_files_are_read_but_never_unpickled(
    name: str, preset: Preset, weights_folder: Path, tmp_path: Path
) -> None:
    folder = _with_bin(weights_folder / name, tmp_path / name, "model.safetensors", "pytorch_model.bin")
    settings = replace(getattr(preset.models, name), source=str(folder))
    load = "vit" if name == "dino" else name
    assert getattr(LoadedModels(), load)(settings) is not None
    mark = tmp_path / "executed"
    (folder / "pytorch_model.bin").unlink()
    torch.save({"x": Malicious(mark)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="does not load"):
        getattr(LoadedModels(), load)(settings)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Malicious(mark)}, protocol=2))
    with pytest.raises(WeightsError, match="does not load"):
        getattr(LoadedModels(), load)(settings)
    assert not mark.exists()


def test_a_pipeline_s_bin_files_are_read_but_never_unpickled(weights_folder: Path, tmp_path: Path) -> None:
    stem = "unet/diffusion_pytorch_model"
    folder = _with_bin(weights_folder / "stable_diffusion", tmp_path / "sd", f"{stem}.safetensors", f"{stem}.bin")
    settings = DiffusionModelSettings(source=str(folder))
    assert LoadedModels().diffusion(settings).unet.dtype == torch.float32
    mark = tmp_path / "executed"
    (folder / f"{stem}.bin").unlink()
    torch.save({"x": Malicious(mark)}, folder / f"{stem}.bin")
    with pytest.raises(WeightsError, match="does not load as a StableDiffusionPipeline"):
        LoadedModels().diffusion(settings)
    assert not mark.exists()


# ---- open_clip


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_clip")
    real.save_open_clip(real.build_open_clip(shrink=8), folder, 8)
    return folder


def _open_clip(folder: Path | str) -> ClipModelSettings:
    return ClipModelSettings(source=str(folder), library="open_clip")


def test_open_clip_s_tensors_must_all_be_there_and_fit(open_clip_folder: Path, tmp_path: Path) -> None:
    file, name = "open_clip_model.safetensors", "visual.proj"
    for number, (change, message) in enumerate(
        (
            (without(name), rf"lacks 1 weights of a CLIP of open_clip, such as '{name}'"),
            (lambda weights: weights | {"x": torch.ones(1)}, "has 1 weights that a CLIP of open_clip .* such as 'x'"),
            (
                lambda weights: weights | {name: torch.ones(1)},
                rf"another shape .* '{name}': \(1,\) instead of \(96, 64\)",
            ),
        )
    ):
        folder = changed(open_clip_folder, tmp_path / str(number), file, change)
        with pytest.raises(WeightsError, match=message):
            LoadedModels().clip(_open_clip(folder))


def test_open_clip_s_folder_without_weights_is_named(open_clip_folder: Path, tmp_path: Path) -> None:
    shutil.copy(open_clip_folder / "open_clip_config.json", tmp_path)
    with pytest.raises(WeightsError, match=r"holds no weights of open_clip: open_clip_model\.safetensors or"):
        LoadedModels().clip(_open_clip(tmp_path))


def test_open_clip_s_bin_is_read_but_never_unpickled(open_clip_folder: Path, tmp_path: Path) -> None:
    safe, pickled = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
    folder = _with_bin(open_clip_folder, tmp_path / "clip", safe, pickled)
    found, expected = (
        LoadedModels().clip(_open_clip(place)).embed_texts(["a"])[0] for place in (folder, open_clip_folder)
    )
    assert found is not None and expected is not None and torch.equal(found, expected)
    (folder / pickled).unlink()
    torch.save({"x": Malicious(tmp_path / "executed")}, folder / pickled)
    with pytest.raises(WeightsError, match="does not load as a CLIP model of open_clip"):
        LoadedModels().clip(_open_clip(folder))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_open_clip_s_hub_files_are_of_the_preset_s_revision(
    file: str, open_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip itself would take whatever "main" is."""
    hub, cache = tmp_path / "hub", tmp_path / "cache"
    if file.endswith(".bin"):
        _with_bin(open_clip_folder, hub, "open_clip_model.safetensors", file)
    else:
        shutil.copytree(open_clip_folder, hub)
    asked = []

    def download(source: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((source, revision))
        cache.mkdir(exist_ok=True)
        for name in allow_patterns:
            if (hub / name).is_file():
                shutil.copy(hub / name, cache)
        return str(cache)

    monkeypatch.setattr("ovdiff.models.pretrained.snapshot_download", download)
    found = LoadedModels().clip(ClipModelSettings(source="timm/clip", revision="abc", library="open_clip"))
    assert found.embed_texts(["a"])[0] is not None
    assert set(asked) == {("timm/clip", "abc")}


@pytest.mark.parametrize(
    ("source", "activation"),
    [
        ("timm/vit_base_patch16_clip_224.openai", QuickGELU),
        ("timm/vit_base_patch16_clip_224.laion2b", torch.nn.GELU),
        ("owner/clip", torch.nn.GELU),
    ],
)
def test_open_clip_s_own_table_knows_the_activation_that_a_configuration_leaves_out(
    source: str, activation: type, open_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's weights with another activation load without a word and see badly."""
    shutil.copytree(open_clip_folder, tmp_path / "clip")
    file = tmp_path / "clip" / "open_clip_config.json"
    config = json.loads(file.read_text())
    del config["model_cfg"]["quick_gelu"]
    file.write_text(json.dumps(config))
    monkeypatch.setattr("ovdiff.models.pretrained.snapshot_download", lambda *_, **__: str(tmp_path / "clip"))
    model, _ = load_open_clip(ClipModelSettings(source=source, library="open_clip"))
    for tower in (model.visual.transformer, model.transformer):
        assert type(tower.resblocks[0].mlp.gelu) is activation


def test_open_clip_s_other_architectures_are_refused_by_name(open_clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(open_clip_folder, tmp_path / "siglip")
    config = tmp_path / "siglip" / "open_clip_config.json"
    config.write_text(config.read_text().replace('"vision_cfg": {', '"vision_cfg": {"timm_model_name": "vit", '))
    with pytest.raises(WeightsError, match="open_clip with timm_model_name; only OpenAI's architecture"):
        LoadedModels().clip(_open_clip(tmp_path / "siglip"))
