"""Parts of other packages; tests/test_architecture.py uses a whole one, tests/ovdiff/test_engines.py broken ones."""

from pathlib import Path

import pytest

from ovdiff.errors import MissingExtraError, PresetError
from ovdiff.presets import Part, load_preset
from ovdiff.presets.part import Parts
from tests.fakes.installing import install_here

TOOLS = Parts("tool", "ovdiff.tools", {"hammer": Part("math:floor")})


@pytest.fixture
def saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "saws").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "saws"\nversion = "1"\n[project.entry-points."ovdiff.tools"]\n'
        'saw = "saws:SAW"\nhammer = "saws:SAW"\n'
    )
    (project / "saws/__init__.py").write_text("from ovdiff.presets import Part\nSAW = Part('math:ceil', version=3)\n")
    install_here(project, tmp_path / "site", monkeypatch)


def test_without_packages_there_is_what_is_built_in() -> None:
    assert TOOLS.names() == ("hammer",) and "hammer" in TOOLS and "saw" not in TOOLS
    with pytest.raises(PresetError, match=r"no tool 'saw'\. Known: hammer\. .* entry point group 'ovdiff.tools'"):
        _ = TOOLS["saw"]


@pytest.mark.usefixtures("saw")
def test_a_package_adds_a_part_and_replaces_none() -> None:
    assert TOOLS.names() == ("hammer", "saw") and "saw" in TOOLS
    assert TOOLS["saw"].version == 3 and TOOLS["saw"].maker("a test")(0.5) == 1
    assert TOOLS["hammer"].maker("a test")(0.5) == 0  # the built-in one


@pytest.mark.parametrize("make", ["ovdiff.not_there:make", "ovdiff.errors:not_there", "no colon or module"])
def test_a_maker_that_is_not_there_is_named_with_what_asks_for_it(make: str) -> None:
    with pytest.raises(PresetError, match=f"^proposals.source 'saw': '{make}' cannot be imported: "):
        Part(make).maker("proposals.source 'saw'")


def test_a_library_that_an_extra_brings_is_named_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needs_torch.py").write_text("import tqdm\ndef make(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    with pytest.raises(MissingExtraError, match=r"extractors.use 'x' needs tqdm, .* pip install 'ovdiff\[cpu\]'"):
        Part("needs_torch:make").maker("extractors.use 'x'")


def test_a_table_of_a_part_that_is_not_installed_is_an_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "tinyworld"\n[extractors.colours]\ncells = 3\n')
    with pytest.raises(PresetError, match=r"unknown field 'extractors.colours'"):
        load_preset(path)


def test_a_model_table_that_no_part_knows_is_an_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "tinyworld"\n[models.sam]\nsource = "a/b"\n')
    with pytest.raises(PresetError, match=r"unknown field 'models.sam'"):
        load_preset(path)


def test_a_part_with_a_model_gives_presets_a_table_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "seer").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "seer"\nversion = "1"\n[project.entry-points."ovdiff.extractors"]\nsee = "seer:SEE"\n'
    )
    (project / "seer/__init__.py").write_text(
        "from ovdiff.presets import FeatureSettings, Part\nfrom ovdiff.presets.model_settings import ModelSettings\n"
        "SEE = Part('seer:make', FeatureSettings, {'seer': ModelSettings}, licence='CC-BY-NC-4.0')\n"
    )
    install_here(project, tmp_path / "site", monkeypatch)
    from ovdiff.bank.recipe import Recipes
    from ovdiff.models.licences import weights_licences
    from ovdiff.presets.needs import models_of
    from ovdiff.vocabulary import Category

    path, tables = tmp_path / "mine.toml", 'base = "tinyworld"\n[extractors]\nuse = ["clip", "see"]\n'
    path.write_text(f'{tables}[matching]\nextractors = ["clip"]\n')
    with pytest.raises(PresetError, match=r"extractors.use \('see'\) needs models.seer, which is missing"):
        load_preset(path)
    path.write_text(f'{tables}[models.seer]\nsource = "a/seer"\nrevision = "1"\n[matching]\nextractors = ["clip"]\n')
    preset = load_preset(path)
    assert models_of(preset, "features") == ("clip", "seer") and models_of(preset, "segmenting") == ("clip",)
    assert Recipes(preset).prototypes(Category("ball")).models["seer"]["weights"] == "a/seer@1"
    (terms,) = (entry for entry in weights_licences(preset) if entry.model == "seer")
    assert terms.non_commercial and terms.source == "a/seer"
