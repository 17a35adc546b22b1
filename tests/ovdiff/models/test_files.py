from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.models.files import BUILDING, SEGMENTING, files_of, missing_in, needed_files
from ovdiff.presets import load_preset
from ovdiff.presets.model_settings import (
    AdapterSettings,
    CheckpointSettings,
    ClipModelSettings,
    DiffusionModelSettings,
    ModelSettings,
)


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_models_of_one_source_are_one_entry() -> None:
    found = {entry.models: entry for entry in files_of(load_preset("paper"), *BUILDING, *SEGMENTING)}
    assert list(found) == [("generator", "stable_diffusion"), ("clip",), ("dino",), ("cutler",), ("safety_checker",)]
    assert all(entry.missing and entry.place is None and not entry.is_local for entry in found.values())
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in found["generator", "stable_diffusion"].missing
    assert found[("cutler",)].missing == ("cutler_cascade_final.pth",)


def test_only_the_models_of_the_stages_are_asked_for() -> None:
    fast = load_preset("fast")
    assert [entry.models[0] for entry in files_of(fast, *SEGMENTING)] == ["clip", "dinov2"]
    assert "generator.adapter" in {name for entry in files_of(fast, *BUILDING) for name in entry.models}


def test_an_entry_says_what_is_missing_and_how_large_it_is() -> None:
    entries = {entry.models[0]: str(entry) for entry in files_of(load_preset("fast"), *BUILDING)}
    assert entries["generator.adapter"] == (
        "generator.adapter: latent-consistency/lcm-lora-sdv1-5 @ cf2fced511db (1 file, about 135 MB)"
    )
    assert entries["clip"].endswith("(2 files, about 598 MB)")


@pytest.mark.parametrize("name", ["fast", "paper"])
def test_the_size_of_each_packaged_source_is_known(name: str) -> None:
    assert all(entry.megabytes for entry in files_of(load_preset(name), *BUILDING, *SEGMENTING))


def test_the_embedded_weights_are_here() -> None:
    entries = files_of(load_preset("tinyworld"), *BUILDING, *SEGMENTING)
    assert entries and all(entry.is_local and not entry.missing for entry in entries)


def test_a_local_folder_that_is_missing_is_missing_and_one_that_lacks_a_file_names_it(tmp_path: Path) -> None:
    preset = load_preset("tinyworld")
    clip = replace(preset.models.clip, source=str(tmp_path / "clip"))  # type: ignore[type-var]
    changed = replace(preset, models=replace(preset.models, clip=clip))
    entry = next(entry for entry in files_of(changed, *SEGMENTING) if entry.models == ("clip",))
    assert (entry.missing, entry.place, entry.is_local) == ((str(tmp_path / "clip"),), None, True)
    (tmp_path / "clip").mkdir()
    for name in ("config.json", "pytorch_model.bin", "vocab.json"):
        (tmp_path / "clip" / name).touch()
    entry = next(entry for entry in files_of(changed, *SEGMENTING) if entry.models == ("clip",))
    assert (entry.missing, entry.place) == (("merges.txt",), tmp_path / "clip")


def test_each_kind_of_model_has_its_files() -> None:
    clip = ClipModelSettings(source="a/b", library="open_clip")
    assert ("open_clip_config.json",) in needed_files("clip", clip)
    model = ModelSettings(source="a/b")
    assert ("preprocessor_config.json",) in needed_files("safety_checker", model)
    assert ("preprocessor_config.json",) not in needed_files("dino", model)
    assert needed_files("cutler", CheckpointSettings(source="https://a.example/b.pth")) == ()
    assert needed_files("generator.adapter", AdapterSettings(source="a/b")) == (("pytorch_lora_weights.safetensors",),)
    plain = needed_files("generator", DiffusionModelSettings(source="a/b"))
    assert any("unet/diffusion_pytorch_model.safetensors" in names for names in plain)


def test_weights_in_several_files_are_no_missing_file(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / name).touch()
    assert missing_in(tmp_path, needed_files("dinov2", load_preset("fast").models.dinov2)) == ()  # type: ignore[arg-type]
