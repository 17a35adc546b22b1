from dataclasses import fields, make_dataclass, replace
from typing import get_type_hints

import pytest

from ovdiff import Bank, Category, Engine, Preset, load_preset
from ovdiff.errors import PresetError
from ovdiff.presets import FeatureSettings, setting
from ovdiff.presets.building_settings import ExtractorSettings, ProposalSettings, PrototypeSettings
from ovdiff.presets.model_settings import CheckpointSettings, ClipModelSettings, ModelSettings
from ovdiff.presets.needs import (
    EXTRACTORS,
    PROPOSALS,
    extractor_settings,
    feature_dtype,
    feature_settings,
    models_of,
    needs,
    object_part,
    part_licence,
    part_versions,
    proposal_settings,
    source_settings,
    unread_tables,
)
from ovdiff.presets.part import Part
from ovdiff.presets.part_settings import ClipFeatureSettings, CutlerSettings, MaskCutSettings
from ovdiff.presets.segmenting_settings import InstanceSettings


@pytest.fixture(scope="module")
def tiny() -> Preset:
    return load_preset("tinyworld")


@pytest.mark.parametrize(("tables", "parts"), [(ExtractorSettings, EXTRACTORS), (ProposalSettings, PROPOSALS)])
def test_the_schema_s_tables_are_those_of_the_parts(tables: type, parts: object) -> None:
    of_parts = {name: part.settings for name, part in parts.built_in.items() if part.settings}  # type: ignore[attr-defined]
    hints = get_type_hints(tables)
    assert {name: hints[name] for name in of_parts if name in hints} == of_parts


@pytest.mark.parametrize("part", [*EXTRACTORS.built_in.values(), *PROPOSALS.built_in.values()])
def test_every_maker_can_be_imported(part: Part) -> None:
    assert callable(part.maker("a test"))


def test_every_model_that_a_part_needs_is_in_the_schema() -> None:
    hints = get_type_hints(type(load_preset("paper").models))
    for part in (*EXTRACTORS.built_in.values(), *PROPOSALS.built_in.values()):
        for model, kind in part.models.items():
            assert kind in (hints[model], *getattr(hints[model], "__args__", ())), model


def test_what_a_preset_needs_and_when(tiny: Preset) -> None:
    paper = load_preset("paper")
    assert models_of(paper, "images") == ("generator", "safety_checker")
    assert models_of(paper, "masks") == ("cutler",)
    assert models_of(paper, "features") == ("clip", "dino", "stable_diffusion")
    assert models_of(tiny, "images", "masks", "features") == ("clip", "dino", "generator", "stable_diffusion")
    assert models_of(tiny, "segmenting") == ("clip", "stable_diffusion")  # dino is built, but has no vote
    reasons = {need.reason for need in needs(paper) if need.model == "clip" and need.stage == "segmenting"}
    assert "prefilter.enabled" in reasons and "stuff_filter.unknown_names = 'nearest'" in reasons


def test_settings_are_given_as_the_type_that_is_asked_for(tiny: Preset) -> None:
    assert extractor_settings(tiny, "clip", ClipFeatureSettings) is tiny.extractors.clip
    assert feature_settings(tiny, "clip") is tiny.extractors.clip
    with pytest.raises(PresetError, match=r"extractors.clip is ClipFeatureSettings; expected CutlerSettings"):
        extractor_settings(tiny, "clip", CutlerSettings)
    with pytest.raises(PresetError, match=r"proposals.otsu is NoneType; expected CutlerSettings"):
        proposal_settings(tiny, CutlerSettings)
    with pytest.raises(PresetError, match=r"There is no extractor 'sam'\. Known: clip, dino"):
        feature_settings(tiny, "sam")
    cut = replace(tiny, proposals=replace(tiny.proposals, source="maskcut"))
    assert proposal_settings(cut, MaskCutSettings) is tiny.proposals.maskcut
    assert source_settings(tiny) is None


def test_a_model_is_given_as_the_type_that_is_asked_for(tiny: Preset) -> None:
    assert tiny.models.given("clip", ClipModelSettings) is tiny.models.clip
    with pytest.raises(PresetError, match=r"has no models.mae; add a \[models.mae\] table with a source"):
        tiny.models.given("mae", ModelSettings)
    with pytest.raises(PresetError, match=r"models.clip is ClipModelSettings; expected CheckpointSettings"):
        tiny.models.given("clip", CheckpointSettings)


def test_features_are_of_the_dtype_of_their_model() -> None:
    assert [feature_dtype(load_preset(name), "clip") for name in ("tinyworld", "fast")] == ["bfloat16", "float16"]


def test_tables_that_nothing_reads_are_known(tiny: Preset) -> None:
    assert unread_tables(tiny) == {
        *(f"extractors.{name}" for name in ("dinov2", "dinov3", "mae")),
        *(f"proposals.{name}" for name in ("cutler", "maskcut", "detectron2")),
    }


def test_the_source_of_objects_is_needed_and_read_when_an_image_is_segmented(tiny: Preset) -> None:
    assert object_part(tiny) is None
    proposing = replace(tiny, instances=InstanceSettings("proposals", source="maskcut"))
    found = object_part(proposing)
    assert found is not None and found.path == "proposals.maskcut" and found.settings is tiny.proposals.maskcut
    assert models_of(proposing, "segmenting") == ("clip", "dino", "stable_diffusion")
    assert models_of(proposing, "masks") == ()
    assert unread_tables(tiny) - unread_tables(proposing) == {"proposals.maskcut"}
    paper = load_preset("paper")
    own = object_part(replace(paper, instances=InstanceSettings("proposals")))
    assert own is not None and own.path == "proposals.cutler"


def test_how_objects_are_found_is_in_no_key(tiny: Preset) -> None:
    proposing = replace(tiny, instances=InstanceSettings("proposals", source="maskcut"))
    assert _key(proposing) == _key(tiny)


def test_cutler_s_licence_goes_with_the_part(tiny: Preset) -> None:
    assert part_licence(tiny, "cutler") == "CC-BY-NC-SA-4.0" and part_licence(tiny, "clip") == ""
    assert part_versions(tiny) == {}


# What is in a key, and what is not.


def _key(preset: Preset) -> str:
    return Engine(preset, Bank("nowhere")).category_key(Category("ball"))


def test_a_later_field_at_its_default_changes_no_key_and_another_value_does(tiny: Preset) -> None:
    Later = make_dataclass(  # noqa: N806 - a class
        "Later",
        [("shrink", float, setting(1.0, "came with a later version", later=True))],
        bases=(PrototypeSettings,),
        frozen=True,
    )
    values = {entry.name: getattr(tiny.prototypes, entry.name) for entry in fields(tiny.prototypes)}
    assert _key(replace(tiny, prototypes=Later(**values))) == _key(tiny)
    assert _key(replace(tiny, prototypes=Later(**values, shrink=0.5))) != _key(tiny)


def test_a_field_that_is_not_declared_later_is_in_the_key(tiny: Preset) -> None:
    """Otherwise the test above could not fail."""
    Forgotten = make_dataclass(  # noqa: N806 - a class
        "Forgotten", [("shrink", float, setting(1.0, "not declared later"))], bases=(PrototypeSettings,), frozen=True
    )
    values = {entry.name: getattr(tiny.prototypes, entry.name) for entry in fields(tiny.prototypes)}
    assert _key(replace(tiny, prototypes=Forgotten(**values))) != _key(tiny)


def test_an_unused_table_changes_neither_key_nor_fingerprint(tiny: Preset) -> None:
    with_sam = replace(tiny, proposals=replace(tiny.proposals, added=(("sam", CutlerSettings()),)))
    with_sam = replace(with_sam, extractors=replace(with_sam.extractors, added=(("sam", FeatureSettings()),)))
    changed = replace(with_sam, extractors=replace(with_sam.extractors, mae=replace(tiny.extractors.mae, layer=3)))
    assert _key(changed) == _key(tiny) and changed.fingerprint() == tiny.fingerprint()
    used = replace(tiny, extractors=replace(tiny.extractors, clip=replace(tiny.extractors.clip, window_px=112)))
    assert _key(used) == _key(tiny) and used.fingerprint() != tiny.fingerprint()  # online, and in use


def test_a_part_s_version_is_in_the_key_once_it_is_above_1(tiny: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    before, part = _key(tiny), EXTRACTORS.built_in["clip"]
    monkeypatch.setitem(EXTRACTORS.built_in, "clip", replace(part, version=2))  # type: ignore[arg-type]
    assert _key(tiny) != before
    monkeypatch.setitem(EXTRACTORS.built_in, "clip", part)  # type: ignore[arg-type]
    monkeypatch.setitem(PROPOSALS.built_in, "cutler", replace(PROPOSALS.built_in["cutler"], version=2))  # type: ignore[arg-type]
    assert _key(tiny) == before  # not in use
