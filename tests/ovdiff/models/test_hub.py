"""Hub ids through the libraries' own downloads, from a hub on this machine that is laid out as the real one is."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from benchmarks import architectures as real
from ovdiff.errors import WeightsError
from ovdiff.models.fetching import fetch, require_files
from ovdiff.models.files import files_of
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.model_settings import PresetModels
from tests.fakes.hub import REVISION, Hub, model_hub

DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture(scope="module")
def repositories(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's repositories with small models in them, and files beside them that nobody needs."""
    folder = tmp_path_factory.mktemp("hub")
    diffusion = folder / DIFFUSION
    shutil.copytree(weights_folder / "stable_diffusion", diffusion)
    pipeline = StableDiffusionPipeline.from_pretrained(weights_folder / "stable_diffusion")
    pipeline.to(torch.float16).save_pretrained(diffusion, variant="fp16")
    real.save_safety_checker(real.build_safety_checker(shrink=16), diffusion / "safety_checker")
    index = json.loads((diffusion / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (diffusion / "model_index.json").write_text(json.dumps(index))
    for unneeded in ("v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "unet/diffusion_pytorch_model.fp16.bin"):
        (diffusion / unneeded).write_bytes(b"gigabytes")
    clip = folder / "timm/vit_base_patch16_clip_224.openai"
    real.save_open_clip(real.build_open_clip(shrink=16), clip, 16)
    for unneeded in ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin"):
        (clip / unneeded).write_bytes(b"gigabytes")
    dino = folder / "facebook/dino-vitb8"
    real.build_dino(shrink=16).save_pretrained(dino)
    torch.save(load_file(dino / "model.safetensors"), dino / "pytorch_model.bin")
    (dino / "model.safetensors").unlink()
    checker = folder / "CompVis/stable-diffusion-safety-checker"
    shutil.copytree(diffusion / "safety_checker", checker)
    return folder


@pytest.fixture
def hub(repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """As HF_ENDPOINT and HF_HUB_CACHE would set it, which are read at import."""
    with model_hub(repositories) as running:
        constants = {
            "ENDPOINT": running.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        }
        for name, value in constants.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", running.url)
        yield running


@pytest.fixture(scope="module")
def paper() -> Preset:
    """The preset with its own hub ids; the hub's one revision stands for theirs."""
    preset = load_preset("paper")
    pinned = {
        name: replace(settings, revision=REVISION)
        for name, settings in vars(preset.models).items()
        if name in ("generator", "stable_diffusion", "clip", "dino", "safety_checker")
    }
    return replace(preset, models=PresetModels(cutler=preset.models.cutler, **pinned))


def _load(choice: PresetModels) -> None:
    models = LoadedModels()
    assert choice.clip and choice.dino and choice.safety_checker and choice.stable_diffusion
    assert models.diffusion(choice.generator) is models.diffusion(choice.stable_diffusion)
    models.clip(choice.clip)
    models.vit(choice.dino)
    models.safety_checker(choice.safety_checker)


def test_only_what_is_needed_is_fetched_and_only_once(hub: Hub, paper: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(paper.models)
    fetched = sorted(hub.fetched)
    weights = [name for name in fetched if name.endswith((".safetensors", ".bin", ".ckpt"))]
    assert weights == [
        "CompVis/stable-diffusion-safety-checker/model.safetensors",
        "facebook/dino-vitb8/pytorch_model.bin",
        f"{DIFFUSION}/text_encoder/model.fp16.safetensors",
        f"{DIFFUSION}/unet/diffusion_pytorch_model.fp16.safetensors",
        f"{DIFFUSION}/vae/diffusion_pytorch_model.fp16.safetensors",
        "timm/vit_base_patch16_clip_224.openai/open_clip_model.safetensors",
    ]
    assert len(set(fetched)) == len(fetched)

    hub.fetched.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _load(paper.models)  # from the cache, with the cable pulled
    assert hub.fetched == []


def test_what_is_fetched_ahead_is_all_that_the_loaders_read(
    hub: Hub, paper: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ("images", "features", "segmenting")  # without CutLER's, whose file is on no hub
    for entry in files_of(paper, *stages):
        assert entry.missing
        fetch(entry, "")
    assert not any(entry.missing for entry in files_of(paper, *stages))
    assert not any("gigabytes" in Path(hub.folder / name).read_text("latin-1") for name in hub.fetched)

    hub.fetched.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    require_files(paper, *stages)
    _load(paper.models)
    assert hub.fetched == []


def test_what_is_fetched_into_a_folder_loads_from_there(
    hub: Hub, paper: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {entry.models[0]: entry for entry in files_of(paper, "images", "features", "segmenting")}
    places = {name: str(fetch(entry, "", tmp_path / "weights" / name)) for name, entry in entries.items()}
    models = paper.models
    assert models.clip and models.dino and models.safety_checker and models.stable_diffusion
    local = PresetModels(
        generator=replace(models.generator, source=places["generator"]),
        stable_diffusion=replace(models.stable_diffusion, source=places["generator"]),
        clip=replace(models.clip, source=places["clip"]),
        dino=replace(models.dino, source=places["dino"]),
        safety_checker=replace(models.safety_checker, source=places["safety_checker"]),
    )
    hub.fetched.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _load(local)
    assert hub.fetched == []


def test_a_source_that_lacks_a_file_is_named(hub: Hub, paper: Preset) -> None:
    assert paper.models.dino
    odd = replace(paper, models=replace(paper.models, dino=replace(paper.models.dino, source="facebook/dino-vits8")))
    shutil.copytree(hub.folder / "facebook/dino-vitb8", hub.folder / "facebook/dino-vits8", dirs_exist_ok=True)
    (hub.folder / "facebook/dino-vits8/pytorch_model.bin").unlink()
    (entry,) = (entry for entry in files_of(odd, "features") if entry.models == ("dino",))
    with pytest.raises(WeightsError, match=r"'facebook/dino-vits8' has no model\.safetensors: correct the preset"):
        fetch(entry, "")
