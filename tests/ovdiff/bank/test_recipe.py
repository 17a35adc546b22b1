import shutil
from dataclasses import Field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from ovdiff.bank.recipe import Recipes, library_versions
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.building_settings import SafetySettings
from ovdiff.presets.model_settings import AdapterSettings, ModelSettings
from ovdiff.presets.needs import models_of
from ovdiff.presets.part_settings import Detectron2Settings
from ovdiff.vocabulary import Category


def _key(preset: Preset, category: Category | None = None) -> str:
    return Recipes(preset).prototypes(category or Category("boat")).key


def _support_key(preset: Preset, category: Category | None = None) -> str:
    return Recipes(preset).support(category or Category("boat")).key


def _masks_key(preset: Preset) -> str:
    return Recipes(preset).masks().key


def _changed(preset: Preset, section: str, change: dict[str, Any]) -> Preset:
    return replace(preset, **{section: replace(getattr(preset, section), **change)})


def test_key_is_the_prompts_and_not_the_name_or_kind(preset: Preset) -> None:
    assert _key(preset) == _key(preset, Category("Boot", ("boat",), kind="stuff"))
    assert _key(preset) != _key(preset, Category("boat", ("boat", "ship")))


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("windows", {"short_side_px": 130}),
        ("matching", {"kinds": ("class",)}),
        ("matching", {"extractors": ("clip",)}),
        ("prefilter", {"enabled": False}),
        ("refine", {"pamr": True}),
        ("generation", {"batch_size": 5}),
    ],
)
def test_what_concerns_only_segmenting_keeps_the_key(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _key(replace(preset, **{section: replace(getattr(preset, section), **change)})) == _key(preset)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("generation", {"seed": 43}),
        ("generation", {"images": 4}),
        ("attribution", {"layers": ()}),
        ("proposals", {"source": "fixed"}),
        ("support", {"erode_background": False}),
        ("prototypes", {"parts": 3}),
        ("extractors", {"use": ("clip",)}),
    ],
)
def test_what_shapes_prototypes_changes_the_key(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _key(replace(preset, **{section: replace(getattr(preset, section), **change)})) != _key(preset)


def test_only_models_that_take_part_are_in_the_recipe(preset: Preset) -> None:
    clip_only = replace(preset, extractors=replace(preset.extractors, use=("clip",)))
    assert models_of(clip_only, "images", "masks", "features") == ("clip", "generator")
    assert set(Recipes(clip_only).prototypes(Category("boat")).models) == {"clip", "generator"}
    assert set(Recipes(clip_only).prototypes(Category("boat")).parameters["extractors"]) == {"clip"}
    maskcut = replace(clip_only, proposals=replace(preset.proposals, source="maskcut"))
    assert models_of(maskcut, "images", "masks", "features") == ("clip", "dino", "generator")


def test_only_settings_of_the_chosen_proposal_source_are_in_the_key(preset: Preset) -> None:
    deeper = replace(preset.proposals.maskcut, layer=-2)
    maskcut = replace(preset, proposals=replace(preset.proposals, source="maskcut"))
    assert _key(replace(maskcut, proposals=replace(maskcut.proposals, maskcut=deeper))) != _key(maskcut)
    assert _key(replace(preset, proposals=replace(preset.proposals, maskcut=deeper))) == _key(preset)


def test_weights_count_by_what_they_are_and_not_by_where_they_lie(preset: Preset, tmp_path: Path) -> None:
    before = preset.models.clip
    assert before is not None
    copied = shutil.copytree(before.source, tmp_path / "elsewhere")
    moved = replace(preset, models=replace(preset.models, clip=replace(before, source=str(copied), licence="mine")))
    assert _key(moved) == _key(preset)
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    assert _key(moved) != _key(preset)


def test_files_of_detectron2_count_by_what_they_hold(preset: Preset, tmp_path: Path) -> None:
    def key(folder: str, content: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        config, weights = tmp_path / folder / "model.yaml", tmp_path / folder / "model.pth"
        config.write_text(content)
        weights.write_bytes(b"weights")
        files = Detectron2Settings(config=str(config), weights=str(weights))
        return _key(replace(preset, proposals=replace(preset.proposals, source="detectron2", detectron2=files)))

    assert key("here", "VERSION: 2") == key("there", "VERSION: 2") != key("there", "VERSION: 1 ")


def test_an_adapter_is_in_the_key(preset: Preset) -> None:
    def with_adapter(scale: float) -> Preset:
        adapter = AdapterSettings("some/adapter", revision="1", scale=scale)
        return replace(
            preset, models=replace(preset.models, generator=replace(preset.models.generator, adapter=adapter))
        )

    assert len({_key(preset), _key(with_adapter(1.0)), _key(with_adapter(0.5))}) == 3


def test_the_model_that_looks_for_unsafe_images_takes_part(preset: Preset) -> None:
    sd_only = replace(preset, extractors=replace(preset.extractors, use=("stable_diffusion",)))
    assert "clip" not in models_of(sd_only, "images", "masks", "features")
    assert "clip" in models_of(replace(sd_only, safety=SafetySettings("auto")), "images", "masks", "features")
    checker = replace(sd_only.models, safety_checker=ModelSettings("some/checker"))
    assert "safety_checker" in models_of(
        replace(sd_only, safety=SafetySettings("auto"), models=checker), "images", "masks", "features"
    )


def test_versions_name_the_libraries_that_compute() -> None:
    assert {"torch", "diffusers", "transformers"} <= set(library_versions())


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("proposals", {"source": "maskcut"}),
        ("support", {"erode_background": False}),
        ("extractors", {"use": ("clip",)}),
        ("prototypes", {"parts": 3}),
        ("generation", {"batch_size": 5}),
        ("prefilter", {"enabled": False}),
    ],
)
def test_what_draws_no_image_keeps_the_images(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _support_key(_changed(preset, section, change)) == _support_key(preset)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("generation", {"seed": 43}),
        ("generation", {"negative_prompt": "blurry"}),
        ("attribution", {"step_range": (0.0, 0.5)}),
        ("safety", {"check": "clip_text"}),
        ("safety", {"max_redraws": 1}),
    ],
)
def test_what_draws_other_images_changes_their_key(preset: Preset, section: str, change: dict[str, Any]) -> None:
    assert _support_key(_changed(preset, section, change)) != _support_key(preset)


def test_the_weights_that_draw_and_check_are_in_the_images_key(preset: Preset) -> None:
    checked = replace(preset, safety=SafetySettings("clip_text"))
    clip = replace(preset.models, clip=replace(preset.models.clip, dtype="bfloat16"))  # type: ignore[type-var]
    assert _support_key(replace(checked, models=clip)) != _support_key(checked)
    assert _support_key(replace(preset, models=clip)) == _support_key(preset)
    generator = replace(preset.models, generator=replace(preset.models.generator, dtype="bfloat16"))
    assert _support_key(replace(preset, models=generator)) != _support_key(preset)


def test_images_are_those_of_the_phrases(preset: Preset) -> None:
    assert _support_key(preset, Category("Boot", ("boat",), "stuff")) == _support_key(preset)
    assert _support_key(preset, Category("boat", ("boat", "ship"))) != _support_key(preset)


def test_masks_depend_on_proposals_and_eq_1_alone(preset: Preset) -> None:
    maskcut = _changed(preset, "proposals", {"source": "maskcut"})
    dino = replace(preset.models, dino=replace(preset.models.dino, dtype="bfloat16"))  # type: ignore[type-var]
    assert _masks_key(_changed(preset, "prototypes", {"parts": 3})) == _masks_key(preset)
    assert _masks_key(replace(preset, models=dino)) == _masks_key(preset)
    others = [maskcut, replace(maskcut, models=dino), _changed(preset, "support", {"background_max": 0.3})]
    assert len({_masks_key(one) for one in [preset, *others]}) == 4


def test_models_that_segment_are_those_that_vote_and_clip_where_it_is_asked() -> None:
    paper, fast = load_preset("paper"), load_preset("fast")
    assert models_of(paper, "segmenting") == ("clip", "dino", "stable_diffusion")
    assert models_of(fast, "segmenting") == ("clip", "dinov2")
    alone = replace(paper, matching=replace(paper.matching, extractors=("dino",)))
    assert models_of(alone, "segmenting") == ("clip", "dino")
    without = replace(alone, prefilter=replace(alone.prefilter, enabled=False))
    assert models_of(without, "segmenting") == ("clip", "dino")  # still asked about unknown names
    parity = replace(without, stuff_filter=replace(without.stuff_filter, unknown_names="thing"))
    assert models_of(parity, "segmenting") == ("dino",)


@pytest.mark.parametrize(
    ("section", "change", "same"),
    [
        ("anchors", {"words": ("ball", "car")}, False),
        ("anchors", {"words": ("ball",), "near_cosine": 0.2}, False),
        ("anchors", {"words": ("ball",), "doubtful_below": 0.7}, False),
        ("prefilter", {"template": "a photo of a {category}"}, False),
        ("prefilter", {"enabled": False}, True),
        ("generation", {"images": 4}, True),
    ],
)
def test_what_judges_is_another_where_anchors_texts_or_weights_differ(
    preset: Preset, section: str, change: dict[str, Any], same: bool
) -> None:
    judging = _changed(preset, "anchors", {"words": ("ball",)})
    key = Recipes(judging).judgement.key
    assert (Recipes(_changed(judging, section, change)).judgement.key == key) is same
    clip = replace(preset.models.clip, dtype="bfloat16")  # type: ignore[type-var]
    assert Recipes(_changed(judging, "models", {"clip": clip})).judgement.key != key


def test_anchors_are_no_part_of_the_other_keys(preset: Preset) -> None:
    judging = _changed(preset, "anchors", {"words": ("ball",), "doubtful_below": 0.7})
    assert (_key(judging), _support_key(judging), _masks_key(judging)) == (
        _key(preset), _support_key(preset), _masks_key(preset)
    )  # fmt: skip
    other_bar = _changed(judging, "anchors", {"doubtful_below": 0.9, "near_cosine": 0.2})
    assert other_bar.fingerprint() == judging.fingerprint()  # it changes no mask


def _encoding_key(preset: Preset) -> str:
    return Recipes(preset).encodings.key


TABLES_OF_ENCODINGS = (
    "windows",
    "prefilter",
    "extractors.stable_diffusion",
    "extractors.clip",
    "extractors.dino",
)


def _other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value[:-1] if value and isinstance(value, tuple) else value + type(value)(("x",) if value == () else 1)


def _fields_of_encodings() -> list[tuple[str, Field[Any]]]:
    schema = load_preset("paper")
    tables = [(path, attrgetter(path)(schema)) for path in TABLES_OF_ENCODINGS]
    return [(path, entry) for path, table in tables for entry in fields(table)]


@pytest.mark.parametrize(("path", "entry"), _fields_of_encodings(), ids=lambda it: getattr(it, "name", it))
def test_every_field_that_encoding_reads_is_in_its_key_unless_it_says_that_it_shapes_none(
    preset: Preset, path: str, entry: Field[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Preset, "__post_init__", lambda _self: None)  # impossible values do for a key
    outer, _, inner = path.partition(".")
    table = attrgetter(path)(preset)
    before = getattr(table, entry.name)
    changed = replace(table, **{entry.name: "another" if isinstance(before, str) else _other(before)})
    section = changed if not inner else replace(preset.extractors, **{inner: changed})
    other = replace(preset, **{outer: section})
    left_out = entry.metadata["changes_no_mask"] or entry.metadata["shapes_no_encoding"]
    if (path, entry.name) != ("prefilter", "enabled"):  # without it CLIP does not look: that is in the key by itself
        assert (_encoding_key(other) == _encoding_key(preset)) == left_out


def test_only_voters_and_their_models_are_in_an_encoding_s_recipe(preset: Preset) -> None:
    clip = replace(preset, matching=replace(preset.matching, extractors=("clip",)))
    assert set(Recipes(clip).encodings.parameters["extractors"]) == {"clip"}
    blind = replace(clip, matching=replace(clip.matching, extractors=("dino",)))
    assert set(Recipes(blind).encodings.models) == {"clip", "dino"}
    blind = replace(blind, prefilter=replace(blind.prefilter, enabled=False))
    assert set(Recipes(blind).encodings.models) == {"dino"}
    assert "prefilter" not in Recipes(blind).encodings.parameters
    looks = replace(blind, part_check=replace(blind.part_check, enabled=True))
    assert set(Recipes(looks).encodings.models) == {"clip", "dino"}


def test_weights_and_their_dtype_are_in_an_encoding_s_key(preset: Preset, tmp_path: Path) -> None:
    before = preset.models.clip
    assert before is not None
    copied = shutil.copytree(before.source, tmp_path / "elsewhere")
    moved = replace(preset, models=replace(preset.models, clip=replace(before, source=str(copied))))
    assert _encoding_key(moved) == _encoding_key(preset)
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    assert _encoding_key(moved) != _encoding_key(preset)
    half = replace(preset, models=replace(preset.models, clip=replace(before, dtype="float16")))
    assert _encoding_key(half) != _encoding_key(preset)


def test_how_support_images_are_drawn_is_in_no_encoding_s_key(preset: Preset) -> None:
    drawn = replace(preset, generation=replace(preset.generation, seed=7, images=5))
    assert _encoding_key(drawn) == _encoding_key(preset)
