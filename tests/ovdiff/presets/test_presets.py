"""The presets that come with the package."""

import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

from ovdiff import presets
from ovdiff.baselines.preset import BaselinePreset
from ovdiff.engines import load_any_preset
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets import Preset, load_preset, preset_names
from ovdiff.presets.files import baseline_names
from ovdiff.presets.mapping import entries, to_mapping
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.presets.needs import EXTRACTORS, feature_settings, unread_tables
from ovdiff.tinyworld.world import STUFF, THINGS


def test_every_packaged_preset_loads_under_its_own_name() -> None:
    assert {"tinyworld", "odise_tinyworld"} <= set(preset_names())
    for name in preset_names():
        assert load_any_preset(name).name == name


def test_the_names_of_one_engine_s_presets_are_those_that_it_reads() -> None:
    engines = {name: type(load_any_preset(name)) for name in preset_names()}
    assert {name for name, found in engines.items() if found is Preset} == set(preset_names("ovdiff"))
    assert {name for name, found in engines.items() if found is OdisePreset} == set(preset_names("odise"))
    assert {name for name, found in engines.items() if issubclass(found, BaselinePreset)} == set(baseline_names())
    assert set(preset_names("clip_dense")) <= set(baseline_names())
    assert {found for found in engines.values() if not issubclass(found, BaselinePreset)} == {Preset, OdisePreset}


@pytest.mark.parametrize("name", preset_names())
def test_packaged_files_name_every_field_that_their_preset_reads(name: str) -> None:
    """The files that users copy are complete: nothing that matters comes from a default."""
    preset = load_any_preset(name)
    (file,) = Path(presets.__file__).parent.rglob(f"{name}.toml")
    written = _paths(tomllib.loads(file.read_text("utf-8")))
    unread = {"models"} | (_unread_parts(preset) if isinstance(preset, Preset) else set())
    absent = _paths(to_mapping(preset)) - written
    assert {path for path in absent if not any(path.startswith(f"{table}.") for table in unread)} == set()


def _unread_parts(preset: Preset) -> set[str]:
    tables = {f"proposals.{source}" for source in ("cutler", "maskcut", "detectron2")}
    tables |= {f"extractors.{extractor}" for extractor in EXTRACTORS.built_in}
    used = {f"proposals.{preset.proposals.source}", *(f"extractors.{used}" for used in preset.extractors.use)}
    return tables - used


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


def test_anchors_are_the_world_s_words_a_list_of_common_words_or_none_as_published() -> None:
    assert load_preset("tinyworld").anchors.words == (*THINGS, *STUFF)
    assert len(load_preset("fast").anchors.words) >= 300
    assert (load_preset("paper").anchors.words, load_preset("paper").anchors.prototypes) == ((), ())


def test_anchors_that_compete_for_pixels_are_words_of_the_same_list() -> None:
    for name in preset_names("ovdiff"):
        anchors = load_preset(name).anchors
        assert set(anchors.prototypes) <= set(anchors.words)
    assert load_preset("tinyworld").anchors.prototypes == (*THINGS, *STUFF)
    assert 10 <= len(load_preset("fast").anchors.prototypes) <= 40


def test_parts_are_checked_by_all_presets_but_the_paper_s() -> None:
    assert {name for name in preset_names("ovdiff") if load_preset(name).part_check.enabled} == {"fast", "tinyworld"}


LATER = {
    "extractors.clip.remainder": "cut",
    "extractors.clip.resampling": "bilinear",
    "extractors.dino.remainder": "cut",
    "extractors.dino.resampling": "bilinear",
    "extractors.stable_diffusion.posterior_noise": "shared",
    "extractors.stable_diffusion.resampling": "bilinear",
    "prefilter.caption_order": "likelihood",
    "prefilter.resampling": "bilinear",
    "prefilter.stretch_px": 512,
    "proposals.threshold_maps": "recorded",
    "support.erode_border": False,
    "windows.features_dtype": "computed",
    "windows.rounding": "down",
}
"""The reference's values of the fields that were added after the first keys had been made."""


def test_paper_follows_the_reference_in_the_fields_that_were_added_later_and_the_others_keep_their_keys() -> None:
    paper, unread = load_preset("paper"), unread_tables(load_preset("paper"))
    assert {path: value for path, value, _ in _later(paper) if path.rpartition(".")[0] not in unread} == LATER
    for name in set(preset_names("ovdiff")) - {"paper"}:
        assert all(value == default for _, value, default in _later(load_preset(name)))


def _later(table: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the value and the default of each field that was added later and may be in a key."""
    for entry in entries(table):
        if entry.declared is not None and entry.declared.metadata.get("changes_no_mask"):
            continue
        if is_dataclass(entry.value):
            yield from _later(entry.value, f"{path}{entry.name}.")
        elif entry.declared is not None and entry.declared.metadata.get("later"):
            yield f"{path}{entry.name}", entry.value, entry.declared.default


def test_only_stable_diffusion_computes_in_half_precision_under_paper() -> None:
    """As in the reference. The safety checker is ours."""
    half = {name for name, model in load_preset("paper").models.all_given().items() if model.dtype == "float16"}
    assert half == {"generator", "stable_diffusion", "safety_checker"}


def test_fast_runs_no_diffusion_when_an_image_is_segmented() -> None:
    preset = load_preset("fast")
    assert "stable_diffusion" not in preset.active_extractors()
    assert preset.models.stable_diffusion is None
    assert preset.generation.steps <= 8
    assert preset.generation.guidance == 1.0
