from dataclasses import replace
from typing import Any

import pytest

from ovdiff.presets import Preset
from ovdiff.recipe import category_recipe, library_versions, models_used, preset_recipe, recipe_key
from ovdiff.vocabulary import Category


def _key(preset: Preset, category: Category | None = None) -> str:
    return recipe_key(category_recipe(preset_recipe(preset), category or Category("boat")))


def test_key_is_the_prompts_and_not_the_name_or_kind(preset: Preset) -> None:
    assert _key(preset) == _key(preset, Category("Boot", ("boat",), kind="stuff"))
    assert _key(preset) != _key(preset, Category("boat", ("boat", "ship")))


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("windows", {"short_side_px": 130}),
        ("matching", {"kinds": ("class",)}),
        ("matching", {"extractors": ("clip",)}),
        ("prefilter", {"enabled": False}),
        ("refine", {"pamr": True}),
        ("generation", {"batch_size": 5}),
    ],
)
def test_what_concerns_only_segmenting_keeps_the_key(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _key(replace(preset, **{section: replace(getattr(preset, section), **change)})) == _key(preset)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("generation", {"seed": 43}),
        ("generation", {"images": 4}),
        ("attribution", {"layers": ()}),
        ("proposals", {"source": "fixed"}),
        ("support", {"erode_background": False}),
        ("prototypes", {"parts": 3}),
        ("extractors", {"use": ("clip",)}),
    ],
)
def test_what_shapes_prototypes_changes_the_key(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _key(replace(preset, **{section: replace(getattr(preset, section), **change)})) != _key(preset)


def test_only_models_that_take_part_are_in_the_recipe(preset: Preset) -> None:
    clip_only = replace(preset, extractors=replace(preset.extractors, use=("clip",)))
    assert models_used(clip_only) == ("clip", "generator")
    assert set(preset_recipe(clip_only)["weights"]) == {"clip", "generator"}
    assert set(preset_recipe(clip_only)["parameters"]["extractors"]) == {"clip"}
    maskcut = replace(clip_only, proposals=replace(preset.proposals, source="maskcut"))
    assert models_used(maskcut) == ("clip", "dino", "generator")


def test_maskcut_s_dino_settings_are_in_the_key_though_dino_gives_no_features(preset: Preset) -> None:
    clip_only = replace(preset.extractors, use=("clip",))
    maskcut = replace(
        preset,
        extractors=clip_only,
        proposals=replace(preset.proposals, source="maskcut"),
        matching=replace(preset.matching, extractors=()),
    )
    dino = replace(clip_only.dino, statistics="imagenet", layer=-2)
    assert _key(replace(maskcut, extractors=replace(clip_only, dino=dino))) != _key(maskcut)
    otsu = replace(maskcut, proposals=replace(preset.proposals, source="otsu"))
    assert _key(replace(otsu, extractors=replace(clip_only, dino=dino))) == _key(otsu)


def test_versions_name_the_libraries_that_compute() -> None:
    assert {"torch", "diffusers", "transformers"} <= set(library_versions())
