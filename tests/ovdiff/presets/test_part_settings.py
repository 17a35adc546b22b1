from dataclasses import fields, replace

import pytest

from ovdiff.presets import FeatureSettings, load_preset
from ovdiff.presets.needs import EXTRACTORS
from ovdiff.presets.part_settings import ClipFeatureSettings, DinoFeatureSettings, StableDiffusionFeatureSettings


@pytest.mark.parametrize("part", EXTRACTORS.built_in.values(), ids=EXTRACTORS.built_in)
def test_the_settings_of_every_extractor_have_what_all_have(part: object) -> None:
    settings = part.settings()  # type: ignore[attr-defined]
    assert isinstance(settings, FeatureSettings) and settings.stuff_similarity == 0.85 and settings.mib_per_image > 0


def test_what_changes_no_prototype_is_online() -> None:
    online = {
        entry.name
        for kind in (ClipFeatureSettings, StableDiffusionFeatureSettings)
        for entry in fields(kind)
        if entry.metadata["online"]
    }
    assert online == {"stuff_similarity", "mib_per_image", "window_px", "aspect", "max_long_side_px", "remainder"}


def test_the_defaults_are_the_paper_s() -> None:
    extractors = load_preset("paper").extractors
    later = {entry.name: entry.default for entry in fields(DinoFeatureSettings) if entry.metadata["later"]}
    in_float32 = {"mib_per_image": 150}  # twice what half precision takes
    assert replace(extractors.dino, **later) == replace(DinoFeatureSettings(), **in_float32)
    assert len(StableDiffusionFeatureSettings().layers) == 8 and extractors.stable_diffusion.layers == (
        StableDiffusionFeatureSettings().layers
    )


def test_the_field_of_clip_s_tokens_says_that_they_are_not_the_reference_s() -> None:
    (feature,) = (entry for entry in fields(ClipFeatureSettings) if entry.name == "feature")
    assert "R's ablation takes another block's" in feature.metadata["reason"]
    assert load_preset("paper").extractors.clip.feature == "keys"  # so no mask of "paper" depends on it
