"""Scenes and changed presets; that engines of a changed preset are used is tested by test_absent_words.py."""

import numpy as np
import pytest

from benchmarks.drawn_world import Scenes, changes_of, true_labels, vary, with_changes
from ovdiff import Category, Vocabulary, load_preset
from ovdiff.errors import PresetError
from ovdiff.tinyworld.world import NAMES

SKY_BOAT = Vocabulary((Category("sky"), Category("boat")))


def test_settings_are_read_as_toml() -> None:
    texts = ["prefilter.enabled=false", "prefilter.template='a {category}'", "windows.crops_px=[[96, 48]]"]
    assert changes_of(texts) == {
        "prefilter": {"enabled": False, "template": "a {category}"},
        "windows": {"crops_px": [[96, 48]]},
    }


def test_a_setting_that_is_no_toml_says_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"--set prefilter.enabled: .* Write section.field=value"):
        changes_of(["prefilter.enabled"])


def test_the_second_changes_win() -> None:
    assert with_changes({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 5}}) == {"a": {"x": 1, "y": 5}, "b": 3}


def test_a_preset_is_changed_in_these_fields_alone() -> None:
    preset = load_preset("tinyworld")
    changed = vary(preset, prefilter={"enabled": True}, extractors={"clip": {"window_px": 96}})
    assert changed.prefilter.enabled
    assert changed.extractors.clip.window_px == 96
    assert vary(changed, prefilter={"enabled": False}, extractors={"clip": {"window_px": 128}}) == preset


def test_a_field_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(PresetError, match=r"unknown field 'prefilter\.enable'"):
        vary(load_preset("tinyworld"), prefilter={"enable": False})


def test_true_labels_count_what_is_not_asked_for_as_background() -> None:
    names = np.array([[NAMES.index("boat"), NAMES.index("sky")], [NAMES.index("car"), NAMES.index("floor")]], np.uint8)
    assert true_labels(names, SKY_BOAT).tolist() == [[2, 1], [0, 0]]
    (only,) = Scenes((0,), (), (), (names,)).truths(SKY_BOAT)
    assert only.tolist() == [[2, 1], [0, 0]]
