import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdiff.engines import load_any_preset
from ovdiff.presets import Preset, load_preset, preset_names, preset_to_mapping
from ovdiff.presets.preset import mapping_to_preset
from ovdiff.presets.text import preset_to_toml


@pytest.mark.parametrize("name", preset_names())
def test_what_is_written_loads_as_an_equal_preset(name: str, tmp_path: Path) -> None:
    preset = load_any_preset(name)
    (tmp_path / "shown.toml").write_text(preset_to_toml(preset), "utf-8")
    assert load_any_preset(tmp_path / "shown.toml") == preset


@given(text=st.text(min_size=1).filter(str.strip), number=st.floats(allow_nan=False), phrases=st.integers(0, 40))
def test_any_text_and_any_number_come_back(text: str, number: float, phrases: int) -> None:
    preset = load_preset("tinyworld")
    changed = replace(
        preset,
        name=text,
        generation=replace(
            preset.generation, negative_prompt=text, phrases=tuple((f"{i} {text}", text) for i in range(phrases))
        ),
        safety=replace(preset.safety, margin=number),
    )
    assert _read(preset_to_toml(changed)) == changed


def _read(text: str) -> Preset:
    return mapping_to_preset(tomllib.loads(text), "the text")


def test_every_field_is_there_with_its_unit_and_reason() -> None:
    preset = load_preset("paper")
    text = preset_to_toml(preset)
    assert "[generation] # How the support images are drawn (A.1).\n" in text
    assert "images = 32 # N, the images of a category: R draws 32, the paper's first version 64\n" in text
    assert "size_px = 512 # px; P; the images are square\n" in text
    assert _without_none(preset_to_mapping(preset)) == tomllib.loads(text)


def _without_none(mapping: dict[str, object]) -> dict[str, object]:
    kept = {key: value for key, value in mapping.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in kept.items()}


def test_what_is_not_given_and_what_is_not_used_is_said() -> None:
    text = preset_to_toml(load_preset("tinyworld"))
    assert "# [models.mae] is not given. It gives the MAE features.\n" in text
    said = re.findall(r"is not given\. It (\w+)", preset_to_toml(load_preset("fast")) + text)
    assert len(said) > 6 and all(verb.endswith("s") for verb in said)  # a sentence has a verb
    assert "[proposals.cutler] # CutLER's detector (A.3, D.2).\n# Not used by this preset.\nmin_score" in text
    assert "\n[models.generator] # Draws the support images.\n" in text
    assert (
        "[extractors.clip] # CLIP's image encoder; its tokens are projected into the space of its texts.\n# cosine;"
        in text
    )


def test_a_value_of_the_users_own_has_the_default_beside_it() -> None:
    text = preset_to_toml(load_preset("tinyworld"))
    assert "images = 8 # the default is 32: N, the images of a category: R draws 32, the paper's" in text
    assert "seed = 42 # R; every category has the same seed\n" in text
    assert "# not the default: P, D = 6400" in text
    assert '\nlayers = ["down_blocks.0", "down_blocks.1"' in text  # of attribution: the default is none
    assert "default []" not in text and 'default ""' not in text


def test_hundreds_of_words_take_few_lines() -> None:
    preset = load_preset("fast")
    shown = preset_to_toml(preset).split("\nwords = [\n")[1].split("]")[0].splitlines()
    assert len(shown) < len(preset.anchors.words) / 5


def test_lines_can_be_read() -> None:
    for name in preset_names():
        assert max(map(len, preset_to_toml(load_any_preset(name)).splitlines())) <= 120


def test_a_long_comment_goes_over_several_lines_above_its_field() -> None:
    lines = preset_to_toml(load_preset("fast")).splitlines()
    end = lines.index('source = "maskcut"')
    assert lines[end - 2].startswith('# the default is "cutler": P. ')
    comment = " ".join(line.removeprefix("# ") for line in lines[end - 2 : end])
    assert comment.endswith("'multi_otsu' a whole category (A.4.6); 'fixed' takes the next two fields")
