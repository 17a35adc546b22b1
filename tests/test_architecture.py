"""What ARCHITECTURE.md tells is done as it tells it: its package is installed and used, word for word."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff import Bank, Engine, Preset, Vocabulary, load_preset
from ovdiff.errors import PresetError
from ovdiff.presets.text import preset_to_toml
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category
from tests.fakes.installing import install_here

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BALL, SKY = Category("ball"), Category("sky")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The package that ARCHITECTURE.md shows, as files."""
    folder = tmp_path / "project"
    for name, text in _BLOCK.findall((ROOT / "ARCHITECTURE.md").read_text("utf-8")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def preset(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preset:
    install_here(project, tmp_path / "site", monkeypatch)
    return load_preset(project / "colours.toml")


def _key(preset: Preset, folder: Path) -> str:
    return Engine(preset, Bank(folder)).category_key(BALL)


def test_the_page_shows_a_whole_package(project: Path) -> None:
    files = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "ovdiff_colours/__init__.py", "ovdiff_colours/parts.py", "colours.toml"}


@pytest.mark.slow
def test_its_extractor_and_its_proposals_make_prototypes_and_masks(preset: Preset, tmp_path: Path) -> None:
    engine = Engine(preset, Bank(tmp_path / "bank"))
    for category in (BALL, SKY):
        engine.build(category)
    spaces = engine.bank.load(engine.category_key(BALL)).spaces
    assert set(spaces) == {"clip", "colours"} and spaces["colours"].foreground.vectors.shape[1] == 3
    item = engine.support_set(BALL).images[0]
    assert item.foreground.sum() == pytest.approx(0.6**2 * item.foreground.size, rel=0.1)  # the middle, not Otsu's
    found = engine.segment(render(sample_scene(2, "test"), 128).image, Vocabulary((BALL, SKY)))
    assert set(np.unique(found.label_map)) <= {0, 1, 2} and (found.label_map > 0).any()


def test_its_settings_are_read_shown_checked_and_in_the_key(preset: Preset, project: Path, tmp_path: Path) -> None:
    text = preset_to_toml(preset)
    assert "[proposals.middle] # Settings of 'middle'.\n" in text
    assert "share = 0.6 # of each side; the default is 0.5: most" in text
    assert "\ncells = 16 # cells a side; as the tiny models have\n" in text  # in use, though the file does not give it
    (tmp_path / "shown.toml").write_text(text)
    assert load_preset(tmp_path / "shown.toml") == preset

    def changed(table: str) -> Preset:
        (tmp_path / "mine.toml").write_text(f'base = "{project}/colours.toml"\n{table}')
        return load_preset(tmp_path / "mine.toml")

    assert _key(changed("[extractors.colours]\ncells = 8"), tmp_path) != _key(preset, tmp_path)
    assert _key(changed("[extractors.colours]\ncells = 16"), tmp_path) == _key(preset, tmp_path)
    assert _key(changed("[extractors.colours]\nmib_per_image = 9"), tmp_path) == _key(preset, tmp_path)  # online
    assert _key(changed("[proposals.middle]\nshare = 0.7"), tmp_path) != _key(preset, tmp_path)
    with pytest.raises(PresetError, match=r"extractors.colours.cells is 0; expected at least 1 \(cells a side\)"):
        changed("[extractors.colours]\ncells = 0")
    with pytest.raises(PresetError, match=r"unknown field 'extractors.colours.cell'. Did you mean"):
        changed("[extractors.colours]\ncell = 8")


def test_its_tables_change_no_key_where_they_are_not_used(preset: Preset, tmp_path: Path) -> None:
    with_table = replace(load_preset("tinyworld"), proposals=replace(preset.proposals, source="otsu"))
    assert with_table.proposals.added and _key(with_table, tmp_path) == _key(load_preset("tinyworld"), tmp_path)
    assert (
        "[proposals.middle] # " in preset_to_toml(with_table)
        and with_table.fingerprint() == load_preset("tinyworld").fingerprint()
    )


def test_without_the_package_its_parts_are_unknown_and_it_is_said_what_to_do(project: Path) -> None:
    with pytest.raises(PresetError, match=r"unknown field 'proposals.middle'|proposals.source names 'middle'"):
        load_preset(project / "colours.toml")


def test_the_pages_of_this_repository_are_toml_that_pip_reads(project: Path) -> None:
    values = tomllib.loads((project / "pyproject.toml").read_text())
    assert set(values["project"]["entry-points"]) == {"ovdiff.extractors", "ovdiff.proposals"}
