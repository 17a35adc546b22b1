from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.errors import PresetError
from ovdiff.presets import load_preset, preset_description, preset_names
from ovdiff.presets.files import preset_files, read_preset


def _write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


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


def test_a_base_lies_beside_the_file_that_names_it_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "base.toml").write_text('base = "tinyworld"\nname = "inner"\n')
    (tmp_path / "base.toml").write_text('base = "tinyworld"\nname = "outer"\n')
    path = _write(tmp_path / "inner", 'base = "base.toml"')
    assert load_preset("inner/mine.toml").name == "inner"
    assert preset_files(path) == (path, tmp_path / "inner" / "base.toml")
    (tmp_path / "inner" / "base.toml").unlink()
    assert load_preset("inner/mine.toml").name == "outer"
    assert preset_files("tinyworld") == ()


def test_weights_lie_beside_the_file_that_names_them_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner" / "lora").mkdir(parents=True)
    tables = '[models.generator]\nsource = "hub/id"\n[models.generator.adapter]\nsource = "./lora"\n'
    _write(tmp_path / "inner", f'base = "fast"\n{tables}[models.clip]\nsource = "./clip"\n')
    models = load_preset("inner/mine.toml").models
    assert models.generator.adapter and models.generator.adapter.source == "./inner/lora"
    assert models.generator.source == "hub/id" and models.clip and models.clip.source == "./clip"


def test_where_weights_lie_is_no_part_of_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version of predictions changed with the way in which one file was named."""
    (tmp_path / "here" / "w").mkdir(parents=True)
    _write(tmp_path / "here", 'base = "fast"\n[models.clip]\nsource = "./w"').rename(tmp_path / "here" / "mine.toml")
    monkeypatch.chdir(tmp_path / "here")
    named = ("mine.toml", "../here/mine.toml", tmp_path / "here" / "mine.toml")
    presets = [load_preset(each) for each in named]
    assert len({preset.models.clip for preset in presets}) == 3
    assert len({preset.fingerprint() for preset in presets}) == 1
    (tmp_path / "here" / "w").rename(tmp_path / "here" / "v")
    _write(tmp_path, 'base = "fast"\n[models.clip]\nsource = "./here/v"').rename(tmp_path / "other.toml")
    assert load_preset(tmp_path / "other.toml").fingerprint() != presets[0].fingerprint()


def test_other_weights_lose_what_was_said_of_the_base_s(tmp_path: Path) -> None:
    text = 'base = "fast"\nname = "mine"\n[models.generator]\nsource = "/my/model"\n'
    generator = load_preset(_write(tmp_path, text)).models.generator
    assert (generator.revision, generator.variant, generator.adapter) == ("", "", None)
    assert generator.dtype == "float16"


def test_the_tables_of_a_base_are_read_with_the_changes(tmp_path: Path) -> None:
    found = read_preset(_write(tmp_path, 'base = "tinyworld"\nengine = "other"\n[generation]\nimages = "many"\n'))
    assert found["generation"]["images"] == "many"  # the meaning of values is checked by the engine's schema
    assert found["generation"]["size_px"] == 64
    assert "base" not in found


def test_a_base_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="base is 3; expected a preset's name"):
        read_preset(_write(tmp_path, "base = 3"))


def test_a_preset_of_another_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=r"is for the engine 'other'; load it with ovdiff\.engines\.load_any_preset"):
        load_preset(_write(tmp_path, 'base = "tinyworld"\nengine = "other"'))
