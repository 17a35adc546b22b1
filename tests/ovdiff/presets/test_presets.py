import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ovdiff import presets
from ovdiff.errors import PresetError
from ovdiff.presets import Preset, load_preset, preset_description, preset_names, preset_to_mapping
from ovdiff.presets.mapping import entries, offline_values
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.presets.needs import EXTRACTORS


def _write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_every_packaged_preset_loads_under_its_own_name() -> None:
    assert "tinyworld" in preset_names()
    for name in preset_names():
        assert load_preset(name).name == name


@pytest.mark.parametrize("name", preset_names())
def test_packaged_files_name_every_field_that_their_preset_reads(name: str) -> None:
    """The files that users copy are complete: nothing that matters comes from a default."""
    preset = load_preset(name)
    written = _paths(tomllib.loads(Path(presets.__file__).with_name(f"{name}.toml").read_text("utf-8")))
    unread = {"models"} | {f"proposals.{source}" for source in ("cutler", "maskcut", "detectron2")}
    unread |= {f"extractors.{extractor}" for extractor in EXTRACTORS.built_in}
    unread -= {f"proposals.{preset.proposals.source}", *(f"extractors.{used}" for used in preset.extractors.use)}
    absent = _paths(preset_to_mapping(preset)) - written
    assert {path for path in absent if not any(path.startswith(f"{table}.") for table in unread)} == set()


def _paths(mapping: dict[str, Any], prefix: str = "") -> set[str]:
    paths = set()
    for key, value in mapping.items():
        paths |= _paths(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return paths


def test_file_may_change_one_field_of_a_base(tmp_path: Path) -> None:
    preset = load_preset(_write(tmp_path, 'base = "tinyworld"\nname = "mine"\n[generation]\nimages = 2\n'))
    base = load_preset("tinyworld")
    assert preset == replace(base, name="mine", generation=replace(base.generation, images=2))


def test_a_file_describes_itself_in_its_first_comment(tmp_path: Path) -> None:
    path = _write(tmp_path, '# Ours.\n#   - "indented"\n\n# About the name.\nname = "mine"\n')
    assert preset_description(path) == 'Ours.\n  - "indented"'
    assert preset_description(_write(tmp_path, 'name = "mine"  # no\n# description')) == ""
    for name in preset_names():
        assert preset_description(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[generation]\nimagse = 2", r"unknown field 'generation.imagse'. Did you mean 'generation.images'\?"),
        ("nonsense = 1", "unknown field 'nonsense'. Known: name, models"),
        ("[generation]\nimages = 0", r"generation.images is 0; expected 1 to 1024"),
        ("[generation]\nimages = true", "generation.images is True; expected an integer"),
        ("[generation]\nimages = '8'", "generation.images is '8'; expected an integer"),
        ("generation = 3", "generation must be a table"),
        ("[windows]\ncrops_px = [[96]]", r"windows.crops_px\[0\] is \[96\]; expected 2 values"),
        ("[windows]\ncrops_px = [[96, 120]]", "stride above the size leaves gaps"),
        ("[windows]\ncrops_px = []\nwhole_image = false", "so no part of an image would be encoded"),
        ("[windows]\nmax_long_side_px = 32", "max_long_side_px is 32"),
        (
            "[extractors]\nuse = ['sam']",
            "extractors.use names 'sam'; expected one of 'clip', .* entry point group 'ovdiff.extractors'",
        ),
        (
            "[extractors]\nuse = ['mae']\n[matching]\nextractors = []",
            r"extractors.use \('mae'\) needs models.mae, which is missing",
        ),
        ("[proposals]\nsource = 'cutler'", r"needs models.cutler, which is missing; add a \[models.cutler\] table"),
        ("[proposals]\nsource = 'detectron2'", "must give a config and a weights file"),
        ("[safety]\ncheck = 'safety_checker'", "needs models.safety_checker, which is missing"),
        ("[models.clip]\nlibrary = 'open_clip'", "but the embedded CLIP 'tinyworld:clip' is of the library"),
        ("[models.clip]\nadapter = 1", "unknown field 'models.clip.adapter'"),
        ("[generation]\nsize_px = 60", "needs a multiple of 8"),
        ("[generation]\nscheduler = 'lcm'\nfinal_sigma = 'zero'", "leave it at 'sigma_min' with 'lcm'"),
        ("[generation]\nscheduler = 'lcm'\nsteps = 51", "steps is 51; 'lcm' has 50 at most"),
        ("[generation]\nphrases = [['tank', 'a'], ['Tank', 'b']]", "gives a name twice"),
        ("[generation]\nphrases = [['tank', ' ']]", "blank name or phrase"),
        ("[prototypes]\nkmeans_seed = 5000000000", "kmeans_seed is 5000000000; expected 0 to 4294967295"),
        ("[extractors]\nuse = []", "extractors.use is empty"),
        ("[extractors]\nuse = ['clip']\n[matching]\nextractors = ['dino']", "which extractors.use does not build"),
        ("[matching]\nkinds = ['part', 'part']", "name each once"),
        ("[matching]\nkinds = []", "matching.kinds is empty"),
        ("[generation]\nprompt_template = 'a photo'", "must contain '{category}' exactly once"),
        ("[attribution]\nstep_range = [0.5, 0.5]", r"contains none of the \d+ denoising steps"),
        ("[proposals]\nfixed_background = 0.6", r"fixed_background \(0.6\) is above .*so pixels would be both"),
        ("[models.clip]\nsource = ' '", "models.clip.source is blank"),
        ("[models.clip]\ndtype = 'int8'", "models.clip.dtype is 'int8'; expected one of 'float32'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_preset(_write(tmp_path, f'base = "tinyworld"\n{change}\n'))


def test_missing_models_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="missing field 'models'"):
        load_preset(_write(tmp_path, 'name = "mine"'))
    with pytest.raises(PresetError, match=r"No preset 'papre'. Known: .*tinyworld"):
        load_preset("papre")
    with pytest.raises(PresetError, match="cannot be read"):
        load_preset(tmp_path / "absent.toml")
    with pytest.raises(PresetError, match="is not TOML"):
        load_preset(_write(tmp_path, "name = "))


def test_base_that_goes_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(PresetError, match="circle"):
        load_preset(_write(tmp_path, f'base = "{path}"'))


def test_changes_in_code_are_validated_too() -> None:
    base = load_preset("tinyworld")
    with pytest.raises(PresetError, match=r"prototypes\.parts is 0"):
        replace(base, prototypes=replace(base.prototypes, parts=0))


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
        generation=replace(base.generation, batch_size=1, mib_per_image=1),
        extractors=replace(base.extractors, batch_size=1, clip=replace(base.extractors.clip, mib_per_image=1)),
        memory=replace(base.memory, build_gib=1.0),
    )
    assert same.fingerprint() == base.fingerprint()


def test_offline_values_hold_no_online_field() -> None:
    parameters = offline_values(load_preset("tinyworld"))
    assert {"models", "generation", "safety", "attribution", "proposals", "support", "extractors", "prototypes"} == set(
        parameters
    )
    assert "batch_size" not in parameters["generation"]
    assert {"window_px", "stuff_similarity"}.isdisjoint(parameters["extractors"]["clip"])
    assert {"support_px", "layer"} <= set(parameters["extractors"]["clip"])


def test_every_field_gives_its_reason() -> None:
    def check(settings: Any) -> None:
        for entry in entries(settings):
            if is_dataclass(entry.value):
                check(entry.value)
            elif entry.name != "name":
                assert entry.declared is not None and entry.declared.metadata["reason"], entry.name

    check(load_preset("tinyworld"))
    assert "name" in {entry.name for entry in fields(Preset)}


@pytest.mark.parametrize(
    ("section", "field"),
    [("matching", "background_threshold"), ("generation", "guidance"), ("prefilter", "logit_scale")],
)
def test_not_a_number_is_refused(section: str, field: str) -> None:
    preset = load_preset("tinyworld")
    with pytest.raises(PresetError, match=f"{section}.{field} is nan"):
        replace(preset, **{section: replace(getattr(preset, section), **{field: float("nan")})})


def test_other_weights_lose_what_was_said_of_the_base_s(tmp_path: Path) -> None:
    text = 'base = "fast"\nname = "mine"\n[models.generator]\nsource = "/my/model"\n'
    generator = load_preset(_write(tmp_path, text)).models.generator
    assert (generator.revision, generator.variant, generator.adapter) == ("", "", None)
    assert generator.dtype == "float16"


def test_presets_for_real_use_pin_what_they_load() -> None:
    """Every hub id carries a revision; commits where they could be looked up."""
    for name in ("paper", "fast"):
        for model, settings in load_preset(name).models.all_given().items():
            if isinstance(settings, ModelSettings):
                assert settings.revision, f"{name}: models.{model}"


def test_paper_follows_the_specification() -> None:
    preset = load_preset("paper")
    generation = preset.generation
    assert (generation.images, generation.steps, generation.guidance, generation.scheduler) == (
        32, 30, 8.0, "dpmsolver++"
    )  # fmt: skip
    assert (generation.timestep_spacing, generation.final_sigma) == ("linspace", "sigma_min")
    assert preset.extractors.use == ("stable_diffusion", "dino", "clip")
    assert (preset.proposals.source, preset.prototypes.parts, preset.refine.pamr) == ("cutler", 32, False)
    assert preset.windows.crops_px == ((448, 224), (336, 224))
    assert preset.prefilter.enabled
    assert preset.stuff_filter.enabled


def test_fast_runs_no_diffusion_when_an_image_is_segmented() -> None:
    preset = load_preset("fast")
    assert "stable_diffusion" not in preset.active_extractors()
    assert preset.models.stable_diffusion is None
    assert preset.generation.steps <= 8
    assert preset.generation.guidance == 1.0
