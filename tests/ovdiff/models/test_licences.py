from dataclasses import replace

import pytest

from ovdiff.models.licences import UNKNOWN, licence_note, weights_licences
from ovdiff.presets import load_preset
from ovdiff.presets.model_settings import ModelSettings


def test_paper_s_non_commercial_weights_are_said_to_be_that_in_words() -> None:
    found = {entry.model: entry for entry in weights_licences(load_preset("paper"))}
    assert found["cutler"].licence == "CC-BY-NC-SA-4.0"
    assert "NON-COMMERCIAL" in found["cutler"].note
    assert [name for name, entry in found.items() if entry.non_commercial] == ["cutler"]


@pytest.mark.parametrize("name", ["fast", "tinyworld"])
def test_the_other_presets_may_be_used_commercially(name: str) -> None:
    entries = weights_licences(load_preset(name))
    assert not any(entry.non_commercial or entry.licence == UNKNOWN for entry in entries)


def test_an_adapter_has_a_licence_of_its_own() -> None:
    assert "generator.adapter" in {entry.model for entry in weights_licences(load_preset("fast"))}


def test_a_local_folder_s_licence_is_unknown_until_the_preset_says_it() -> None:
    preset = load_preset("tinyworld")
    local = replace(preset, models=replace(preset.models, dino=ModelSettings("/some/folder")))
    told = replace(preset, models=replace(preset.models, dino=ModelSettings("/some/folder", licence="CC-BY-NC-4.0")))
    assert {entry.licence for entry in weights_licences(local) if entry.model == "dino"} == {UNKNOWN}
    assert [entry.model for entry in weights_licences(told) if entry.non_commercial] == ["dino"]


def test_unknown_tells_what_to_do() -> None:
    assert "write it into the preset's 'licence'" in licence_note(UNKNOWN)
