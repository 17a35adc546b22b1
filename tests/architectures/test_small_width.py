"""Each loader on its real topology at an eighth of the width: saved as the hub has it, read back without a network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from benchmarks import architectures as real
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.building_settings import ExtractorSettings
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings
from ovdiff.presets.needs import EXTRACTORS

SHRINK = 8
pytestmark = pytest.mark.usefixtures("offline")


def _saved(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return model


def _clip(folder: Path) -> Any:
    real.build_tokenizer().save_pretrained(folder)
    return _saved(real.build_clip(shrink=SHRINK), folder)


def _open_clip(folder: Path) -> Any:
    model = real.build_open_clip(shrink=SHRINK)
    real.save_open_clip(model, folder, SHRINK)
    return model


def _safety_checker(folder: Path) -> Any:
    model = real.build_safety_checker(shrink=SHRINK)
    real.save_safety_checker(model, folder)
    return model


SAVE: dict[str, Callable[[Path], Any]] = {
    "sd15": lambda folder: _saved(real.build_diffusion(real.SD_15, shrink=SHRINK), folder),
    "turbo": lambda folder: _saved(real.build_diffusion(real.SD_TURBO, shrink=SHRINK), folder),
    "clip": _clip,
    "open_clip": _open_clip,
    "dino": lambda folder: _saved(real.build_dino(shrink=SHRINK), folder),
    "dinov2": lambda folder: _saved(real.build_dinov2(shrink=SHRINK), folder),
    "dinov3": lambda folder: _saved(real.build_dinov3(shrink=SHRINK), folder),
    "mae": lambda folder: _saved(real.build_mae(shrink=SHRINK), folder),
    "safety_checker": _safety_checker,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


@pytest.fixture(scope="module", autouse=True)
def originals(folder: Path) -> dict[str, Any]:
    """What was saved, a folder each."""
    torch.manual_seed(0)
    return {name: save(folder / name) for name, save in SAVE.items()}


@pytest.fixture(scope="module")
def loaded() -> LoadedModels:
    return LoadedModels()


def _settings(kind: type[ModelSettings], folder: Path, **options: Any) -> Any:
    return kind(source=str(folder), **options)


def _same(found: nn.Module, expected: nn.Module) -> None:
    weights = expected.state_dict()
    assert found.state_dict().keys() == weights.keys()
    for name, weight in found.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("name", ["sd15", "turbo"])
def test_a_pipeline_is_read_back(name: str, folder: Path, originals: dict[str, Any], loaded: LoadedModels) -> None:
    found, expected = loaded.diffusion(_settings(DiffusionModelSettings, folder / name)), originals[name]
    for part in ("unet", "vae", "text_encoder"):
        _same(getattr(found, part), getattr(expected, part))
    assert type(found.scheduler) is type(expected.scheduler)
    assert found.tokenizer("a cat").input_ids == expected.tokenizer("a cat").input_ids
    assert found.tokenizer.pad_token_id == expected.tokenizer.pad_token_id
    assert found.safety_checker is None


@pytest.mark.parametrize(
    ("name", "load"), [("dino", "vit"), ("dinov2", "dinov2"), ("dinov3", "dinov3"), ("mae", "mae")]
)
def test_a_transformer_is_read_back(
    name: str, load: str, folder: Path, originals: dict[str, Any], loaded: LoadedModels
) -> None:
    _same(getattr(loaded, load)(_settings(ModelSettings, folder / name)), originals[name])


def test_the_safety_checker_is_read_back(folder: Path, originals: dict[str, Any], loaded: LoadedModels) -> None:
    found, processor = loaded.safety_checker(_settings(ModelSettings, folder / "safety_checker"))
    _same(found, originals["safety_checker"])
    assert processor.size == {"shortest_edge": 224}


def test_both_clips_are_read_back(folder: Path, originals: dict[str, Any], loaded: LoadedModels) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    for library, name in (("transformers", "clip"), ("open_clip", "open_clip")):
        clip = loaded.clip(_settings(ClipModelSettings, folder / name, library=library))
        assert clip.keys(images, (64, 64), -2, "imagenet").shape == (1, 96, 4, 4)
        assert clip.embed_images(images, "clip").shape == (1, 64)
        _same(clip._model, originals[name])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("dino/model.safetensors", ["encoder.layer.11.attention.attention.key.weight", "embeddings.cls_token"]),
        ("dinov2/model.safetensors", ["encoder.layer.11.layer_scale1.lambda1", "embeddings.position_embeddings"]),
        ("dinov3/model.safetensors", ["layer.11.attention.k_proj.weight", "embeddings.register_tokens"]),
        ("mae/model.safetensors", ["encoder.layer.23.attention.attention.key.bias", "layernorm.weight"]),
        ("clip/model.safetensors", ["vision_model.encoder.layers.11.self_attn.k_proj.bias", "text_projection.weight"]),
        (
            "open_clip/open_clip_model.safetensors",
            ["visual.transformer.resblocks.11.attn.in_proj_weight", "positional_embedding"],
        ),
        (
            "sd15/unet/diffusion_pytorch_model.safetensors",
            ["up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_q.weight", "time_embedding.linear_1.weight"],
        ),
        ("sd15/vae/diffusion_pytorch_model.safetensors", ["post_quant_conv.weight", "encoder.conv_in.weight"]),
        ("safety_checker/model.safetensors", ["concept_embeds", "special_care_embeds_weights"]),
    ],
)
def test_files_hold_the_published_names(file: str, names: list[str], folder: Path) -> None:
    with safe_open(folder / file, "pt") as weights:
        assert set(names) <= set(weights.keys())


@pytest.fixture(scope="module")
def preset(folder: Path) -> Preset:
    """The paper's preset on the small models, with every extractor."""
    paper = load_preset("paper")
    diffusion = _settings(DiffusionModelSettings, folder / "sd15")
    transformers = {name: _settings(ModelSettings, folder / name) for name in ("dino", "dinov2", "dinov3", "mae")}
    clip = _settings(ClipModelSettings, folder / "open_clip", library="open_clip")
    small = {
        name: replace(getattr(ExtractorSettings(), name), support_px=112, window_px=112)
        for name in ("stable_diffusion", "clip", "dino", "dinov2", "dinov3", "mae")
    }
    return replace(
        paper,
        models=replace(paper.models, generator=diffusion, stable_diffusion=diffusion, clip=clip, **transformers),
        extractors=ExtractorSettings(**small),
    )


@pytest.mark.parametrize(
    ("name", "width", "grid"),
    [
        ("stable_diffusion", 6400 // SHRINK, 14),
        ("clip", 768 // SHRINK, 7),
        ("dino", 768 // SHRINK, 14),
        ("dinov2", 768 // SHRINK, 8),
        ("dinov3", 768 // SHRINK, 7),
        ("mae", 1024 // SHRINK, 7),
    ],
)
def test_features_are_computed_from_the_folders(
    name: str, width: int, grid: int, preset: Preset, loaded: LoadedModels
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    found = Extractors(preset, loaded)[name].extract(images, "window")
    assert found.shape == (2, width, grid, grid) and found.dtype == torch.float32
    assert found.isfinite().all() and not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("name", EXTRACTORS.built_in)
def test_half_precision_gives_nearly_the_same_features(name: str, preset: Preset, loaded: LoadedModels) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    half = {"dtype": "bfloat16", **({"vae_dtype": "bfloat16"} if name == "stable_diffusion" else {})}
    halved = replace(preset.models, **{name: replace(getattr(preset.models, name), **half)})
    exact = Extractors(preset, loaded)[name].extract(images, "window")
    rounded = Extractors(replace(preset, models=halved), LoadedModels())[name].extract(images, "window")
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert float((rounded - exact).norm() / exact.norm()) < 0.05


def test_sd_turbo_gives_features_too(preset: Preset, folder: Path, loaded: LoadedModels) -> None:
    turbo = _settings(DiffusionModelSettings, folder / "turbo")
    chosen = replace(preset, models=replace(preset.models, stable_diffusion=turbo))
    images = np.zeros((1, 64, 64, 3), np.uint8)
    assert Extractors(chosen, loaded)["stable_diffusion"].extract(images, "support").shape == (1, 800, 14, 14)
