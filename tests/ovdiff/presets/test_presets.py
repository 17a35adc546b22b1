"""The presets that come with the package."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ovdiff import presets
from ovdiff.presets import load_preset, preset_names, preset_to_mapping
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.presets.needs import EXTRACTORS, feature_settings


def test_every_packaged_preset_loads_under_its_own_name() -> None:
    assert "tinyworld" in preset_names()
    for name in preset_names():
        assert load_preset(name).name == name


@pytest.mark.parametrize("name", preset_names())
def test_packaged_files_name_every_field_that_their_preset_reads(name: str) -> None:
    """The files that users copy are complete: nothing that matters comes from a default."""
    preset = load_preset(name)
    written = _paths(tomllib.loads(Path(presets.__file__).with_name(f"{name}.toml").read_text("utf-8")))
    unread = {"models"} | {f"proposals.{source}" for source in ("cutler", "maskcut", "detectron2")}
    unread |= {f"extractors.{extractor}" for extractor in EXTRACTORS.built_in}
    unread -= {f"proposals.{preset.proposals.source}", *(f"extractors.{used}" for used in preset.extractors.use)}
    absent = _paths(preset_to_mapping(preset)) - written
    assert {path for path in absent if not any(path.startswith(f"{table}.") for table in unread)} == set()


def _paths(mapping: dict[str, Any], prefix: str = "") -> set[str]:
    paths = set()
    for key, value in mapping.items():
        paths |= _paths(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return paths


def test_presets_for_real_use_pin_what_they_load() -> None:
    """Every hub id carries a revision; commits where they could be looked up."""
    for name in ("paper", "fast"):
        for model, settings in load_preset(name).models.all_given().items():
            if isinstance(settings, ModelSettings):
                assert settings.revision, f"{name}: models.{model}"


def test_paper_follows_the_specification() -> None:
    preset = load_preset("paper")
    generation = preset.generation
    assert (generation.images, generation.steps, generation.guidance, generation.scheduler) == (
        32, 30, 8.0, "dpmsolver++"
    )  # fmt: skip
    assert (generation.timestep_spacing, generation.final_sigma) == ("linspace", "sigma_min")
    assert preset.extractors.use == ("stable_diffusion", "dino", "clip")
    assert (preset.proposals.source, preset.prototypes.parts, preset.refine.pamr) == ("cutler", 32, False)
    assert preset.windows.crops_px == ((448, 224), (336, 224))
    assert preset.prefilter.enabled
    assert preset.stuff_filter.enabled


@pytest.mark.parametrize(("name", "expected"), [("paper", "bilinear"), ("fast", "bicubic"), ("tinyworld", "bicubic")])
def test_paper_resizes_as_the_reference_does_and_the_others_with_antialiasing(name: str, expected: str) -> None:
    preset = load_preset(name)
    used = [feature_settings(preset, extractor) for extractor in preset.extractors.use]
    assert {settings.resampling for settings in used} == {preset.prefilter.resampling} == {expected}  # type: ignore[attr-defined]
    assert preset.prefilter.stretch_px == (512 if name == "paper" else 0)


def test_fast_runs_no_diffusion_when_an_image_is_segmented() -> None:
    preset = load_preset("fast")
    assert "stable_diffusion" not in preset.active_extractors()
    assert preset.models.stable_diffusion is None
    assert preset.generation.steps <= 8
    assert preset.generation.guidance == 1.0
