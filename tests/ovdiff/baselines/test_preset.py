from dataclasses import replace
from typing import Any

import pytest

from ovdiff.baselines.preset import BaselinePreset
from ovdiff.engines import load_any_preset
from ovdiff.engines.contract import WithoutBackground
from ovdiff.engines.registry import ENGINES
from ovdiff.errors import PresetError
from ovdiff.presets.files import baseline_names

CHANGED: dict[str, dict[str, Any]] = {
    "dense": {
        "attention": "sclip",
        "last_block": "whole",
        "gaussian_std": 2.0,
        "surgery_blocks": 3,
        "remove_redundant": True,
        "redundant_scale": 1.0,
        "statistics": "half",
        "resampling": "bilinear",
    },
    "texts": {"templates": ("a {category}",)},
    "scores": {"activation": "none", "scale": 3.0},
    "background": {"words": (), "threshold": 0.5},
    "windows": {"crops_px": ((336, 168),), "whole_image": True, "max_long_side_px": 1000},
    "refine": {"pamr": True, "min_part_px": 3},
    "batches": {"size": 1, "mib_per_window": 9, "budget_gib": 1.0},
    "cache": {"images": 1, "texts": 1},
}
"""Another value of each field, by its table."""

CHANGES_NO_MASK = ("batches", "cache")
WORDS_AND_SCORES = ("texts", "scores", "background", "refine")


def _preset(name: str) -> Any:
    preset = load_any_preset(name)
    assert isinstance(preset, BaselinePreset)
    return preset


def test_every_packaged_baseline_is_of_an_engine_of_baselines() -> None:
    assert len(baseline_names()) >= 10
    for name in baseline_names():
        assert _preset(name).engine in ENGINES.built_in


@pytest.mark.parametrize("table", CHANGED)
def test_every_field_that_can_change_a_mask_is_in_the_fingerprint(table: str) -> None:
    preset = _preset("naclip")
    for field, value in CHANGED[table].items():
        assert value != getattr(getattr(preset, table), field), field
        changed = replace(preset, **{table: replace(getattr(preset, table), **{field: value})})
        assert (changed.fingerprint() == preset.fingerprint()) == (table in CHANGES_NO_MASK), field
        same = table in (*CHANGES_NO_MASK, *WORDS_AND_SCORES)
        assert (changed.encoding_values() == preset.encoding_values()) == same, field
    assert replace(preset, name="mine").fingerprint() == preset.fingerprint()


def test_sclip_and_naclip_have_their_code_s_settings() -> None:
    sclip, naclip, surgery = map(_preset, ("sclip", "naclip", "clip_surgery"))
    for preset in (sclip, naclip):
        assert preset.windows.short_side_px == 336 and preset.windows.crops_px == ((224, 112),)
        assert len(preset.texts.templates) == 80 and len(preset.background.words) == 26
        assert preset.background.threshold == 0.1
    assert (sclip.dense.last_block, naclip.dense.last_block) == ("whole", "attention")
    assert (sclip.scores.scale, naclip.scores.scale, naclip.dense.gaussian_std) == (65.0, 40.0, 5.0)
    assert surgery.dense.remove_redundant and surgery.dense.surgery_blocks == 6


def test_a_preset_without_background_gives_every_pixel_a_category() -> None:
    preset = _preset("naclip")
    assert isinstance(preset, WithoutBackground)
    changed = replace(preset, refine=replace(preset.refine, min_part_px=9)).without_background()
    assert (changed.background.words, changed.background.threshold, changed.refine.min_part_px) == ((), -1.0, 0)
    assert changed.dense == preset.dense and changed.name == preset.name


def test_what_contradicts_itself_is_refused() -> None:
    preset = _preset("naclip")
    for table, changes, message in (
        ("texts", {"templates": ("a photo",)}, r"texts.templates is \['a photo'\]; each must contain '{category}'"),
        ("texts", {"templates": ()}, r"texts.templates is \[\]"),
        ("background", {"words": ("wall", " ")}, "background.words has a blank word; remove it"),
        ("windows", {"crops_px": ()}, "no part of an image would be encoded"),
    ):
        with pytest.raises(PresetError, match=f"Preset 'naclip': .*{message}"):
            replace(preset, **{table: replace(getattr(preset, table), **changes)})
