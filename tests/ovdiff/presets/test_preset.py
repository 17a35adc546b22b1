from dataclasses import replace

from ovdiff.presets import load_preset, preset_to_mapping
from ovdiff.presets.preset import mapping_to_preset


def test_fingerprint_sees_every_field_but_name_and_cache() -> None:
    base = load_preset("tinyworld")
    assert replace(base, name="other", cache=replace(base.cache, texts=1)).fingerprint() == base.fingerprint()
    refined = replace(base, refine=replace(base.refine, pamr=not base.refine.pamr))
    assert refined.fingerprint() != base.fingerprint()


def test_what_changes_no_mask_is_not_in_the_fingerprint() -> None:
    """Or Label Studio would ask for every task again after a smaller batch."""
    base = load_preset("tinyworld")
    clip = base.models.clip
    assert clip is not None
    same = replace(
        base,
        models=replace(base.models, clip=replace(clip, licence="mine")),
        generation=replace(base.generation, batch_size=1, mib_per_image=1, mib_per_sample=1),
        extractors=replace(base.extractors, batch_size=1, clip=replace(base.extractors.clip, mib_per_image=1)),
        memory=replace(base.memory, build_gib=1.0),
    )
    assert same.fingerprint() == base.fingerprint()


def test_settings_of_a_source_that_is_not_in_use_are_not_in_the_fingerprint() -> None:
    base = load_preset("tinyworld")
    assert base.proposals.source == "otsu"
    unread = replace(base.proposals, maskcut=replace(base.proposals.maskcut, masks=5))
    assert replace(base, proposals=unread).fingerprint() == base.fingerprint()
    used = replace(base.proposals, source="maskcut")
    cut = replace(base, proposals=used)
    assert replace(cut, proposals=replace(used, maskcut=unread.maskcut)).fingerprint() != cut.fingerprint()


def test_the_source_of_objects_is_in_the_fingerprint_where_it_finds_objects() -> None:
    base = load_preset("tinyworld")
    other = replace(base.proposals, maskcut=replace(base.proposals.maskcut, tau=0.3))
    proposing = replace(base, instances=replace(base.instances, method="proposals", source="maskcut"))
    assert replace(proposing, proposals=other).fingerprint() != proposing.fingerprint() != base.fingerprint()
    assert replace(base, proposals=other).fingerprint() == base.fingerprint()


def test_a_preset_is_the_same_after_a_way_through_plain_values() -> None:
    base = load_preset("fast")
    assert mapping_to_preset(preset_to_mapping(base), "the test") == base
