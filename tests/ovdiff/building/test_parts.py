from dataclasses import replace

from ovdiff.building.parts import BuildingParts
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.proposals import Thresholder


def test_nothing_is_loaded_until_it_is_used() -> None:
    models = LoadedModels()
    parts = BuildingParts(load_preset("paper"), models)  # its weights are on no test machine
    assert parts.models is models
    assert not {"generator", "safety", "source"} & set(vars(parts))


def test_each_part_is_made_once(preset: Preset, models: LoadedModels) -> None:
    parts = BuildingParts(preset, models)
    assert parts.generator is parts.generator
    assert isinstance(parts.source, Thresholder)
    assert parts.source is parts.source


def test_the_safety_check_is_the_presets(preset: Preset, models: LoadedModels) -> None:
    assert preset.safety.check == "off"
    assert BuildingParts(preset, models).safety is None
    checked = replace(preset, safety=replace(preset.safety, check="clip_text"))
    assert BuildingParts(checked, models).safety is not None


def test_extractors_may_be_shared(preset: Preset, models: LoadedModels) -> None:
    extractors = Extractors(preset, models)
    assert BuildingParts(preset, models, extractors).extractors is extractors
    assert BuildingParts(preset, models).extractors is not extractors
