"""The settings that are named are worth lowering, by the figures that `benchmarks/odise_cost.py` traced."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.odise.memory_advice import for_a_training, for_a_window, for_an_image
from ovdiff.odise.preset import OdisePreset

TRACED = Path(__file__).parents[3] / "benchmarks" / "results" / "odise_cost.json"


def loaded(name: str) -> OdisePreset:
    found = load_any_preset(name)
    assert isinstance(found, OdisePreset)
    return found


def test_a_training_is_told_what_is_worth_lowering() -> None:
    said = for_a_training(loaded("odise"))
    assert said == (
        "Lower training.batch (64), or taps.short_side_px (1024), which changes the features. With "
        "training.captioner_rate = 0 the captioner stays as it is, and no gradient goes through the UNet."
    )
    peaks = {name: row["peak_mib"] for name, row in json.loads(TRACED.read_text())["lowered"].items()}
    whole = peaks["as published"]
    assert peaks["taps.short_side_px = 512"] < 0.3 * whole and peaks["training.captioner_rate = 0"] < 0.75 * whole
    assert peaks["training.mask_px = 64"] > 0.95 * whole and "mask_px" not in said
    assert peaks["loss.points = 1000"] > 0.95 * whole and "points" not in said


def test_what_is_as_low_as_it_gets_is_not_named() -> None:
    whole = loaded("odise_tinyworld")
    assert "taps.batch_size (4)" in for_a_training(whole) and "short_side_px" not in for_a_training(whole)
    alone = replace(
        whole,
        training=replace(whole.training, batch=1, captioner_rate=0.0),
        taps=replace(whole.taps, batch_size=1),
    )
    assert for_a_training(alone) == "End other programs on the device, or use the device 'cpu'."


def test_lowering_the_batch_of_windows_helps_where_it_is_more_than_a_view() -> None:
    preset = loaded("odise")
    larger = replace(preset, taps=replace(preset.taps, batch_size=8))
    assert "taps.batch_size" not in for_a_training(preset)  # a view of four windows is encoded whole
    assert "while features are stored taps.batch_size (8)" in for_a_training(larger)


@pytest.mark.parametrize(
    ("taps", "words"),
    [
        ({}, "Lower taps.short_side_px (1024), or for a long image taps.max_long_side_px (2560)"),
        ({"short_side_px": 512}, "End other programs"),  # windows shrink with the short side and are as many
        ({"windows": "whole"}, "End other programs"),
    ],
)
def test_an_image_is_told_what_gives_fewer_windows(taps: dict[str, object], words: str) -> None:
    preset = loaded("odise")
    assert words in for_an_image(replace(preset, taps=replace(preset.taps, **taps)))  # type: ignore[arg-type]


def test_a_window_has_the_heads_size_so_only_weights_and_budget_are_named() -> None:
    preset = loaded("odise")
    said = for_a_window(preset)
    assert said.startswith("raise taps.budget_gib (6)") and "models.clip.dtype to 'float16'" in said
    half = replace(preset, models=replace(preset.models, clip=replace(preset.models.clip, dtype="float16")))
    assert "clip" not in for_a_window(half)
