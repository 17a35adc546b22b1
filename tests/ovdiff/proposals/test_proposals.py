from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.errors import PresetError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.needs import PROPOSALS
from ovdiff.presets.part import Part
from ovdiff.proposals import Proposer, Thresholder, make_object_proposer, make_source


@pytest.mark.parametrize("source", ["otsu", "multi_otsu", "fixed"])
def test_thresholds_are_sources_without_models(source: str, preset: Preset, models: LoadedModels) -> None:
    chosen = replace(preset, proposals=replace(preset.proposals, source=source))
    assert isinstance(make_source(chosen, models), Thresholder)


def test_maskcut_proposes_on_the_presets_dino(preset: Preset, models: LoadedModels) -> None:
    chosen = replace(preset, proposals=replace(preset.proposals, source="maskcut"))
    assert isinstance(make_source(chosen, models), Proposer)


def test_a_maker_that_returns_no_source_is_refused(
    preset: Preset, models: LoadedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_source.py").write_text("def make(preset, models):\n    return 'nothing'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PROPOSALS.built_in, "mine", Part("no_source:make"))  # type: ignore[arg-type]
    chosen = replace(preset, proposals=replace(preset.proposals, source="mine"))
    with pytest.raises(PresetError, match=r"proposal source 'mine' is str; expected an object with propose\(image\)"):
        make_source(chosen, models)


def test_objects_are_proposed_by_a_source_of_their_own(preset: Preset, models: LoadedModels) -> None:
    assert preset.proposals.source != "maskcut"
    chosen = replace(preset, instances=replace(preset.instances, method="proposals", source="maskcut"))
    assert isinstance(make_object_proposer(chosen, models), Proposer)
    with pytest.raises(PresetError, match=r"instances\.method is 'cores'; expected 'proposals'"):
        make_object_proposer(replace(preset, instances=replace(preset.instances, method="cores")), models)


def test_a_threshold_of_another_package_finds_no_objects(
    preset: Preset, models: LoadedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    undeclared = Part("ovdiff.proposals.threshold:make_otsu")
    monkeypatch.setitem(PROPOSALS.built_in, "mine", undeclared)  # type: ignore[arg-type]
    chosen = replace(preset, instances=replace(preset.instances, method="proposals", source="mine"))
    with pytest.raises(PresetError, match=r"'mine' thresholds attribution maps, .* Set instances\.source to a source"):
        make_object_proposer(chosen, models)
