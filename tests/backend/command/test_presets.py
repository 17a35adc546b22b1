import json
import tomllib
from pathlib import Path

import pytest

from backend.command.presets import list_presets, show_preset
from converters.console import answering
from ovdiff.engines import load_any_preset
from ovdiff.errors import PresetError
from ovdiff.presets import preset_names


def test_presets_are_listed_with_their_weights(capsys: pytest.CaptureFixture[str]) -> None:
    list_presets()
    said = capsys.readouterr().out
    assert "fast: For one consumer GPU" in said
    assert "paper: OVDiff as published (ECCV 2024), on the models of the publication.\n" in said
    assert "CC-BY-NC-SA-4.0; NON-COMMERCIAL)" in said
    ours, _, others = said.partition("\nFor comparison, others' methods (docs/baselines.md):\n")
    assert "tinyworld: " in ours and "naclip" not in ours
    assert "\nnaclip: A baseline: NACLIP (Hajimiri et al., WACV 2025)" in others
    with answering(as_json=True):
        list_presets()
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(preset_names())
    by_name = {entry["name"]: entry for entry in listed}
    paper = {entry["model"]: entry for entry in by_name["paper"]["weights"]}
    assert paper["cutler"]["non_commercial"]
    assert paper["clip"]["revision"] == "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d"


@pytest.mark.parametrize("name", preset_names())
def test_what_is_shown_can_be_saved_and_passed_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_preset(name)
    saved = tmp_path / "mine.toml"
    saved.write_text(capsys.readouterr().out, "utf-8")
    assert load_any_preset(saved) == load_any_preset(name)
    show_preset(str(saved))
    assert capsys.readouterr().out == saved.read_text("utf-8")


def test_licences_are_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_preset("paper")
    said = capsys.readouterr().out
    assert "#   generator: stable-diffusion-v1-5/stable-diffusion-v1-5 @ 451f4fe16113\n#       CreativeML" in said
    assert "#       CC-BY-NC-SA-4.0: NON-COMMERCIAL: not for commercial use\n" in said
    assert "# With cutler as it is, this preset is NOT for commercial use.\n" in said
    show_preset("fast")
    said = capsys.readouterr().out
    assert "#   generator.adapter: latent-consistency/lcm-lora-sdv1-5 @ cf2fced511db\n" in said
    assert "NOT for commercial use" not in said


def test_a_preset_without_a_description_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text('base = "tinyworld"\nname = "mine"\n')
    show_preset(str(tmp_path / "mine.toml"))
    said = capsys.readouterr().out
    assert said.startswith("# Weights, and under which terms:\n")
    assert tomllib.loads(said)["name"] == "mine"


def test_the_same_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(as_json=True):
        show_preset("tinyworld")
    shown = json.loads(capsys.readouterr().out)
    assert shown["preset"]["generation"]["images"] == 8
    assert {entry["licence"] for entry in shown["weights"]} == {"Apache-2.0"}
    with pytest.raises(
        PresetError,
        match=r"No preset 'papre'. Known: fast, odise, odise_tinyworld, paper, tinyworld; for comparison clip_plain, ",
    ):
        show_preset("papre")
