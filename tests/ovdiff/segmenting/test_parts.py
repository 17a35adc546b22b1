from dataclasses import replace

import pytest

from ovdiff.errors import PresetError, WeightsError
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.model_settings import ClipModelSettings
from ovdiff.segmenting.parts import SegmentingParts


def test_nothing_is_loaded_until_it_is_used() -> None:
    parts = SegmentingParts(load_preset("paper"), LoadedModels())  # its weights are on no test machine
    assert "texts" not in vars(parts)


def test_the_texts_are_cached_as_the_preset_says(preset: Preset, models: LoadedModels) -> None:
    small = replace(preset, cache=replace(preset.cache, texts=1))
    parts = SegmentingParts(small, models)
    assert parts.texts is parts.texts
    first = parts.texts.embed(["a boat"])[0]
    assert parts.texts.embed(["a boat"])[0] is first
    parts.texts.embed(["a tree"])  # takes the only place of the cache
    assert parts.texts.embed(["a boat"])[0] is not first


def test_clip_is_the_presets(preset: Preset, models: LoadedModels) -> None:
    assert SegmentingParts(preset, models).clip is models.clip(preset.models.clip)
    off = replace(
        preset,
        models=replace(preset.models, clip=None),
        prefilter=replace(preset.prefilter, enabled=False),
        extractors=replace(preset.extractors, use=("dino",)),
    )
    with pytest.raises(PresetError, match=r"no models\.clip"):
        _ = SegmentingParts(off, models).clip


def test_extractors_may_be_shared(preset: Preset, models: LoadedModels) -> None:
    extractors = Extractors(preset, models)
    assert SegmentingParts(preset, models, extractors).extractors is extractors


def test_loading_them_all_makes_every_extractor_that_votes_and_clip(
    preset: Preset, models: LoadedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(Extractors, "__getitem__", lambda _extractors, name: made.append(name))
    monkeypatch.setattr(LoadedModels, "clip", lambda _models, _settings: made.append("the clip of texts"))
    SegmentingParts(preset, models).load()
    assert made == [*preset.active_extractors(), "the clip of texts"]


def test_what_does_not_load_is_told(preset: Preset, models: LoadedModels) -> None:
    gone = replace(preset, models=replace(preset.models, clip=ClipModelSettings(source="./nowhere")))
    with pytest.raises(WeightsError, match=r"Model folder '\./nowhere' does not exist"):
        SegmentingParts(gone, models).load()
